package firewall

import (
	"fmt"
	"math/bits"
	"strings"

	"ftr/internal/config"
)

// Counts tells whether the table of a managed firewall counts the traffic itself, which costs a packet a third
// of what tables of evidence do. It needs two bits in the marks of connections, the lowest of steer_mask.
func Counts(cfg *config.Config) bool { return bits.OnesCount32(cfg.Numbers.SteerMask) >= 2 }

// origins is what a connection's mark says beside its line: that it began inside and its packets count, and in
// which family. Its first packet decides, where it leaves, so that all others need one look at the mark.
// Those that began outside, or are ICMP, have none of these bits.
type origins struct {
	mask    uint32
	of      map[config.Family]uint32 // an answer was seen, or it is not TCP
	attempt uint32                   // TCP, and no answer was seen yet
}

// origins returns the bits; none where the table does not count.
func (m *managed) origins() origins {
	if !Counts(m.cfg) {
		return origins{}
	}
	all := m.cfg.Numbers.SteerMask
	low := all & -all
	high := (all ^ low) & -(all ^ low)
	return origins{low | high, map[config.Family]uint32{config.IPv4: low, config.IPv6: high}, low | high}
}

// counters are the objects that count, of each line's families.
func (m *managed) counters() {
	if !Counts(m.cfg) {
		return
	}
	for _, f := range families {
		for t := range tallies {
			for _, u := range m.cfg.Uplinks {
				if u.Has(f) {
					m.objects = append(m.objects, Object{Kind: Counter, Name: Count{f, Tally(t), u.Interface}.name()})
				}
			}
		}
	}
}

// count is the statement that counts a packet, by the mark of its connection. It ends the rule for a connection
// which is in no counter of these families.
func (m *managed) count(t Tally, list ...config.Family) string {
	o := m.origins()
	var entries []string
	for _, f := range list {
		mark := o.of[f]
		if t == Opening || t == Accepting {
			mark = o.attempt
		}
		for _, u := range m.cfg.Uplinks {
			if u.Has(f) {
				entries = append(entries, fmt.Sprintf("%#x : %q", u.Mark|mark, Count{f, t, u.Interface}.name()))
			}
		}
	}
	return fmt.Sprintf("counter name ct mark & %#x map { %s }", m.cfg.Numbers.Mask|o.mask, strings.Join(entries, ", "))
}

// used are the families that a line has.
func (m *managed) used() (list []config.Family) {
	for _, f := range families {
		if m.named(func(u config.Uplink) bool { return u.Has(f) }) != "" {
			list = append(list, f)
		}
	}
	return list
}

// counting are the chains that count, but for what most packets meet in the chain restore.
//
// What is sent counts before others' filters have seen it, but for first packets: what was never let out is in
// no counter. An ICMP error is no answer, and has the state related.
func (m *managed) counting(known []string) {
	if !Counts(m.cfg) {
		return
	}
	o, list := m.origins(), m.used()
	sent := []string{m.count(Sending, list...)}
	begun := []string{
		"meta l4proto { icmp, ipv6-icmp } return",
		fmt.Sprintf("tcp flags & (syn | ack) == syn ct mark set ct mark | %#x goto sent", o.attempt),
	}
	var accepted []string
	for _, f := range list {
		sent = append(sent, only(f)+m.count(Opening, f))
		begun = append(begun, only(f)+fmt.Sprintf("ct mark set ct mark | %#x goto sent", o.of[f]))
		accepted = append(accepted, only(f)+"ct state == established "+m.count(Accepting, f)+
			fmt.Sprintf(" ct mark set ct mark & %#x | %#x", ^o.mask, o.of[f]))
	}
	m.chain("sent", "", sent...)
	m.chain("begun", "", begun...)
	m.chain("accepted", "", accepted...)
	m.chain("back", "", append([]string{
		"ct state == established " + m.count(Replying, list...) + " accept",
		fmt.Sprintf("ct mark & %#x == %#x goto accepted", o.mask, o.attempt),
	}, known...)...)
}
