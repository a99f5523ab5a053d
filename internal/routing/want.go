package routing

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"ftr/internal/config"
)

// mainTable is RT_TABLE_MAIN, and mainPriority the place of the kernel's own rule that asks it.
const (
	mainTable    = 254
	mainPriority = 32766
)

// lastMetric is the metric of the unreachable route that ends a line's table.
const lastMetric = math.MaxUint32

// firstMetric is the metric of our default routes. The kernel makes 1024 of 0 in IPv6 (IP6_RT_PRIO_USER).
func firstMetric(f config.Family) uint32 {
	if f == config.IPv6 {
		return 1024
	}
	return 0
}

// spareMetric is that of the same default again. While the kernel replaces the first one, a lookup in that
// instant finds this one instead of nothing.
func spareMetric(f config.Family) uint32 { return firstMetric(f) + 1 }

// ScopeOf says what must be observed for a configuration.
func ScopeOf(cfg *config.Config) Scope {
	n := cfg.Numbers
	scope := Scope{
		Families:      cfg.Families(),
		FirstPriority: n.BasePriority,
		LastPriority:  lastPlace(n),
		Sysctls:       []string{sysctlForward, sysctlHashPolicy, sysctlErrors, rpFilter("all")},
	}
	for _, u := range cfg.Uplinks {
		scope.Interfaces = append(scope.Interfaces, u.Interface)
		scope.Tables = append(scope.Tables, u.Table)
		scope.Sysctls = append(scope.Sysctls, rpFilter(u.Interface), ignoreLinkDown(u.Interface))
		if u.Inet6.PrefixFile != "" {
			scope.PrefixFiles = append(scope.PrefixFiles, u.Inet6.PrefixFile)
		}
	}
	scope.Sysctls = append(scope.Sysctls, sysctls6(cfg)...)
	scope.Cgroups = cfg.Cgroups()
	scope.Interfaces = append(append(scope.Interfaces, cfg.LAN...), cfg.DMZ...)
	scope.Tables = append(scope.Tables, n.DefaultTable)
	if n.OwnTable != 0 {
		scope.Tables = append(scope.Tables, n.OwnTable)
	}
	for _, r := range deadEnds(cfg, config.IPv6) {
		scope.Tables = append(scope.Tables, r.Table)
	}
	for _, steer := range cfg.Steers {
		scope.Tables = append(scope.Tables, steer.Table)
	}
	return scope
}

// lastPlace is the last priority that the longest possible list of uplinks would use, with a managed
// firewall and tunnels; main's own rule is never passed.
func lastPlace(n config.Numbers) uint32 {
	last := uint64(n.BasePriority) + 2*config.MaxUplinks + 2
	if n.BasePriority < mainPriority {
		return uint32(min(last, mainPriority-1))
	}
	return uint32(min(last, math.MaxUint32))
}

// Want returns the kernel state that should exist. Where a selection has no next hop that can be
// routed, the default routes stay as they are.
func Want(cfg *config.Config, obs *Observation, paths []Path, selections []Selection) State {
	var want State
	for _, p := range paths {
		want.Routes = append(want.Routes, lineRoutes(cfg.Uplinks[p.Uplink], p)...)
	}
	for _, s := range selections {
		want.Routes = append(want.Routes, defaultRoutes(cfg, obs, paths, s)...)
		want.Routes = append(want.Routes, ownRoutes(cfg, obs, paths, s)...)
		want.Routes = append(want.Routes, deadEnds(cfg, s.Family)...)
		want.Routes = append(want.Routes, prefixRoutes(cfg, paths, s.Family)...)
		want.Routes = append(want.Routes, steerRoutes(cfg, paths, s)...)
		want.Routes = append(want.Routes, policyRoutes(cfg, obs, paths, s)...)
		want.Rules = append(want.Rules, rules(cfg, obs, paths, s)...)
	}
	want.Sysctls = sysctls(cfg, obs)
	return want
}

// lineRoutes are the contents of a line's own table: the line, and nowhere else.
func lineRoutes(u config.Uplink, p Path) []Route {
	var routes []Route
	if p.Routable {
		routes = append(routes, Route{
			Family: p.Family, Table: u.Table, Type: Unicast, Destination: everywhere(p.Family), Metric: firstMetric(p.Family),
			Protocol: RouteProtocol, Source: p.Source, NextHops: []NextHop{nextHop(p, 1)},
		})
	}
	return append(routes, deadEnd(u.Table, p.Family))
}

// deadEnd is where lookups end that found nothing better in a table.
func deadEnd(table uint32, f config.Family) Route {
	return Route{Family: f, Table: table, Type: Unreachable, Destination: everywhere(f), Metric: lastMetric, Protocol: RouteProtocol}
}

// prefixRoutes end what comes in for parts of delegated prefixes that no network inside has: it would leave
// again, and the provider would send it back (RFC 7084 §4.3, WPD-5).
func prefixRoutes(cfg *config.Config, paths []Path, f config.Family) []Route {
	var routes []Route
	for _, p := range paths {
		r := Route{
			Family: f, Table: cfg.Numbers.DefaultTable, Type: Unreachable, Destination: p.Prefix,
			Metric: firstMetric(f), Protocol: RouteProtocol,
		}
		same := func(o Route) bool { return o.Destination == r.Destination }
		if p.Family == f && p.Prefix.IsValid() && !slices.ContainsFunc(routes, same) {
			routes = append(routes, r)
		}
	}
	return routes
}

