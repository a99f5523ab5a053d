package routing

import (
	"net/netip"
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// OwnMembers are the uplinks that carry what the router itself sends, where nothing else decides.
func (s Selection) OwnMembers(cfg *config.Config) []Member {
	if cfg.Numbers.OwnTable != 0 {
		return s.Own
	}
	return s.Members
}

// Carries tells whether an uplink carries new connections, those that pass through or the router's own.
func (s Selection) Carries(uplink int) bool { return has(s.Members, uplink) || has(s.Own, uplink) }

// own chooses the lines for what the router itself sends, and says which ones are lost to it. Where some
// lines are tunnels, they carry nothing of the router's own: it could be a tunnel's own packets.
func (s *Selection) own(cfg *config.Config, paths []Path, reports []health.Report, previous *Selection) {
	if cfg.Numbers.OwnTable != 0 {
		s.Own = best(cfg, s.Family, paths, reports, previous.Own, func(u config.Uplink) bool { return u.Tunnel != config.TunnelYes })
		if len(s.Own) == 0 {
			s.Own = previous.Own
		}
	}
	members := s.OwnMembers(cfg)
	if len(members) == 0 || !translated(cfg, paths, s.Family, members) {
		return
	}
	for i, p := range paths {
		if p.Family != s.Family || has(members, p.Uplink) {
			continue
		}
		down := !p.Usable() || reports[i].State == health.Down
		if down || reports[i].State == health.Unknown && slices.Contains(previous.Lost, p.Uplink) {
			s.Lost = append(s.Lost, p.Uplink)
		}
	}
}

// translated tells whether what leaves by lines gets their addresses, whatever address it had.
func translated(cfg *config.Config, paths []Path, f config.Family, members []Member) bool {
	keeps := func(p Path) bool {
		return p.Family == f && has(members, p.Uplink) && cfg.Uplinks[p.Uplink].Inet6.NAT == config.KeepAddress && !p.Prefix.IsValid()
	}
	return cfg.Firewall == config.FirewallManaged && (f == config.IPv4 || !slices.ContainsFunc(paths, keeps))
}

// adoptLost reads from the rules of a previous run which lines were lost: an address that datagrams left
// is that of a line, whose other rule for it tells the line.
func adoptLost(cfg *config.Config, f config.Family, have State) []int {
	moved := map[netip.Prefix]bool{} // addresses
	for _, r := range have.Rules {
		if r.Family == f && r.Protocol == RuleProtocol && r.Local && r.Transport == udp && r.SourcePort == 0 {
			moved[r.From] = true
		}
	}
	var lost []int
	for _, u := range cfg.Uplinks {
		own := func(r Rule) bool {
			return r.Family == f && r.Protocol == RuleProtocol && !r.Local && r.Table == u.Table && moved[r.From]
		}
		if slices.ContainsFunc(have.Rules, own) {
			lost = append(lost, u.Index)
		}
	}
	return lost
}

// ownRoutes are the contents of the table for what the router itself sends. It ends there: the default
// route over all lines could lead into a tunnel.
func ownRoutes(cfg *config.Config, obs *Observation, paths []Path, s Selection) []Route {
	table := cfg.Numbers.OwnTable
	if table == 0 {
		return nil
	}
	routes := keptDefaults(obs, s.Family, table)
	if hops := memberHops(paths, Selection{Family: s.Family, Members: s.Own}); len(hops) > 0 {
		routes = spareRoutes(table, s.Family, hops)
	}
	return append(routes, deadEnd(table, s.Family))
}

// ownTable is where what the router itself sends looks for a way when nothing else decides.
func ownTable(n config.Numbers) uint32 {
	if n.OwnTable != 0 {
		return n.OwnTable
	}
	return n.DefaultTable
}

// dhcpClient is the port from which a DHCP client renews its lease (RFC 2131 §4.1).
const dhcpClient = 68

// movedRules lead datagrams that the router itself sends from an address of a line that is down over the
// lines that carry: WireGuard, OpenVPN and IPsec keep the source address that they have used once, and
// would stay on the dead line for ever. They are translated where they leave.
//
// They come behind the rules for marks, by which connections stay where they are, and before those for
// addresses. Of one priority the kernel asks them in the order in which they were added, so none of these may match
// what a mark decides. What belongs to the line is left to it: what is bound to its interface, as probes are
// (IPv6 takes a route over another one), and the lease of its address. What has the mark of wg-quick moves too,
// unless a line has the same one.
func movedRules(cfg *config.Config, p Path, from Rule) []Rule {
	n := cfg.Numbers
	from.Mask = n.Mask | n.SteerMask
	first, last := cfg.Uplinks[0].MarkPriority, cfg.Uplinks[len(cfg.Uplinks)-1].MarkPriority
	var rules []Rule
	stays := from
	stays.Priority = first
	switch {
	case p.Family == config.IPv6:
		stays.Output = p.Interface
		rules = append(rules, stays)
	case cfg.Uplinks[p.Uplink].Type == config.DHCP:
		stays.Local, stays.Transport, stays.SourcePort = true, udp, dhcpClient
		rules = append(rules, stays)
	}
	from.Priority, from.Local, from.Transport, from.Table = last, true, udp, ownTable(n)
	rules = append(rules, from)
	wg := uint32(config.WireGuardMark)
	if !slices.ContainsFunc(cfg.Uplinks, func(u config.Uplink) bool { return u.Mark == wg&n.Mask }) {
		from.Mark = wg & from.Mask // the mark of no line and no policy
		rules = append(rules, from)
	}
	return rules
}
