package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Masked is a number that counts only under a mask.
type Masked struct{ Value, Mask uint32 }

const setNamePattern = `^[A-Za-z][A-Za-z0-9_]{0,30}$`

// setName is the name of a set: an identifier of nft(8) that no word of its language can be, and, being
// without a dash, none of our own objects.
func setName(into *field[string]) scalar[string] {
	return scalar[string]{
		into: into,
		what: "a name of up to 31 letters, digits and underscores that begins with a letter",
		parse: func(s string) (string, fault) {
			if !regexp.MustCompile(setNamePattern).MatchString(s) {
				return "", fault{message: "is not the name of a set"}
			}
			if slices.Contains(nftWords, s) {
				return "", fault{"is a word of nft's own language", s + "_set"}
			}
			return s, fault{}
		},
		print: quote,
		json:  &schema{Type: []string{"string", "null"}, Pattern: setNamePattern},
	}
}

// nftWords are the words that nft(8) takes for keywords where a set is declared, referred to or listed: those of
// 1.0.6, and what later versions have added.
var nftWords = strings.Fields(`
	accept add ah all and arp at auto bitmask bridge bypass cgroup chain chains comment comp constant continue
	copy counter counters cpu create ct day dccp default define delete describe destroy device devices dnat drop
	dst dup dynamic ecn element elements eq erspan esp ether exists expires export exthdr fib flags flow flowtable
	flowtables flush forward frag fwd gateway ge geneve genmark get goto gre gretap group gt handle hash hbh
	helper hook hooks hour ibriport ibrname icmp icmpv6 id igmp iif iifgroup iifname iiftype import in include
	index inet inner insert interval ip ip6 ipsec jhash jump key last le length level limit limits list ll log
	lshift lt map maps mark masquerade meta meter meters mh minute missing monitor nat ne netdev nftrace nh not
	notrack numgen obriport obrname offload oif oifgroup oifname oiftype or osf packets period persistent pkttype
	policy position prefix priority protocol queue queues quota quotas random redefine redirect reject rename
	replace reset return route rshift rt rt0 rt2 rtclassid rule rules ruleset saddr sctp sec secmark secmarks set
	sets size skgid skuid snaplen snat socket sport srh state symhash synproxy synproxys table tables tcp th time
	timeout to tproxy tunnel tunnels type typeof udp udplite undefine update version vlan vmap vni vxlan xfrm xor
	xt years
`)

