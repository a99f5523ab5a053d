package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxPolicies is the largest number of policies of one configuration.
const MaxPolicies = 1000

// Set is a named set of addresses that policies match.
type Set struct {
	Name     string
	Family   Family
	Prefixes []netip.Prefix // from the file; those of File are added by Config.WithSets
	File     string         // path of a file of prefixes, read at start and reload; empty: none
	External bool           // filled by others, such as dnsmasq; its contents are not ours
}

// Endpoint is what the source or destination of a packet is compared with.
type Endpoint struct {
	Prefix netip.Prefix // invalid: Set is meant
	Set    string       // name of a Set
}

// Ports is a range of ports.
type Ports struct{ First, Last uint16 }

// Match says which new connections a policy is for. An empty list matches everything; all lists must
// match. Values within a list are alternatives.
type Match struct {
	Sources, Destinations         []Endpoint
	Inside                        []string // interfaces that the packet came in on
	Protocols                     []uint8  // IP protocol numbers (IANA); 6 is TCP, 17 is UDP
	SourcePorts, DestinationPorts []Ports
	DSCP                          []uint8 // RFC 2474, 0 to 63
	Mark, MarkMask                uint32  // the packet's mark under MarkMask is Mark; MarkMask 0: any

	Own     bool     // the router's own connections, and no others; false: those that it forwards
	Users   []User   // whose processes send it
	Cgroups []Cgroup // that the processes are in, or below
}

// User is a user of this host.
type User struct {
	Name string // empty: ID is from the file
	ID   uint32 // of Name once Config.WithUsers has asked for it
}

// String returns the word used in the configuration file.
func (u User) String() string {
	if u.Name == "" {
		return strconv.FormatUint(uint64(u.ID), 10)
	}
	return u.Name
}

// Cgroup is a control group of version 2 (cgroups(7)).
type Cgroup struct {
	Path string // below its root, without a slash before and behind; example system.slice/backup.service
	ID   uint64 // 0: there is none now; see Config.WithCgroups
}

// Way is one line that a policy may use.
type Way struct {
	Uplink int
	Tier   int // lower is preferred
	Weight int // share within the tier, 1 to 256
}

// LastResort is what becomes of a policy's connections when none of its lines is well.
type LastResort uint8

// The last resorts.
const (
	LastResortDefault LastResort = iota // they are treated as if there were no policy
	LastResortBlock                     // they are refused: ICMP unreachable
	LastResortBypass                    // they follow main's own default route
)

// String returns the word used in the configuration file.
func (r LastResort) String() string { return [...]string{"default", "block", "bypass"}[r] }

// Sticky says which connections of a policy share a line.
type Sticky uint8

// The kinds of stickiness.
const (
	StickyNone              Sticky = iota
	StickySource                   // those from one address
	StickySourceDestination        // those from one address to one address
)

// String returns the word used in the configuration file.
func (s Sticky) String() string { return [...]string{"none", "source", "source_destination"}[s] }

// Policy says which lines some of the new connections use. The first one that matches decides.
type Policy struct {
	Number        int // from 1, in the order of the file; 0 is what holds without policy
	Name          string
	Match         Match
	Ways          []Way // by tier, then in the order of the uplinks; each uplink once
	LastResort    LastResort
	Sticky        Sticky
	StickyTimeout time.Duration // after the last new connection
	Balance       Balance
}

// Weight returns the configured share of a line in a tier of the policy, 0 if it is not there.
func (p *Policy) Weight(uplink, tier int) int {
	for _, w := range p.Ways {
		if w.Uplink == uplink && w.Tier == tier {
			return w.Weight
		}
	}
	return 0
}

// Forward leads connections from outside to a host inside.
type Forward struct {
	Name      string
	Protocols []uint8 // TCP, UDP
	Ports     []Ports // as they are outside
	To        netip.Addr
	ToPort    uint16 // 0: the same port
	Uplinks   []int  // on which it holds
	Hairpin   bool   // hosts inside reach it by the lines' addresses too
}

// HairpinAddresses returns the addresses of the router by which hosts inside reach a forward: those of its uplinks
// that have the family. Where the file does not have all of them, unknown is true: they are taken to be all of the
// router's but those of the interface that the host is behind.
func (c *Config) HairpinAddresses(f Forward) (known []netip.Addr, unknown bool) {
	family := FamilyOf(f.To)
	for _, i := range f.Uplinks {
		switch u := c.Uplinks[i]; {
		case !u.Has(family):
		case u.Fixed(family).IsValid():
			known = append(known, u.Fixed(family))
		default:
			unknown = true
		}
	}
	return known, unknown
}

// Packet is the first packet of a connection, as policies see it.
type Packet struct {
	Source, Destination         netip.Addr
	Inside                      string // interface that it came in on
	Protocol                    uint8
	SourcePort, DestinationPort uint16
	DSCP                        uint8
	Mark                        uint32
	Own                         bool   // the router itself sends it
	User                        uint32 // whose process sends it
	Cgroup                      string // path of the control group that the process is in
}

