package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"ftr/internal/config"
)

// rules are the entries of the RPDB, in the order in which the kernel asks them.
func rules(cfg *config.Config, obs *Observation, paths []Path, s Selection) []Rule {
	n, f := cfg.Numbers, s.Family
	var rules []Rule
	add := func(r Rule) {
		r.Family, r.Protocol = f, RuleProtocol
		rules = append(rules, r)
	}
	if n.SuppressPriority != 0 {
		// All packets: what the LAN, VPN and static routes of main know is not for the uplinks; main's
		// own default route, which a DHCP client may have put there, is passed over.
		add(Rule{Priority: n.SuppressPriority, Table: mainTable, SuppressPrefixLength: 0})
	}
	for _, r := range addressRules(cfg, obs, paths, s) {
		add(r)
	}
	for _, u := range cfg.Uplinks {
		if !u.Has(f) {
			continue
		}
		// Packets of connections that belong to a line: established, answered, forced.
		add(Rule{Priority: u.MarkPriority, Mark: u.Mark, Mask: n.Mask, Table: u.Table, SuppressPrefixLength: NoSuppress})
	}
	for _, steer := range cfg.Steers {
		// First packets of new connections whose turn it is, or that a policy leads. All are in one place:
		// a packet has one steering mark. What the router itself sends is asked before the rules for
		// addresses, since it has one already, and with the last of the lines' marks, which it has not.
		r := Rule{Priority: n.SteerPriority, Mark: steer.Mark, Mask: n.SteerMask, Table: steer.Table, SuppressPrefixLength: NoSuppress}
		if cfg.Own(steer) {
			r.Priority, r.Local = cfg.Uplinks[len(cfg.Uplinks)-1].MarkPriority, true
		}
		add(r)
	}
	if n.OwnPriority != 0 {
		// What the router itself sends: never into a tunnel, whose own packets it could be.
		add(Rule{Priority: n.OwnPriority, Local: true, Table: n.OwnTable, SuppressPrefixLength: NoSuppress})
	}
	// All other new connections, to be spread.
	add(Rule{Priority: n.DefaultPriority, Table: n.DefaultTable, SuppressPrefixLength: NoSuppress})
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return rules
}

// addressRules lead what has an address of a line already to that line: the router's own packets from
// bound sockets, probes, replies. An address that several lines have tells of none of them: there only
// what is bound to a line's interface goes to the line, and all else is spread.
func addressRules(cfg *config.Config, obs *Observation, paths []Path, s Selection) []Rule {
	var rules []Rule
	taken := sources(paths)
	for _, p := range paths {
		if p.Family != s.Family {
			continue
		}
		u := cfg.Uplinks[p.Uplink]
		line := Rule{Priority: u.AddressPriority, Table: u.Table, SuppressPrefixLength: NoSuppress}
		if p.keeps(cfg, p.Prefix.Addr()) {
			// Hosts inside with an address of this line: no other line would take them.
			inside := line
			if inside.From = p.Prefix; s.strands(p) {
				inside.Table = config.DeadEndTable
			}
			rules = append(rules, inside)
		}
		if !p.Source.IsValid() {
			continue
		}
		// The line's other addresses too: the kernel may choose one of them, and clients may have asked it.
		for _, a := range append([]netip.Addr{p.Source}, others(obs, p, taken)...) {
			own := line
			if own.From = host(a); taken[a] > 1 {
				own.Output = p.Interface
			} else if slices.Contains(s.Lost, p.Uplink) {
				rules = append(rules, movedRules(cfg, p, own)...)
			}
			rules = append(rules, own)
		}
	}
	return rules
}

// keeps tells whether an address is one of hosts inside that leave over this path with their own address.
func (p Path) keeps(cfg *config.Config, a netip.Addr) bool {
	return p.Prefix.IsValid() && cfg.Uplinks[p.Uplink].Inet6.NAT == config.KeepAddress && p.Prefix.Contains(a)
}

// strands tells whether hosts inside with an address of the path's line are told that it is dead, so that they
// try their address of another line at once. What the line itself is asked by goes on.
func (s Selection) strands(p Path) bool {
	return slices.Contains(s.Lost, p.Uplink) && !p.Prefix.Contains(p.Source)
}

// deadEnds is the table in which nothing leads anywhere, where there are hosts that may have to be told so.
func deadEnds(cfg *config.Config, f config.Family) []Route {
	keeps := func(u config.Uplink) bool { return u.Has(f) && u.Inet6.NAT == config.KeepAddress }
	if f != config.IPv6 || cfg.Firewall != config.FirewallManaged || !slices.ContainsFunc(cfg.Uplinks, keeps) {
		return nil
	}
	return []Route{deadEnd(config.DeadEndTable, f)}
}

// sources returns the own addresses of all paths, and how many have each.
func sources(paths []Path) map[netip.Addr]int {
	taken := make(map[netip.Addr]int, len(paths))
	for _, p := range paths {
		taken[p.Source]++
	}
	return taken
}

// others returns the addresses of the path's interface that no line uses yet, and notes them as taken.
func others(obs *Observation, p Path, taken map[netip.Addr]int) []netip.Addr {
	link, _ := obs.Link(p.Interface)
	free := slices.DeleteFunc(candidates(p.Family, link), func(a netip.Addr) bool { return taken[a] > 0 })
	for _, a := range free {
		taken[a]++
	}
	return free
}
