package config

import (
	"net/netip"
	"strings"
)

// pattern6 is that of an IPv6 address, no more exactly than editors need.
const pattern6 = `[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*`

// address6 is an IPv6 unicast address of more than one link.
func address6(into *field[netip.Addr]) scalar[netip.Addr] {
	return inet6Address(into, "an IPv6 unicast address such as 2001:db8::2", parseAddress6)
}

// gateway6 is an address of a router on a link.
func gateway6(into *field[netip.Addr]) scalar[netip.Addr] {
	return inet6Address(into, "an IPv6 unicast address such as fe80::1", parseUnicast6)
}

func inet6Address(into *field[netip.Addr], what string, parse func(string) (netip.Addr, fault)) scalar[netip.Addr] {
	return scalar[netip.Addr]{
		into: into, what: what, parse: parse, print: func(a netip.Addr) string { return quote(a.String()) },
		json: &schema{Type: []string{"string", "null"}, Format: "ipv6", Pattern: `^\s*` + pattern6 + `\s*$`},
	}
}

// host4or6 is the address of a host to be asked, of either family.
func host4or6(into *field[netip.Addr]) scalar[netip.Addr] {
	return scalar[netip.Addr]{
		into: into, what: "a unicast address such as 192.0.2.1 or 2001:db8::1", parse: parseHost,
		print: quoteAddress,
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*([0-9]{1,3}(\.[0-9]{1,3}){3}|` + pattern6 + `)\s*$`},
	}
}

// quoteAddress writes an address as YAML: one of IPv6 has colons.
func quoteAddress(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return quote(a.String())
}

// parseHost reads an address of either family.
func parseHost(s string) (netip.Addr, fault) {
	if a, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil && a.Is6() {
		return parseAddress6(s)
	}
	return parseAddress(s)
}

// parseAddress6 reads an address that is good for more than one link.
func parseAddress6(s string) (netip.Addr, fault) {
	a, f := parseUnicast6(s)
	if f.none() && a.IsLinkLocalUnicast() {
		return netip.Addr{}, fault{message: "is a link-local address, which means nothing beyond its link"}
	}
	return a, f
}

func parseUnicast6(s string) (netip.Addr, fault) {
	word := strings.TrimSpace(s)
	a, err := netip.ParseAddr(word)
	if prefix, perr := netip.ParsePrefix(word); err != nil && perr == nil {
		return netip.Addr{}, fault{"has a prefix length, which does not belong here", prefix.Addr().String()}
	}
	switch {
	case err != nil:
		return netip.Addr{}, fault{message: "is not an address"}
	case a.Is4():
		return netip.Addr{}, fault{message: "is an IPv4 address"}
	case a.Zone() != "":
		return netip.Addr{}, fault{"names an interface, which is known here", a.WithZone("").String()}
	case a.Is4In6():
		return netip.Addr{}, fault{"is an IPv4 address in the form of IPv6", a.Unmap().String()}
	case a.IsUnspecified():
		return netip.Addr{}, fault{message: "is no host (RFC 4291)"}
	case a.IsLoopback():
		return netip.Addr{}, fault{message: "is the loopback address"}
	case a.IsMulticast():
		return netip.Addr{}, fault{message: "is a multicast address"}
	}
	return a, fault{}
}

// prefix6 is a prefix that a provider delegates.
func prefix6(into *field[netip.Prefix]) scalar[netip.Prefix] {
	return scalar[netip.Prefix]{
		into: into, what: "an IPv6 prefix such as 2001:db8:1200::/48, from /16 to /64", parse: parsePrefix6,
		print: func(p netip.Prefix) string { return quote(p.String()) },
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*` + pattern6 + `/[0-9]{1,3}\s*$`},
	}
}

func parsePrefix6(s string) (netip.Prefix, fault) {
	word := strings.TrimSpace(s)
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return netip.Prefix{}, fault{message: "is not a prefix"}
	}
	if p.Addr().Is4() || p.Addr().Is4In6() {
		return netip.Prefix{}, fault{message: "is an IPv4 prefix"}
	}
	if _, f := parseAddress6(p.Masked().Addr().Next().String()); !f.none() {
		return netip.Prefix{}, fault{message: "is no prefix of unicast addresses"}
	}
	switch {
	case p.Bits() < 16 || p.Bits() > 64:
		return netip.Prefix{}, fault{message: "has a length that no provider delegates"}
	case p.Masked() != p:
		return netip.Prefix{}, fault{"has bits behind its length", p.Masked().String()}
	}
	return p, fault{}
}

// FirstPrefix returns the first delegated IPv6 prefix in a text, as hooks of DHCP clients write it: words,
// of which those that are no such prefix are passed over, and comments from # to the end of a line. A
// prefix longer than /64 is passed over too; bits behind its length are cut.
func FirstPrefix(text string) (netip.Prefix, bool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;='\"", r) }) {
			p, err := netip.ParsePrefix(word)
			if err != nil {
				continue
			}
			if p, f := parsePrefix6(p.Masked().String()); f.none() {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}
