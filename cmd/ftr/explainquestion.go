package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"ftr/internal/config"
)

// question is what is asked on the command line.
type question struct {
	json                     bool
	inside, sourcePort       string
	dscp, mark, user, cgroup string
	packet                   config.Packet
	anyPort                  bool // the source port is not given
}

// parse reads the arguments.
func (q *question) parse(args []string) error {
	p := &q.packet
	if err := q.parseEnds(args[0], args[1]); err != nil {
		return err
	}
	given := func(n int) string { return append(args, "", "")[n] }
	for _, option := range []struct {
		name, word string // no name: an argument
		parse      func(word string) error
	}{
		{"", given(2), func(word string) error {
			return known(&p.Protocol, config.ParseProtocol, word, "a protocol; example tcp, udp, icmp")
		}},
		{"", given(3), q.portInto(&p.DestinationPort)},
		{"--source-port: ", q.sourcePort, q.portInto(&p.SourcePort)},
		{"--dscp: ", q.dscp, func(word string) error { return known(&p.DSCP, config.ParseDSCP, word, "a code point; example ef") }},
		{"--user: ", q.user, func(word string) (err error) {
			p.User, err = userNumber(word)
			return err
		}},
		{"--cgroup: ", q.cgroup, func(word string) error {
			var cgroup config.Cgroup
			err := known(&cgroup, config.ParseCgroup, word, "the path of a control group; example system.slice/backup.service")
			p.Cgroup = cgroup.Path
			return err
		}},
		{"--mark: ", q.mark, func(word string) error { return known(&p.Mark, parseMark, word, "a mark; example 0x10000") }},
	} {
		if option.word == "" {
			continue
		}
		if err := option.parse(option.word); err != nil {
			return fmt.Errorf("%s%w", option.name, err)
		}
	}
	if q.sourcePort == "" && slices.Contains(config.PortProtocols, p.Protocol) {
		p.SourcePort, q.anyPort = ephemeralPort, true
	}
	return nil
}

// ephemeralPort stands for the source port that a program is given when it asks for none (RFC 6335 §6).
const ephemeralPort = 49152

// known parses a word into a value.
func known[T any](into *T, parse func(string) (T, bool), word, what string) (err error) {
	var ok bool
	if *into, ok = parse(word); !ok {
		err = fmt.Errorf("%q is not %s", word, what)
	}
	return err
}

// portInto returns the parser of a port; the protocol is known by then.
func (q *question) portInto(port *uint16) func(word string) error {
	return func(word string) error {
		if !slices.Contains(config.PortProtocols, q.packet.Protocol) {
			return errors.New("a port needs a protocol that has ports, such as tcp")
		}
		return known(port, parsePort, word, "a port from 1 to 65535")
	}
}

func parsePort(word string) (uint16, bool) {
	port, err := strconv.ParseUint(word, 10, 16)
	return uint16(port), err == nil && port > 0
}

func parseMark(word string) (uint32, bool) {
	mark, err := strconv.ParseUint(word, 0, 32)
	return uint32(mark), err == nil
}

// parseEnds reads who connects, and to whom.
func (q *question) parseEnds(source, destination string) (err error) {
	p := &q.packet
	if p.Own = source == "router"; !p.Own {
		if p.Source, err = parseAddress(source); err != nil {
			return err
		}
	}
	if p.Destination, err = parseAddress(destination); err != nil {
		return err
	}
	if p.Source.IsValid() && config.FamilyOf(p.Source) != config.FamilyOf(p.Destination) {
		return fmt.Errorf("%s and %s are of different families", p.Source, p.Destination)
	}
	return nil
}

func parseAddress(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err != nil {
		return a, fmt.Errorf("%q is not an address; names are not resolved", word)
	}
	a = a.Unmap()
	if kind := unrouted(a); kind != "" {
		return a, fmt.Errorf("%s is %s, which leads to no line; give the address of one host", a, kind)
	}
	return a, nil
}

// unrouted tells what kind of address this is, if it is one that the kernel leads by no route of a line; "" otherwise.
func unrouted(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "the unspecified address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLoopback():
		return "a loopback address"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "a link-local address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	}
	return ""
}

// userNumber returns the number of a user by name or number.
func userNumber(word string) (uint32, error) {
	if id, err := strconv.ParseUint(word, 10, 32); err == nil {
		return uint32(id), nil
	}
	id, err := lookUpUser(word)
	if err != nil {
		err = fmt.Errorf("%s: %w", word, err)
	}
	return id, err
}

// explainTime is how long the kernel and nft may take to answer.
const explainTime = 10 * time.Second
