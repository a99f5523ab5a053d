package probe

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
)

var (
	echoV4 = echo{
		source: netip.MustParseAddr("192.0.2.2"), target: netip.MustParseAddr("198.51.100.1"),
		id: 0x1234, seq: 7, nonce: nonce{1, 2},
	}
	echoV6 = echo{
		source: netip.MustParseAddr("2001:db8::2"), target: netip.MustParseAddr("2001:db8:1::1"),
		id: 0x1234, seq: 7, nonce: nonce{1, 2},
	}
	router4 = netip.MustParseAddr("192.0.2.1")
	router6 = netip.MustParseAddr("2001:db8::1")
)

// change edits a copy of a packet; an ICMPv4 checksum is not repaired.
func change(packet []byte, edit func([]byte) []byte) []byte { return edit(slices.Clone(packet)) }

// set returns an edit that writes bytes at an offset.
func set(offset int, values ...byte) func([]byte) []byte {
	return func(b []byte) []byte {
		copy(b[offset:], values)
		return b
	}
}

// cut returns an edit that keeps the first n bytes.
func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// ip4 puts an IPv4 header before a body.
func ip4(from, to netip.Addr, protocol byte, body []byte) []byte {
	b := make([]byte, 20, 20+len(body))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	return append(b, body...)
}

// ip6 puts an IPv6 header before a body.
func ip6(from, to netip.Addr, protocol byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0], b[6], b[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	return append(b, body...)
}

// reply makes the ICMP answer to an echo request, with a valid ICMPv4 checksum.
func reply(e echo) []byte {
	b := e.marshal()
	if e.target.Is6() {
		b[0] = echoReply6
		return b
	}
	b[0] = echoReply4
	return sum4(b)
}

// refuse makes an ICMP error that quotes a packet.
func refuse(kind, code byte, quoted []byte) []byte {
	return append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
}

