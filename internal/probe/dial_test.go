package probe

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
)

// queuedError makes a control message of an error queue: struct sock_extended_err and the offender.
func queuedError(level, kind int32, origin byte, icmp [2]byte, offender []byte) unix.SocketControlMessage {
	m := unix.SocketControlMessage{Data: make([]byte, 16, 16+len(offender))}
	m.Header.Level, m.Header.Type = level, kind
	m.Data[4], m.Data[5], m.Data[6] = origin, icmp[0], icmp[1]
	m.Data = append(m.Data, offender...)
	return m
}

// socketAddress makes a struct sockaddr_in or sockaddr_in6.
func socketAddress(family uint16, a netip.Addr) []byte {
	b := binary.NativeEndian.AppendUint16(nil, family)
	b = append(b, 0, 0) // port
	if family == unix.AF_INET6 {
		return append(append(append(b, 0, 0, 0, 0), a.AsSlice()...), 0, 0, 0, 0)
	}
	return append(append(b, a.AsSlice()...), make([]byte, 8)...)
}

func TestRefusal(t *testing.T) {
	v4, v6 := socketAddress(unix.AF_INET, router4), socketAddress(unix.AF_INET6, router6)
	for name, tt := range map[string]struct {
		m    unix.SocketControlMessage
		want string
		by   netip.Addr
	}{
		"IPv4":            {queuedError(unix.SOL_IP, unix.IP_RECVERR, 2, [2]byte{3, 1}, v4), "host unreachable by", router4},
		"IPv6":            {queuedError(unix.SOL_IPV6, unix.IPV6_RECVERR, 3, [2]byte{1, 4}, v6), "port unreachable by", router6},
		"our own kernel":  {queuedError(unix.SOL_IP, unix.IP_RECVERR, 1, [2]byte{3, 1}, v4), "", netip.Addr{}},
		"a timestamp":     {queuedError(unix.SOL_IP, unix.IP_RECVERR, 4, [2]byte{3, 1}, v4), "", netip.Addr{}},
		"another message": {queuedError(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, 2, [2]byte{3, 1}, v4), "", netip.Addr{}},
		"no offender":     {queuedError(unix.SOL_IP, unix.IP_RECVERR, 2, [2]byte{3, 1}, nil), "", netip.Addr{}},
		"offender cut":    {queuedError(unix.SOL_IP, unix.IP_RECVERR, 2, [2]byte{3, 1}, v4[:7]), "", netip.Addr{}},
		"offender cut 6":  {queuedError(unix.SOL_IPV6, unix.IPV6_RECVERR, 3, [2]byte{1, 4}, v6[:23]), "", netip.Addr{}},
		"mixed families":  {queuedError(unix.SOL_IP, unix.IP_RECVERR, 2, [2]byte{3, 1}, v6), "", netip.Addr{}},
	} {
		if text, by := refusal(tt.m); text != tt.want || by != tt.by {
			t.Errorf("%s: %q %v, want %q %v", name, text, by, tt.want, tt.by)
		}
	}
}

// Whatever arrives: no panic, and no answer without the id, the response bit and one question.
func FuzzAnswersQuery(f *testing.F) {
	id, question, err := ask(config.Target{Method: config.DNS, Address: router4, Name: "example.com"})
	if err != nil {
		f.Fatal(err)
	}
	for _, response := range []bool{true, false} {
		b, err := (&dnsmessage.Message{
			Header: dnsmessage.Header{ID: id, Response: response}, Questions: []dnsmessage.Question{question},
		}).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !answersQuery(packet, id, question) {
			return
		}
		if binary.BigEndian.Uint16(packet) != id || packet[2]&0xf8 != 0x80 || binary.BigEndian.Uint16(packet[4:]) != 1 {
			t.Fatalf("accepted: %x", packet)
		}
	})
}