// defaultRoutes are the default over the selected lines, and its spare.
func defaultRoutes(cfg *config.Config, obs *Observation, paths []Path, s Selection) []Route {
	hops := memberHops(paths, s)
	if len(hops) == 0 {
		return keptDefaults(obs, s.Family, cfg.Numbers.DefaultTable)
	}
	return spareRoutes(cfg.Numbers.DefaultTable, s.Family, hops)
}

// memberHops are the ways over those of the selected lines that can be routed.
func memberHops(paths []Path, s Selection) []NextHop {
	var hops []NextHop
	for _, m := range s.Members {
		for _, p := range paths {
			if p.Uplink == m.Uplink && p.Family == s.Family && p.Routable {
				hops = append(hops, nextHop(p, m.Weight))
			}
		}
	}
	return hops
}

// spareRoutes are a default route over next hops, and its spare.
func spareRoutes(table uint32, f config.Family, hops []NextHop) []Route {
	if len(hops) == 1 && hops[0].Weight != 1 {
		hops = slices.Clone(hops)
		hops[0].Weight = 1
	}
	first := Route{
		Family: f, Table: table, Type: Unicast, Destination: everywhere(f),
		Metric: firstMetric(f), Protocol: RouteProtocol, NextHops: hops,
	}
	spare := first
	spare.Metric = spareMetric(f)
	return []Route{first, spare}
}

// keptDefaults are those of the default routes that are there which we could have made, one a place.
func keptDefaults(obs *Observation, f config.Family, table uint32) []Route {
	var kept []Route
	for _, r := range obs.Have.Routes {
		if r.Family == f && r.Table == table && r.IsDefault() && r.Type == Unicast && !r.Other &&
			r.Metric <= spareMetric(f) && (r.Protocol == RouteProtocol || adoptableRoute(r)) &&
			!slices.ContainsFunc(kept, func(k Route) bool { return k.Metric == r.Metric }) {
			kept = append(kept, r)
		}
	}
	return kept
}

func nextHop(p Path, weight int) NextHop {
	return NextHop{Interface: p.Interface, Gateway: p.Gateway, OnLink: p.OnLink, Weight: weight}
}

func everywhere(f config.Family) netip.Prefix {
	if f == config.IPv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

const (
	sysctlForward = "net/ipv4/ip_forward"
	// sysctlHashPolicy 1: connections are spread by addresses and ports; the kernel's default 0 gives
	// all connections between two hosts to one line (Documentation/networking/ip-sysctl.rst).
	sysctlHashPolicy = "net/ipv4/fib_multipath_hash_policy"
	// sysctlErrors 1: the router's own ICMP errors have an address of the interface that the packet came in
	// on, and so leave by its line; with 0 it is that of whatever line new connections use. Over IPv6 the
	// kernel does so by itself (since 5.11).
	sysctlErrors = "net/ipv4/icmp_errors_use_inbound_ifaddr"
)

// rpFilter 2 is loose reverse path filtering (RFC 3704 §2.4): a reply is welcome on each line.
func rpFilter(device string) string { return "net/ipv4/conf/" + device + "/rp_filter" }

// ignoreLinkDown 1 makes the kernel itself pass over next hops without carrier.
func ignoreLinkDown(device string) string {
	return "net/ipv4/conf/" + device + "/ignore_routes_with_linkdown"
}

// Unannounced returns those of the sysctls of whose changes the kernel sends no notification. It does of
// those in net/ipv4/conf and net/ipv6/conf but accept_ra, and of ip_forward (RTM_NEWNETCONF, rtnetlink(7)).
func Unannounced(keys []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		return key == sysctlForward || strings.Contains(key, "/conf/") && !strings.HasSuffix(key, "/accept_ra")
	})
}

// ourValue is the value that we give to a sysctl.
func ourValue(key string) string {
	if strings.HasSuffix(key, "/rp_filter") || strings.HasSuffix(key, "/accept_ra") {
		return "2"
	}
	return "1"
}

// sysctls are the wanted values of those that exist.
func sysctls(cfg *config.Config, obs *Observation) []Sysctl {
	keys := []string{sysctlForward, sysctlHashPolicy, sysctlErrors}
	for _, u := range cfg.Uplinks {
		keys = append(keys, rpFilter(u.Interface), ignoreLinkDown(u.Interface))
	}
	have := obs.Have.sysctls()
	var all []Sysctl
	for _, key := range keys {
		if _, exists := have[key]; exists {
			all = append(all, Sysctl{key, ourValue(key)})
		}
	}
	return append(all, wantedSysctls6(cfg, have)...)
}

// sysctls returns the values by key.
func (s State) sysctls() map[string]string {
	values := make(map[string]string, len(s.Sysctls))
	for _, c := range s.Sysctls {
		values[c.Key] = c.Value
	}
	return values
}