// sum4 writes the ICMPv4 checksum.
func sum4(b []byte) []byte {
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// options4 puts four bytes of options into an IPv4 header.
func options4(b []byte) []byte {
	b[0] = 0x46
	return slices.Insert(b, 20, 1, 1, 1, 1)
}

type verdict struct {
	Settled bool
	Refusal string
	Passed  bool // by the kernel's filter
}

func TestSettles4(t *testing.T) {
	good := ip4(echoV4.target, echoV4.source, 1, reply(echoV4))
	request := ip4(echoV4.source, echoV4.target, 1, echoV4.marshal())
	refused := func(kind, code byte, quoted []byte) []byte {
		return ip4(router4, echoV4.source, 1, sum4(refuse(kind, code, quoted)))
	}
	other := func(edit func(*echo)) []byte {
		e := echoV4
		edit(&e)
		return ip4(e.target, e.source, 1, reply(e))
	}
	tests := map[string]struct {
		packet []byte
		want   verdict
	}{
		"answer":                    {good, verdict{Settled: true, Passed: true}},
		"answer with IP options":    {options4(slices.Clone(good)), verdict{Settled: true, Passed: true}},
		"our own request":           {request, verdict{}},
		"other id":                  {other(func(e *echo) { e.id++ }), verdict{}},
		"other sequence":            {other(func(e *echo) { e.seq++ }), verdict{Passed: true}},
		"other payload":             {other(func(e *echo) { e.nonce[1]++ }), verdict{Passed: true}},
		"other host answers":        {other(func(e *echo) { e.target = router4 }), verdict{Passed: true}},
		"to another address":        {other(func(e *echo) { e.source = router4 }), verdict{Passed: true}},
		"bad checksum":              {change(good, set(22, 0, 0)), verdict{Passed: true}},
		"payload cut":               {ip4(echoV4.target, echoV4.source, 1, sum4(reply(echoV4)[:9])), verdict{Passed: true}},
		"payload longer":            {ip4(echoV4.target, echoV4.source, 1, sum4(append(reply(echoV4), 0))), verdict{Passed: true}},
		"header cut":                {change(good, cut(19)), verdict{}},
		"empty":                     {nil, verdict{}},
		"header length beyond end":  {change(good, set(0, 0x4f)), verdict{}},
		"header length below five":  {change(good, set(0, 0x44)), verdict{}},
		"not ICMP":                  {change(good, set(9, 17)), verdict{Passed: true}},
		"not IPv4":                  {change(good, set(0, 0x65)), verdict{Passed: true}},
		"network unreachable":       {refused(3, 0, request), verdict{true, "network unreachable by 192.0.2.1", true}},
		"host unreachable":          {refused(3, 1, request), verdict{true, "host unreachable by 192.0.2.1", true}},
		"prohibited":                {refused(3, 13, request), verdict{true, "administratively prohibited by 192.0.2.1", true}},
		"protocol unreachable":      {refused(3, 2, request), verdict{true, "destination unreachable by 192.0.2.1", true}},
		"time exceeded":             {refused(11, 0, request), verdict{true, "time to live exceeded at 192.0.2.1", true}},
		"refusal, least quote":      {refused(3, 1, request[:28]), verdict{true, "host unreachable by 192.0.2.1", true}},
		"refusal, quoted options":   {refused(3, 1, options4(slices.Clone(request))), verdict{true, "host unreachable by 192.0.2.1", true}},
		"refusal, quote too short":  {refused(3, 1, request[:27]), verdict{Passed: true}},
		"refusal, quote is cut":     {refused(3, 1, request[:10]), verdict{}},
		"refusal of an answer":      {refused(3, 1, good), verdict{}},
		"refusal of other payload":  {refused(3, 1, change(request, set(28, 9))), verdict{Passed: true}},
		"refusal of other target":   {refused(3, 1, change(request, set(16, 9))), verdict{Passed: true}},
		"refusal of other source":   {refused(3, 1, change(request, set(12, 9))), verdict{Passed: true}},
		"refusal of other id":       {refused(3, 1, change(request, set(24, 9))), verdict{}},
		"refusal of UDP":            {refused(3, 3, change(request, set(9, 17))), verdict{Passed: true}},
		"source quench is ignored":  {refused(4, 0, request), verdict{}},
		"refusal with bad checksum": {change(refused(3, 1, request), set(22, 0, 0)), verdict{Passed: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, ok := parse4(tt.packet)
			if diff := cmp.Diff(tt.want, judge(t, echoV4, m, ok, filter4, tt.packet)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettles6(t *testing.T) {
	good := reply(echoV6)
	request := ip6(echoV6.source, echoV6.target, 58, echoV6.marshal())
	other := func(edit func(*echo)) []byte {
		e := echoV6
		edit(&e)
		return reply(e)
	}
	tests := map[string]struct {
		from   netip.Addr
		packet []byte
		want   verdict
	}{
		"answer":                   {echoV6.target, good, verdict{Settled: true, Passed: true}},
		"other host answers":       {router6, good, verdict{Passed: true}},
		"our own request":          {echoV6.target, echoV6.marshal(), verdict{}},
		"other id":                 {echoV6.target, other(func(e *echo) { e.id++ }), verdict{}},
		"other sequence":           {echoV6.target, other(func(e *echo) { e.seq++ }), verdict{Passed: true}},
		"other payload":            {echoV6.target, other(func(e *echo) { e.nonce[0]++ }), verdict{Passed: true}},
		"payload cut":              {echoV6.target, good[:9], verdict{Passed: true}},
		"header cut":               {echoV6.target, good[:7], verdict{Passed: true}},
		"network unreachable":      {router6, refuse(1, 0, request), verdict{true, "network unreachable by 2001:db8::1", true}},
		"prohibited":               {router6, refuse(1, 1, request), verdict{true, "administratively prohibited by 2001:db8::1", true}},
		"host unreachable":         {router6, refuse(1, 3, request), verdict{true, "host unreachable by 2001:db8::1", true}},
		"port unreachable":         {router6, refuse(1, 4, request), verdict{true, "port unreachable by 2001:db8::1", true}},
		"hop limit exceeded":       {router6, refuse(3, 0, request), verdict{true, "hop limit exceeded at 2001:db8::1", true}},
		"packet too big":           {router6, refuse(2, 0, request), verdict{}},
		"refusal, least quote":     {router6, refuse(1, 0, request[:48]), verdict{true, "network unreachable by 2001:db8::1", true}},
		"refusal, quote too short": {router6, refuse(1, 0, request[:47]), verdict{Passed: true}},
		"refusal of other target":  {router6, refuse(1, 0, change(request, set(24, 9))), verdict{Passed: true}},
		"refusal of other source":  {router6, refuse(1, 0, change(request, set(8, 9))), verdict{Passed: true}},
		"refusal of TCP":           {router6, refuse(1, 0, change(request, set(6, 6))), verdict{Passed: true}},
		"refusal of an answer":     {router6, refuse(1, 0, ip6(echoV6.source, echoV6.target, 58, good)), verdict{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, ok := parse6(tt.from, echoV6.source, tt.packet)
			if diff := cmp.Diff(tt.want, judge(t, echoV6, m, ok, filter6, tt.packet)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// judge returns what becomes of a packet, in the kernel's filter and here.
func judge(t *testing.T, e echo, m message, ok bool, filter func(uint16) []bpf.Instruction, packet []byte) (v verdict) {
	t.Helper()
	vm, err := bpf.NewVM(filter(e.id))
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(packet)
	v.Passed = err == nil && n > 0
	if ok {
		settled, refusal := e.settles(m)
		v.Settled = settled
		if refusal != nil {
			v.Refusal = refusal.Error()
		}
	}
	return v
}

// Whatever arrives: no panic, and nothing settles an echo that does not carry its identity.
func FuzzParse(f *testing.F) {
	f.Add(ip4(echoV4.target, echoV4.source, 1, reply(echoV4)))
	f.Add(ip4(router4, echoV4.source, 1, sum4(refuse(3, 1, ip4(echoV4.source, echoV4.target, 1, echoV4.marshal())))))
	f.Add(reply(echoV6))
	f.Add(refuse(1, 0, ip6(echoV6.source, echoV6.target, 58, echoV6.marshal())))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if m, ok := parse4(packet); ok {
			check(t, echoV4, m)
		}
		if m, ok := parse6(echoV6.target, echoV6.source, packet); ok {
			check(t, echoV6, m)
		}
	})
}

func check(t *testing.T, e echo, m message) {
	settled, refusal := e.settles(m)
	answer := m.refusal == ""
	if settled && (m.id != e.id || m.seq != e.seq || m.target != e.target || m.source != e.source) {
		t.Fatalf("%+v settled %+v", m, e)
	}
	if settled && answer && string(m.payload) != string(e.nonce[:]) {
		t.Fatalf("an answer with another payload settled: %+v", m)
	}
	if settled && answer != (refusal == nil) || !settled && refusal != nil {
		t.Fatalf("settled %v with %v", settled, refusal)
	}
}

func TestChecksum(t *testing.T) {
	// The example of RFC 1071, section 3, and an odd length.
	for _, tt := range []struct {
		data []byte
		want uint16
	}{
		{[]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0x220d},
		{[]byte{0xff}, 0x00ff},
		{nil, 0xffff},
	} {
		if got := checksum(tt.data); got != tt.want {
			t.Errorf("checksum(%x) = %#04x, want %#04x", tt.data, got, tt.want)
		}
	}
}