// prefix is an address or a prefix of either family.
func prefix(into *field[netip.Prefix]) scalar[netip.Prefix] {
	return scalar[netip.Prefix]{
		into:  into,
		what:  "an address or a prefix such as 192.0.2.0/24",
		parse: parsePrefix,
		print: spellPrefix,
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*[0-9a-fA-F:.]+(/[0-9]{1,3})?\s*$`},
	}
}

func parsePrefix(s string) (netip.Prefix, fault) {
	word := strings.TrimSpace(s)
	p, err := netip.ParsePrefix(word)
	if a, addrErr := netip.ParseAddr(word); addrErr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fault{message: "is neither an address nor a prefix"}
	case p.Addr().Is4In6():
		return netip.Prefix{}, fault{message: "is an IPv4 address written as IPv6"}
	case p != p.Masked():
		return netip.Prefix{}, fault{"has bits after its length", p.Masked().String()}
	}
	return p, fault{}
}

// spellPrefix writes a prefix of full length as an address.
func spellPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return quote(p.Addr().String())
	}
	return quote(p.String())
}

// endpoint is an address, a prefix or the name of a set.
func endpoint(into *field[Endpoint]) scalar[Endpoint] {
	return scalar[Endpoint]{
		into: into,
		what: `an address, a prefix such as 192.0.2.0/24, or "@NAME" of a set`,
		parse: func(s string) (Endpoint, fault) {
			name, isSet := strings.CutPrefix(strings.TrimSpace(s), "@")
			if !isSet {
				p, f := parsePrefix(s)
				return Endpoint{Prefix: p}, f
			}
			if !regexp.MustCompile(setNamePattern).MatchString(name) {
				return Endpoint{}, fault{message: "is not the name of a set"}
			}
			return Endpoint{Set: name}, fault{}
		},
		print: func(e Endpoint) string {
			if e.Set != "" {
				return `"@` + e.Set + `"`
			}
			return spellPrefix(e.Prefix)
		},
		json: &schema{Type: []string{"string", "null"}, Pattern: `^\s*([0-9a-fA-F:.]+(/[0-9]{1,3})?|@[A-Za-z][A-Za-z0-9_]*)\s*$`},
	}
}

// Protocols by name (IANA protocol numbers).
var protocols = map[string]uint8{
	"icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132, "udplite": 136,
}

// PortProtocols are the IP protocols that have ports.
var PortProtocols = []uint8{6, 17, 33, 132, 136}

// ParseProtocol reads the name or number of an IP protocol.
func ParseProtocol(s string) (uint8, bool) {
	number, f := parseNamed(s, protocols, 255)
	return number, f.none()
}

// ProtocolName returns the name of an IP protocol, or its number.
func ProtocolName(number uint8) string { return nameIn(protocols, number) }

func protocol(into *field[uint8]) scalar[uint8] {
	return named(into, protocols, 255, "an IP protocol (tcp, udp, icmp, icmpv6, sctp, gre, esp or a number)")
}

// portProtocol is TCP or UDP.
func portProtocol(into *field[uint8]) scalar[uint8] {
	return choice(into, []string{"tcp", "udp"}, []uint8{6, 17})
}

// codePoints are the names of RFC 2474, 2597, 3246, 5865 and 8622.
var codePoints = map[string]uint8{
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56, "ef": 46, "va": 44, "le": 1,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
}

// ParseDSCP reads the name or number of a code point.
func ParseDSCP(s string) (uint8, bool) {
	number, f := parseNamed(s, codePoints, 63)
	return number, f.none()
}

func dscp(into *field[uint8]) scalar[uint8] {
	return named(into, codePoints, 63, "a code point (cs0 to cs7, af11 to af43, ef, va, le or a number from 0 to 63)")
}

// named is a small number that may be written by its name.
func named(into *field[uint8], all map[string]uint8, most uint8, what string) scalar[uint8] {
	words := strings.Join(slices.Sorted(maps.Keys(all)), "|")
	highest := int64(most)
	return scalar[uint8]{
		into:  into,
		what:  what,
		parse: func(s string) (uint8, fault) { return parseNamed(s, all, most) },
		print: func(n uint8) string { return nameIn(all, n) },
		json:  &schema{Type: []string{"string", "integer", "null"}, Minimum: new(int64), Maximum: &highest, Pattern: `^\s*(?:` + words + `|[0-9]+)\s*$`},
	}
}

func parseNamed(s string, all map[string]uint8, most uint8) (uint8, fault) {
	word := strings.ToLower(strings.TrimSpace(s))
	if number, ok := all[word]; ok {
		return number, fault{}
	}
	number, f := parseInteger(word)
	switch {
	case !f.none():
		return 0, fault{"is not known", closest(word, slices.Sorted(maps.Keys(all)))}
	case number < 0 || number > int64(most):
		return 0, fault{message: "is out of range"}
	}
	return uint8(number), fault{}
}

func nameIn(all map[string]uint8, number uint8) string {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] == number {
			return name
		}
	}
	return strconv.Itoa(int(number))
}

// String returns the range as in the file.
func (p Ports) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// ports is a port or a range of ports.
func ports(into *field[Ports]) scalar[Ports] {
	return scalar[Ports]{
		into:  into,
		what:  "a port or a range such as 8000-8099",
		parse: parsePorts,
		print: Ports.String,
		json:  &schema{Type: []string{"string", "integer", "null"}, Minimum: pointer(1), Maximum: pointer(65535), Pattern: `^\s*[0-9]+(-[0-9]+)?\s*$`},
	}
}

func pointer(n int64) *int64 { return &n }

func parsePorts(s string) (Ports, fault) {
	low, high, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if !isRange {
		high = low
	}
	first, err := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	switch {
	case err != nil || err2 != nil || first == 0 || last == 0:
		return Ports{}, fault{message: "is no port from 1 to 65535"}
	case first > last:
		return Ports{}, fault{"ends before it begins", high + "-" + low}
	}
	return Ports{uint16(first), uint16(last)}, fault{}
}

// masked is a mark with an optional mask.
func masked(into *field[Masked]) scalar[Masked] {
	return scalar[Masked]{
		into: into,
		what: "a mark with a mask such as 0x100/0xff00",
		parse: func(s string) (Masked, fault) {
			value, mask, _ := strings.Cut(strings.TrimSpace(s), "/")
			v, err := strconv.ParseUint(value, 0, 32)
			m, err2 := uint64(1<<32-1), error(nil)
			if mask != "" {
				m, err2 = strconv.ParseUint(mask, 0, 32)
			}
			switch {
			case err != nil || err2 != nil || strings.HasSuffix(s, "/"):
				return Masked{}, fault{message: "is not a mark"}
			case m == 0:
				return Masked{}, fault{message: "has an empty mask"}
			case v&^m != 0:
				return Masked{}, fault{"has bits outside of its mask", fmt.Sprintf("%#x/%#x", v&m, m)}
			}
			return Masked{uint32(v), uint32(m)}, fault{}
		},
		print: func(m Masked) string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) },
		json:  &schema{Type: []string{"string", "integer", "null"}, Minimum: new(int64), Maximum: pointer(1<<32 - 1), Pattern: `^\s*(0x[0-9a-fA-F]+|[0-9]+)(/(0x[0-9a-fA-F]+|[0-9]+))?\s*$`},
	}
}

// hostPort is an address with or without a port.
func hostPort(into *field[netip.AddrPort]) scalar[netip.AddrPort] {
	return scalar[netip.AddrPort]{
		into: into,
		what: "an address such as 192.168.1.10, or with a port, 192.168.1.10:8443",
		parse: func(s string) (netip.AddrPort, fault) {
			word := strings.TrimSpace(s)
			if ap, err := netip.ParseAddrPort(word); err == nil {
				if ap.Port() == 0 {
					return netip.AddrPort{}, fault{message: "has the port 0"}
				}
				return ap, innerFault(ap.Addr())
			}
			a, err := netip.ParseAddr(strings.Trim(word, "[]"))
			if err != nil {
				return netip.AddrPort{}, fault{message: "is not an address"}
			}
			return netip.AddrPortFrom(a, 0), innerFault(a)
		},
		print: func(ap netip.AddrPort) string {
			if ap.Port() == 0 {
				return quote(ap.Addr().String())
			}
			return quote(ap.String())
		},
		json: &schema{Type: []string{"string", "null"}, Pattern: `^\s*[0-9a-fA-F:.\[\]]+\s*$`},
	}
}

// innerFault refuses addresses that cannot be those of a host inside.
func innerFault(a netip.Addr) fault {
	if a.Is4() {
		_, f := parseAddress(a.String())
		return f
	}
	if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.Zone() != "" || a.Is4In6() || a.IsLinkLocalUnicast() {
		return fault{message: "is not the address of a host inside"}
	}
	return fault{}
}

// userName is a user of this host, by name or number.
func userName(into *field[User]) scalar[User] {
	pattern := regexp.MustCompile(userPattern)
	return scalar[User]{
		into: into,
		what: "the name or the number of a user",
		parse: func(s string) (User, fault) {
			word := strings.TrimSpace(s)
			if id, err := strconv.ParseUint(word, 10, 32); err == nil && id < 1<<32-1 {
				return User{ID: uint32(id)}, fault{}
			}
			if !pattern.MatchString(word) {
				return User{}, fault{message: "is neither the name nor the number of a user"}
			}
			return User{Name: word}, fault{}
		},
		print: func(u User) string { return quote(u.String()) },
		json:  &schema{Type: []string{"string", "integer", "null"}, Minimum: new(int64), Maximum: pointer(1<<32 - 2), Pattern: `^\s*([0-9]+|[A-Za-z_][A-Za-z0-9_.-]*[$]?)\s*$`},
	}
}

const userPattern = `^[A-Za-z_][A-Za-z0-9_.-]*[$]?$`

// cgroupPath is the path of a control group. It stands in a rule of nft(8), which has no way to write quotes
// in a path.
func cgroupPath(into *field[Cgroup]) scalar[Cgroup] {
	return scalar[Cgroup]{
		into:  into,
		what:  "the path of a control group such as system.slice/backup.service",
		parse: parseCgroup,
		print: func(g Cgroup) string { return quote(g.Path) },
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*/?[A-Za-z0-9@:_.+-]+(/+[A-Za-z0-9@:_.+-]+)*/?\s*$`},
	}
}

