package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/net/dns/dnsmessage"

	"ftr/internal/config"
)

// maxDNS is the largest answer over UDP to a query without EDNS (RFC 1035, section 4.2.1).
const maxDNS = 512

// askDNS asks a server over UDP for the A record of the name, or for the AAAA record where the server's
// address is IPv6. Any answer of the server counts, whatever its RCODE (RFC 1035, section 4.1.1): the
// question is whether the line reaches it. An answer is recognised by its address and port, which the
// kernel compares, and by its id and question (RFC 5452, section 9).
func askDNS(ctx context.Context, l line, target config.Target) error {
	id, question, err := ask(target)
	if err != nil {
		return err
	}
	query, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}).Pack()
	if err != nil {
		return fmt.Errorf("write DNS query for %s: %w", target.Name, err)
	}
	port := target.Port
	if port == 0 {
		port = 53
	}
	conn, err := dial(ctx, "udp", l, netip.AddrPortFrom(target.Address, port))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer until(ctx, conn.SetDeadline)()
	if _, err := conn.Write(query); err != nil {
		return explainUDP(err, conn, l)
	}
	packet := make([]byte, maxDNS)
	for {
		n, err := conn.Read(packet)
		if err != nil {
			return explainUDP(err, conn, l)
		}
		if answersQuery(packet[:n], id, question) {
			return nil
		}
	}
}

// ask makes the question, with an id that nobody off the path can know.
func ask(target config.Target) (uint16, dnsmessage.Question, error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(target.Name, ".") + ".")
	if err != nil {
		return 0, dnsmessage.Question{}, fmt.Errorf("ask DNS for %.20q...: a name has at most 253 characters", target.Name)
	}
	q := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	if target.Address.Is6() {
		q.Type = dnsmessage.TypeAAAA
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return 0, q, err
	}
	return binary.NativeEndian.Uint16(id[:]), q, nil
}

// answersQuery tells whether a message is the answer to the query. Names are equal in any case (RFC 4343).
func answersQuery(packet []byte, id uint16, question dnsmessage.Question) bool {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil || !header.Response || header.ID != id || header.OpCode != 0 {
		return false
	}
	questions, err := parser.AllQuestions()
	if err != nil || len(questions) != 1 {
		return false
	}
	got := questions[0]
	return got.Type == question.Type && got.Class == question.Class &&
		strings.EqualFold(got.Name.String(), question.Name.String())
}

// explainUDP says why a datagram could not be sent or none was received.
func explainUDP(err error, conn net.Conn, l line) error {
	if timedOut(err) {
		return err
	}
	raw, controlled := conn.(syscall.Conn).SyscallConn()
	if controlled != nil {
		return errors.Join(err, controlled)
	}
	if text, by := queuedRefusal(raw); text != "" {
		return fmt.Errorf("%s %v", text, by)
	}
	return explainSend(err, l)
}
