// Package routing decides which kernel state should exist and the steps that lead there.
//
// It is pure: values in, values out. Resolve turns the configuration and what the kernel shows into
// paths; Select chooses the uplinks that carry new connections; Want says which routes, rules and
// sysctls should exist; Plan compares that with what exists and returns the ordered steps.
package routing

import (
	"net/netip"
	"slices"

	"ftr/internal/config"
)

// Our tags: what carries them is ours, what does not is not (ip-route(8) "protocol", ip-rule(8)
// "protocol"). The number is free in rt_protos(5) of iproute2.
const (
	RouteProtocol uint8 = 117
	RuleProtocol  uint8 = 117
)

// Route types (rtnetlink(7), rtm_type) that this program writes.
const (
	Unicast     RouteType = 1
	Unreachable RouteType = 7
)

// RouteType is the type of a route.
type RouteType uint8

// Route is a route as the kernel keeps it. An invalid Source is none.
type Route struct {
	Family      config.Family
	Table       uint32
	Type        RouteType
	Destination netip.Prefix // 0.0.0.0/0 and ::/0 are the default routes
	Metric      uint32
	Protocol    uint8
	Source      netip.Addr // preferred source address
	NextHops    []NextHop  // one: a plain route; more: multipath; none: unreachable
	// Other is true for a route with anything that this program never writes (another type, a TOS, a
	// nexthop object, metrics, an encapsulation ...): never equal to one of ours.
	Other bool
}

// NextHop is one way of a route.
type NextHop struct {
	Interface string
	Gateway   netip.Addr // invalid: the peer of a point-to-point link
	OnLink    bool       // the gateway need not be covered by an address of the interface
	Weight    int        // 1 to 256; 1 on a plain route
}

// Equal tells whether two routes are the same in every field that we write. The order of next hops
// counts: the kernel keeps it, and so do we.
func (r Route) Equal(o Route) bool {
	return !r.Other && !o.Other && r.Family == o.Family && r.Table == o.Table && r.Type == o.Type && r.Destination == o.Destination &&
		r.Metric == o.Metric && r.Protocol == o.Protocol && r.Source == o.Source && slices.Equal(r.NextHops, o.NextHops)
}

// IsDefault tells whether the route matches every destination.
func (r Route) IsDefault() bool { return r.Destination.Bits() == 0 }

// NoSuppress is the value of Rule.SuppressPrefixLength that suppresses nothing.
const NoSuppress = -1

// udp is the number of UDP (IPPROTO_UDP) in a rule.
const udp = 17

// Rule is an entry of the routing policy database (RPDB). It is comparable with ==.
type Rule struct {
	Family               config.Family
	Priority             uint32
	From                 netip.Prefix // invalid: from all
	Mark, Mask           uint32       // Mask 0: any mark
	Local                bool         // only what this host itself sends (iif lo)
	Output               string       // only what is bound to this interface (oif); empty: anything
	Transport            uint8        // IP protocol (ipproto); 0: any
	SourcePort           uint16       // sport; 0: any
	Table                uint32
	SuppressPrefixLength int // refuse routes of this prefix length or shorter; NoSuppress: none
	Protocol             uint8
	// Other is true for a rule with anything that this program never writes (another action, a range of
	// ports, inversion ...): never equal to one of ours, never touched.
	Other bool
}

// narrow tells whether a rule has selectors beside source and mark.
func (r Rule) narrow() bool {
	return r.Other || r.Local || r.Output != "" || r.Transport != 0 || r.SourcePort != 0
}

// Sysctl is one kernel parameter, by its path under /proc/sys with slashes (sysctl(8)).
// Example {"net/ipv4/conf/eth1/rp_filter", "2"}.
type Sysctl struct {
	Key   string
	Value string
}

// State is a part of the kernel's state: what is there (have), or what should be (want).
type State struct {
	Routes  []Route
	Rules   []Rule
	Sysctls []Sysctl
	// Held are the places where this process has written routes before: whatever has replaced one there
	// may be replaced. Nobody knows of any at the start.
	Held Places
}

// Equal tells whether two states are the same, in the same order.
func (s State) Equal(o State) bool {
	return slices.EqualFunc(s.Routes, o.Routes, Route.Equal) && slices.Equal(s.Rules, o.Rules) && slices.Equal(s.Sysctls, o.Sysctls)
}

// Address is one address of an interface.
type Address struct {
	Prefix netip.Prefix // address and prefix length, example 192.0.2.2/24
	Peer   netip.Addr   // the other end of a point-to-point link; invalid: none
	// Secondary: added after another address of the same prefix (IFA_F_SECONDARY); the kernel does
	// not choose it as source by itself.
	Secondary bool
	// Tentative or deprecated addresses (IPv6) cannot serve as source of new connections.
	Tentative, Deprecated bool
	// Dynamic: the address has a lifetime, as DHCP and router advertisements give it (IFA_F_PERMANENT unset).
	Dynamic bool
}

// Link is what the kernel says of an interface.
type Link struct {
	Name         string
	Index        int
	Up           bool   // administratively (IFF_UP)
	Carrier      bool   // IFF_LOWER_UP and operstate not down: the cable or the radio works
	PointToPoint bool   // IFF_POINTOPOINT: routes need no gateway
	Tunnel       string // its type (ip-link(8)), if it is one of a tunnel; example "wireguard"
	Addresses    []Address
}

// Observation is everything that one look at the kernel tells.
type Observation struct {
	Links    []Link                // the uplinks' and inside interfaces that exist
	Defaults []Route               // default routes in table main, any protocol
	Leases   map[string]netip.Addr // by interface: the router that a DHCP client's lease file names
	// Prefixes are those that the files of the scope name, by path; one without a prefix is left out.
	Prefixes map[string]netip.Prefix
	// Cgroups are the numbers of the scope's control groups, by path; one that is not there is left out.
	Cgroups map[string]uint64
	// Have holds every rule (of anyone; Rule.Protocol tells whose), every route in the tables of the
	// configuration and in the tables that rules with our tag lead to, and the asked sysctls.
	Have State
}

// Link returns the link of that name.
func (o *Observation) Link(name string) (Link, bool) {
	i := slices.IndexFunc(o.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return o.Links[i], true
}

// Scope says what to look at.
type Scope struct {
	Families   []config.Family
	Interfaces []string // the uplinks' and the inside ones
	Tables     []uint32
	// Tables that rules of any protocol between these priorities (inclusive) lead to are observed too:
	// the original program's tables of a longer list of uplinks are found this way.
	FirstPriority, LastPriority uint32
	Sysctls                     []string // keys; a key that does not exist is left out of the observation
	PrefixFiles                 []string // files that name a delegated IPv6 prefix
	Cgroups                     []string // paths of control groups
}
