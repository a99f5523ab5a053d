package lab

import (
	"fmt"
	"net/netip"
)

// The inside networks, and the sides of the internet host.
var (
	lanRouter = netip.MustParsePrefix("192.168.1.1/24")
	lanClient = netip.MustParsePrefix("192.168.1.2/24")
	dmzRouter = netip.MustParsePrefix("192.168.2.1/24")
	dmzServer = netip.MustParsePrefix("192.168.2.2/24")
	twinModem = netip.MustParsePrefix("192.168.100.1/24")
)

// Ports of the lab's servers.
const (
	WebPort    = 80   // internet host and DMZ server (behind DNAT)
	RouterPort = 8080 // the router itself
)

// PlanLine is a line with all its addresses and names.
type PlanLine struct {
	Line
	Number    int    // from 1
	Provider  string // description in the configuration; example "Provider 1"
	Interface string // on the router; example "wan1"
	Address   netip.Addr
	Gateway   netip.Addr
	// Customer is the network of the line; what the provider lets through and what the internet routes to it.
	Customer netip.Prefix
	Public   netip.Addr   // a Twin's address that the internet sees; invalid: Address
	bits     int          // prefix length of the address on the router's interface
	core     netip.Prefix // provider's address towards the internet
	peer     netip.Prefix // internet's address towards the provider
	inet6Plan
}

// Plan is the address plan of a lab.
type Plan struct {
	Lines   []PlanLine
	Targets []netip.Addr // probe targets: documentation networks (RFC 5737)
	Servers []netip.Addr // web servers

	Targets6, Servers6 []netip.Addr // the same over IPv6; empty where no line has it
}

// maxLines is the largest number of lines: config's own limit, and what the address plan holds.
const maxLines = 250

// NewPlan gives every line its addresses. Lines have their own /24 of the shared address space
// (RFC 6598); lines with a shared gateway one address each of a common /24.
func NewPlan(lines []Line) (Plan, error) {
	if len(lines) < 1 || len(lines) > maxLines {
		return Plan{}, fmt.Errorf("%d lines: want 1 to %d", len(lines), maxLines)
	}
	var p Plan
	for n := byte(1); n <= 3; n++ {
		p.Targets = append(p.Targets, netip.AddrFrom4([4]byte{198, 51, 100, n}), netip.AddrFrom4([4]byte{203, 0, 113, n}))
		p.Servers = append(p.Servers, netip.AddrFrom4([4]byte{198, 51, 100, 100 + n}), netip.AddrFrom4([4]byte{203, 0, 113, 100 + n}))
	}
	for i, line := range lines {
		n := byte(i + 1)
		l := PlanLine{
			Line: line, Number: i + 1, Provider: fmt.Sprintf("Provider %d", n), Interface: fmt.Sprintf("wan%d", n),
			Address: netip.AddrFrom4([4]byte{100, 64, n, 2}), Gateway: netip.AddrFrom4([4]byte{100, 64, n, 1}), bits: 24,
			core: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 31, n, 2}), 30),
			peer: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 31, n, 1}), 30),
		}
		l.Customer = netip.PrefixFrom(l.Gateway, 24).Masked()
		if line.SharedGateway {
			l.Gateway = netip.AddrFrom4([4]byte{100, 64, 255, 254})
			l.Address = netip.AddrFrom4([4]byte{100, 64, 255, n})
			l.Customer = netip.PrefixFrom(l.Address, 32)
		}
		if line.Kind == Tunnel {
			l.Gateway, l.Address = netip.AddrFrom4([4]byte{10, 9, n, 1}), netip.AddrFrom4([4]byte{10, 9, n, 2})
			l.Customer = netip.PrefixFrom(l.Gateway, 24).Masked()
		}
		if line.Twin {
			l.Gateway, l.Address = twinModem.Addr(), twinModem.Addr().Next()
			l.Customer, l.Public = twinModem.Masked(), l.core.Addr()
		}
		if line.Inet6 != NoIPv6 {
			l.inet6Plan = planInet6(i + 1)
		}
		p.Lines = append(p.Lines, l)
	}
	if p.hasInet6() {
		p.Targets6, p.Servers6 = targets6()
	}
	return p, nil
}

// LineOf tells which line an address belongs to, from 0.
func (p Plan) LineOf(a netip.Addr) (int, bool) {
	for i, l := range p.Lines {
		if l.Public == a.Unmap() || !l.Public.IsValid() && l.Customer.Contains(a.Unmap()) || l.Customer6.Contains(a) {
			return i, true
		}
	}
	return 0, false
}

// Rate returns the sum of the lines' rates.
func (p Plan) Rate() Rate {
	var sum Rate
	for _, l := range p.Lines {
		sum += l.Rate
	}
	return sum
}
