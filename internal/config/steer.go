package config

import (
	"hash/fnv"
	"math/bits"
	"slices"
	"strings"
)

// Firewall says who keeps the rules that mark connections and translate addresses.
type Firewall uint8

// The keepers of the firewall rules.
const (
	FirewallManual  Firewall = iota // the administrator, with what generate_iptables prints
	FirewallManaged                 // this program, in an nft table of its own
)

// String returns the word used in the configuration file.
func (f Firewall) String() string { return [...]string{"manual", "managed"}[f] }

// Balance says how new connections are spread over lines.
type Balance uint8

// The ways of spreading.
const (
	BalanceHash       Balance = iota // by the kernel's multipath hash over addresses and ports
	BalanceRoundRobin                // in turn, exactly by weight; needs a managed firewall
)

// String returns the word used in the configuration file.
func (b Balance) String() string { return [...]string{"hash", "round_robin"}[b] }

// FirstSteerTable is the routing table of the first place of a steer; each further one has the next. They lie
// beyond the tables of any list of uplinks, which end below 252.
const FirstSteerTable = 11700

// OwnTable is the routing table for what the router itself sends, where some lines are tunnels.
const OwnTable = FirstSteerTable - 1

// DeadEndTable is the routing table that leads nowhere: for hosts with an address of a line that is not translated
// while that line is dead.
const DeadEndTable = FirstSteerTable - 2

// NoUplink is the Steer.Uplink of a steer that prefers no line.
const NoUplink = -1

// Steer is a way for the first packets of new connections: they carry its mark, and its table says
// where they leave. It belongs to a policy, and may prefer one of the policy's lines; when that line
// is not selected, the table leads to the others, so that failures change routes and no firewall rule.
type Steer struct {
	Policy int    // 0: the default policy, for all connections that no other applies to
	Uplink int    // the preferred line, by Uplink.Index; NoUplink: none
	Mark   uint32 // to be set and matched only under Numbers.SteerMask; never 0 there
	Table  uint32 // FirstSteerTable and its place
}

// Steer returns the steer of a policy that prefers an uplink, or none (NoUplink).
func (c *Config) Steer(policy, uplink int) (Steer, bool) {
	for _, s := range c.Steers {
		if s.Policy == policy && s.Uplink == uplink {
			return s, true
		}
	}
	return Steer{}, false
}

// Own tells whether a steer is for the router's own connections.
func (c *Config) Own(s Steer) bool { return s.Policy > 0 && c.Policies[s.Policy-1].Match.Own }

// Unsteered is the mark, under SteerMask, of what the router itself sends and no policy may lead: probes.
func (n Numbers) Unsteered() uint32 { return n.SteerMask }

// Unled tells whether other software has given a packet a mark for which no policy is asked: one with bits of the
// lines' marks or, if the router itself sends it, with all steering bits.
func (n Numbers) Unled(p Packet) bool {
	if p.Own {
		return n.SteerMask != 0 && p.Mark&n.SteerMask == n.Unsteered()
	}
	return p.Mark&n.Mask != 0
}

// steers derives the steers of a configuration; the place of each gives it its mark and table.
func steers(c *Config) []Steer {
	if c.Firewall != FirewallManaged {
		return nil
	}
	var list []Steer
	if c.Balance == BalanceRoundRobin {
		for _, u := range c.Uplinks {
			if u.Grouped {
				list = append(list, Steer{Policy: 0, Uplink: u.Index})
			}
		}
	}
	places := make([]uint32, 0, len(list))
	for i := range list {
		places = append(places, uint32(i))
	}
	own := policySteers(c.Policies)
	places = append(places, policyPlaces(c, own, uint32(len(list)))...)
	list = append(list, own...)
	for i := range list {
		list[i].Mark = steerMark(places[i], c.Numbers.SteerMask)
		list[i].Table = FirstSteerTable + places[i]
	}
	return list
}

// policyPlaces are the positions of the policies' steers. They follow from the names of policy and interface, so
// that a mark means the same before and after a reload that adds or removes others: rules and routes are not
// changed in one moment, and a first packet in between must not be taken for another policy's. Where a mask leaves
// little room they follow one another from first on.
func policyPlaces(c *Config, list []Steer, first uint32) []uint32 {
	places := make([]uint32, len(list))
	room := maxSteers(int64(c.Numbers.SteerMask)) - MaxUplinks
	if room < roomy*len(list) {
		for i := range places {
			places[i] = first + uint32(i)
		}
		return places
	}
	name := func(s Steer) string {
		if s.Uplink == NoUplink {
			return c.Policies[s.Policy-1].Name
		}
		return c.Policies[s.Policy-1].Name + "\x00" + c.Uplinks[s.Uplink].Interface
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	// Of two that want the same place, the same one has it whatever their order in the file.
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(name(list[a]), name(list[b])) })
	taken := map[uint32]bool{}
	for _, i := range order {
		sum := fnv.New32a()
		sum.Write([]byte(name(list[i])))
		at := sum.Sum32() % uint32(room)
		for taken[at] {
			at = (at + 1) % uint32(room)
		}
		taken[at] = true
		places[i] = MaxUplinks + at
	}
	return places
}

// roomy is how many places there must be for each steer of a policy: two that want the same one are rare then.
const roomy = 8

// WireGuardMark is what wg-quick(8) marks a tunnel's own packets with, where the tunnel leads everywhere.
const WireGuardMark = 51820

// steerMark returns the mark of a place: none is that of WireGuard, whose packets no policy is meant for.
func steerMark(place, mask uint32) uint32 {
	number := place + 1
	if taken := gather(WireGuardMark, mask); taken != 0 && number >= taken {
		number++
	}
	return spread(number, mask)
}

// gather is the inverse of spread.
func gather(laid, mask uint32) uint32 {
	var n uint32
	for bit := uint32(1); mask != 0; mask &= mask - 1 {
		if laid&mask&-mask != 0 {
			n |= bit
		}
		bit <<= 1
	}
	return n
}

// spread lays the bits of a number into the bits of a mask, from the lowest.
func spread(n, mask uint32) uint32 {
	var laid uint32
	for ; mask != 0; mask &= mask - 1 {
		if n&1 != 0 {
			laid |= mask & -mask
		}
		n >>= 1
	}
	return laid
}

// mostSteers keeps the tables and rules within what a kernel looks through in reasonable time.
const mostSteers = 16383

// maxSteers is the number of different marks that a mask has room for, without the zero, that of WireGuard and
// the one with all bits, which says that a packet is not to be steered.
func maxSteers(mask int64) int {
	return min(max(1<<bits.OnesCount32(uint32(mask))-3, 0), mostSteers)
}

// defaultSteerMask is clear of the marks of Kubernetes (0x4000, 0x8000), of Tailscale (0xff0000), and of
// ours, which are in the low byte.
const defaultSteerMask = 0xff003f00

func (d *draft) isManaged() bool { return d.firewall.value == FirewallManaged }

// balanceIn returns how connections are spread; only a managed firewall can deal them.
func (d *draft) balanceIn() Balance {
	if d.balance.given() || !d.isManaged() {
		return d.balance.value
	}
	return BalanceRoundRobin
}

// steering returns steer_mask, or what the marks of n uplinks leave of its default.
func (d *draft) steering(n int64) int64 {
	if d.steerMask.given() {
		return d.steerMask.value
	}
	return defaultSteerMask &^ d.mask(n)
}
