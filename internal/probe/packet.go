package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The message types that matter here: RFC 792 and RFC 4443.
const (
	echoReply4, unreachable4, echoRequest4, exceeded4 = 0, 3, 8, 11
	unreachable6, exceeded6, echoRequest6, echoReply6 = 1, 3, 128, 129
)

// Sizes and protocol numbers of headers: RFC 791, RFC 8200.
const (
	icmpHeader, ip4Header, ip6Header = 8, 20, 40
	protocolICMP, protocolICMPv6     = 1, 58
)

// nonce is the payload of an echo. With the id and the sequence number, which begins anywhere, these are 48
// bits that nobody off the path knows: who sends a million answers a second for years is taken for a
// target once. Each byte more is 5 MB a month on a line that is probed once a second; none at all would be
// too few, since firewalls drop such echoes, which some worms and scanners send.
type nonce [2]byte

// echo is one echo request, with all by which its answer is recognised.
type echo struct {
	source, target netip.Addr
	id, seq        uint16
	nonce          nonce
}

// marshal returns the ICMP message. The checksum of ICMPv6 is left to the kernel, as RFC 3542,
// section 3.1, requires.
func (e echo) marshal() []byte {
	b := make([]byte, icmpHeader, icmpHeader+len(e.nonce))
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	b = append(b, e.nonce[:]...)
	if e.target.Is6() {
		b[0] = echoRequest6
		return b
	}
	b[0] = echoRequest4
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is the internet checksum (RFC 1071); over a message that carries its checksum it is 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// message is what a received ICMP message says of an echo.
type message struct {
	from           netip.Addr
	source, target netip.Addr // of the echo that is answered or quoted
	id, seq        uint16
	payload        []byte // of the answer, or as much as was quoted
	refusal        string // why the echo was refused; empty: it was answered
}

// parse4 reads an IPv4 packet with its header, as raw(7) gives it. Raw sockets see it before the
// kernel has verified the ICMP checksum.
func parse4(packet []byte) (message, bool) {
	header, ok := header4(packet)
	if !ok {
		return message{}, false
	}
	body := packet[header:]
	if len(body) < icmpHeader || checksum(body) != 0 {
		return message{}, false
	}
	from, to := addresses4(packet)
	switch body[0] {
	case echoReply4:
		m := message{from: from, source: to, target: from}
		m.readEcho(body)
		return m, true
	case unreachable4, exceeded4:
		quoted := body[icmpHeader:]
		header, ok := header4(quoted)
		if !ok || len(quoted) < header+icmpHeader || quoted[header] != echoRequest4 {
			return message{}, false
		}
		m := message{from: from, refusal: refusal4(body[0], body[1])}
		m.source, m.target = addresses4(quoted)
		m.readEcho(quoted[header:])
		return m, true
	default:
		return message{}, false
	}
}

// header4 returns the length of an IPv4 header that is followed by ICMP.
func header4(b []byte) (length int, ok bool) {
	if len(b) < ip4Header || b[0]>>4 != 4 || b[9] != protocolICMP {
		return 0, false
	}
	length = int(b[0]&0x0f) * 4
	return length, length >= ip4Header && length <= len(b)
}

func addresses4(header []byte) (source, destination netip.Addr) {
	return netip.AddrFrom4([4]byte(header[12:16])), netip.AddrFrom4([4]byte(header[16:20]))
}

// parse6 reads an ICMPv6 message, which comes without its IPv6 header and with a verified checksum.
// That it was sent to the source of the echo is certain, since the socket is bound to it.
func parse6(from, to netip.Addr, body []byte) (message, bool) {
	if len(body) < icmpHeader {
		return message{}, false
	}
	switch body[0] {
	case echoReply6:
		m := message{from: from, source: to, target: from}
		m.readEcho(body)
		return m, true
	case unreachable6, exceeded6:
		quoted := body[icmpHeader:]
		if len(quoted) < ip6Header+icmpHeader || quoted[6] != protocolICMPv6 || quoted[ip6Header] != echoRequest6 {
			return message{}, false
		}
		m := message{from: from, refusal: refusal6(body[0], body[1])}
		m.source = netip.AddrFrom16([16]byte(quoted[8:24]))
		m.target = netip.AddrFrom16([16]byte(quoted[24:40]))
		m.readEcho(quoted[ip6Header:])
		return m, true
	default:
		return message{}, false
	}
}

// readEcho takes identity and payload from an echo or its answer.
func (m *message) readEcho(b []byte) {
	m.id, m.seq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	m.payload = b[icmpHeader:]
}

// settles tells whether the message is about this echo: its answer (no error) or its refusal. An
// answer must carry the whole payload; a refusal no other than ours, but RFC 792 lets routers quote none.
func (e echo) settles(m message) (bool, error) {
	if m.id != e.id || m.seq != e.seq || m.source != e.source || m.target != e.target {
		return false, nil
	}
	if m.refusal == "" {
		return bytes.Equal(m.payload, e.nonce[:]), nil
	}
	quoted := min(len(m.payload), len(e.nonce))
	if !bytes.Equal(m.payload[:quoted], e.nonce[:quoted]) {
		return false, nil
	}
	return true, fmt.Errorf("%s %v", m.refusal, m.from)
}

// refusal4 names a refusal of RFC 792 and RFC 1812, section 5.2.7.1; who refused follows.
func refusal4(kind, code byte) string {
	switch {
	case kind == exceeded4:
		return "time to live exceeded at"
	case code == 0 || code == 6 || code == 11:
		return "network unreachable by"
	case code == 1 || code == 7 || code == 12:
		return "host unreachable by"
	case code == 9 || code == 10 || code == 13:
		return "administratively prohibited by"
	case code == 3:
		return "port unreachable by"
	default:
		return "destination unreachable by"
	}
}

// refusal6 names a refusal of RFC 4443, sections 3.1 and 3.3; who refused follows.
func refusal6(kind, code byte) string {
	switch {
	case kind == exceeded6:
		return "hop limit exceeded at"
	case code == 0 || code == 6:
		return "network unreachable by"
	case code == 3:
		return "host unreachable by"
	case code == 1 || code == 5:
		return "administratively prohibited by"
	case code == 4:
		return "port unreachable by"
	default:
		return "destination unreachable by"
	}
}