var cgroupPattern = regexp.MustCompile(`^[A-Za-z0-9@:_.+-]+(/[A-Za-z0-9@:_.+-]+)*$`)

func parseCgroup(s string) (Cgroup, fault) {
	word := strings.Trim(strings.TrimPrefix(strings.TrimSpace(s), "/sys/fs/cgroup/"), "/")
	switch {
	case !cgroupPattern.MatchString(word) || slices.ContainsFunc(strings.Split(word, "/"), func(part string) bool { return part == "." || part == ".." }):
		return Cgroup{}, fault{message: "is not the path of a control group"}
	case len(word) > maxCgroup:
		return Cgroup{}, fault{message: fmt.Sprintf("is longer than %d characters", maxCgroup)}
	case strings.Count(word, "/") >= maxCgroupLevel:
		return Cgroup{}, fault{message: fmt.Sprintf("has more than %d levels", maxCgroupLevel)}
	}
	return Cgroup{Path: word}, fault{}
}

// ParseCgroup reads the path of a control group (cgroups(7)), with or without /sys/fs/cgroup before it; false: it is
// none that a policy could name.
func ParseCgroup(s string) (Cgroup, bool) {
	cgroup, f := parseCgroup(s)
	return cgroup, f.none()
}

const (
	maxCgroup      = 200
	maxCgroupLevel = 16
)

// lineName is the interface or the name of an uplink.
func lineName(into *field[string]) scalar[string] {
	s := text(into, 100)
	s.what = "the interface or the name of an uplink"
	return s
}