// InSet tells whether a set that others fill holds an address.
type InSet func(set string, a netip.Addr) bool

// PolicyFor returns the first policy that matches; nil: none. external answers for sets that others
// fill; nil means that they are empty.
func (c *Config) PolicyFor(p Packet, external InSet) *Policy {
	for i := range c.Policies {
		if c.Matches(&c.Policies[i].Match, p, external) {
			return &c.Policies[i]
		}
	}
	return nil
}

// Matches tells whether a packet matches.
func (c *Config) Matches(m *Match, p Packet, external InSet) bool {
	return c.Mismatch(m, p, external) == ""
}

// Mismatch names the first key of a policy that a packet does not match; empty: it matches.
func (c *Config) Mismatch(m *Match, p Packet, external InSet) string {
	switch {
	case m.Own != p.Own:
		return "router"
	case !c.holds(m.Sources, p.Source, external):
		return "source"
	case !c.holds(m.Destinations, p.Destination, external):
		return "destination"
	case !oneOf(m.Inside, p.Inside):
		return "inside"
	case !oneOf(m.Protocols, p.Protocol):
		return "protocol"
	case !inPorts(m.SourcePorts, p.SourcePort):
		return "source_port"
	case !inPorts(m.DestinationPorts, p.DestinationPort):
		return "destination_port"
	case !oneOf(m.DSCP, p.DSCP):
		return "dscp"
	case p.Mark&m.MarkMask != m.Mark:
		return "mark"
	case len(m.Users) > 0 && !slices.ContainsFunc(m.Users, func(u User) bool { return u.ID == p.User }):
		return "user"
	case len(m.Cgroups) > 0 && !slices.ContainsFunc(m.Cgroups, func(g Cgroup) bool { return g.holds(p.Cgroup) }):
		return "cgroup"
	}
	return ""
}

// holds tells whether a control group is this one or below it.
func (g Cgroup) holds(path string) bool {
	return g.ID != 0 && (path == g.Path || strings.HasPrefix(path, g.Path+"/"))
}

// WithUsers returns the configuration with the numbers of the users that policies name. lookup returns the
// number of a name. A name that this host does not know is a problem.
func (c *Config) WithUsers(lookup func(name string) (uint32, error)) (*Config, []Problem) {
	full := *c
	full.Policies = slices.Clone(c.Policies)
	var problems []Problem
	for i := range full.Policies {
		m := &full.Policies[i].Match
		m.Users = slices.Clone(m.Users)
		for j := range m.Users {
			u := &m.Users[j]
			if u.Name == "" {
				continue
			}
			id, err := lookup(u.Name)
			if err != nil {
				problems = append(problems, c.problem(userPlace(i, j), u.Name, "cannot be found on this host: "+err.Error()))
			}
			u.ID = id
		}
	}
	return &full, problems
}

// Cgroups are the paths of the control groups that policies name.
func (c *Config) Cgroups() []string {
	var paths []string
	for i := range c.Policies {
		for _, g := range c.Policies[i].Match.Cgroups {
			paths = append(paths, g.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// WithCgroups returns a copy of the configuration in which control groups have the numbers that they have
// now, by their paths.
func (c *Config) WithCgroups(ids map[string]uint64) *Config {
	if len(c.Cgroups()) == 0 {
		return c
	}
	with := *c
	with.Policies = slices.Clone(c.Policies)
	for i := range with.Policies {
		m := &with.Policies[i].Match
		m.Cgroups = slices.Clone(m.Cgroups)
		for j := range m.Cgroups {
			m.Cgroups[j].ID = ids[m.Cgroups[j].Path]
		}
	}
	return &with
}

func oneOf[T comparable](list []T, one T) bool { return len(list) == 0 || slices.Contains(list, one) }

func inPorts(list []Ports, port uint16) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(r Ports) bool { return r.First <= port && port <= r.Last })
}

func (c *Config) holds(list []Endpoint, a netip.Addr, external InSet) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(e Endpoint) bool {
		if e.Set == "" {
			return e.Prefix.Contains(a)
		}
		s, _ := c.Set(e.Set)
		if s.External && s.Family == FamilyOf(a) {
			return external != nil && external(s.Name, a)
		}
		return slices.ContainsFunc(s.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// Set returns the set of that name.
func (c *Config) Set(name string) (Set, bool) {
	i := slices.IndexFunc(c.Sets, func(s Set) bool { return s.Name == name })
	if i < 0 {
		return Set{}, false
	}
	return c.Sets[i], true
}

// FamilyOfEndpoint returns the address family of an endpoint.
func (c *Config) FamilyOfEndpoint(e Endpoint) Family {
	if e.Set == "" {
		return FamilyOf(e.Prefix.Addr())
	}
	s, _ := c.Set(e.Set)
	return s.Family
}
