package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ftr/internal/config"
)

// Priorities of the forwards: destinations are translated when the connection has its line, and before
// those who translate destinations of their own; sources when it is known that it does not leave by a line.
const (
	forwardPriority = -101
	hairpinPriority = leavePriority + 1
)

// forwards lead connections to hosts inside. The answers leave by the line that was asked: the connection
// has its mark already. Whether they may pass is for the administrator's filter to say.
func (m *managed) forwards() {
	if len(m.cfg.Forwards) == 0 {
		return
	}
	var rules []string
	for _, f := range m.cfg.Forwards {
		rules = append(rules, m.forwardIn(f)...)
		if f.Hairpin && len(inside(m.cfg)) > 0 {
			rules = append(rules, m.forwardInside(f)...)
		}
	}
	m.chain("forwards", hook("nat", "prerouting", forwardPriority), rules...)
	m.hairpin()
}

// forwardIn is for what comes in on the lines: to the router's own addresses, and not what passes to a
// public address behind it.
func (m *managed) forwardIn(f config.Forward) []string {
	var lines []string
	for _, i := range f.Uplinks {
		lines = append(lines, fmt.Sprintf("%q", m.cfg.Uplinks[i].Interface))
	}
	return []string{words("iifname", anyOf(lines), "fib daddr type local", forwardTo(f))}
}

// forwardInside is for hosts inside that use the lines' addresses.
func (m *managed) forwardInside(f config.Forward) []string {
	known, unknown := m.cfg.HairpinAddresses(f)
	if unknown {
		return []string{words("iifname", anyOf(m.inside()), "fib daddr type local fib daddr . iif type != local", forwardTo(f))}
	}
	if len(known) == 0 {
		return nil // no line has the family
	}
	var addresses []string
	for _, a := range known {
		addresses = append(addresses, a.String())
	}
	return []string{words("iifname", anyOf(m.inside()), nftHeader(config.FamilyOf(f.To)), "daddr", anyOf(distinct(addresses)), forwardTo(f))}
}

func (m *managed) inside() []string {
	var names []string
	for _, name := range inside(m.cfg) {
		names = append(names, fmt.Sprintf("%q", name))
	}
	return names
}

// forwardTo is what a forward matches, and where it leads.
func forwardTo(f config.Forward) string {
	to := f.To.String()
	if f.ToPort != 0 {
		to = netip.AddrPortFrom(f.To, f.ToPort).String()
	}
	return fmt.Sprintf("meta nfproto %s meta l4proto %s th dport %s dnat %s to %s",
		nftIP(config.FamilyOf(f.To)), anyOf(numbers(f.Protocols)), portSet(f.Ports), nftHeader(config.FamilyOf(f.To)), to)
}

// hairpin has the answers come back through the router where both ends are behind the same interface.
func (m *managed) hairpin() {
	var back, rules []string
	for _, name := range m.inside() {
		back = append(back, name+" . "+name)
	}
	for _, family := range families {
		var hosts []string
		for _, f := range m.cfg.Forwards {
			if f.Hairpin && config.FamilyOf(f.To) == family {
				hosts = append(hosts, f.To.String())
			}
		}
		slices.Sort(hosts)
		if hosts = slices.Compact(hosts); len(hosts) > 0 && len(back) > 0 {
			rules = append(rules, fmt.Sprintf("iifname . oifname { %s } ct status dnat %s daddr %s masquerade",
				strings.Join(back, ", "), nftHeader(family), anyOf(hosts)))
		}
	}
	if len(rules) > 0 {
		m.chain("hairpin", hook("nat", "postrouting", hairpinPriority), rules...)
	}
}
