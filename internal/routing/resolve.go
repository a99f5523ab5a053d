package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"ftr/internal/config"
)

// Path is one uplink in one address family, as it can be used now.
type Path struct {
	Uplink    int // index in config.Config.Uplinks
	Family    config.Family
	Interface string
	Index     int          // of the interface, which another one of the same name does not have; 0: there is none
	Source    netip.Addr   // own address; invalid: none
	Prefix    netip.Prefix // IPv6: what the provider routes to this line for the networks inside; invalid: none known
	Gateway   netip.Addr   // next hop; invalid: none known, or a point-to-point link that needs none
	OnLink    bool         // the gateway is outside of the interface's prefixes
	// Routable: a route over this path can exist in the kernel.
	Routable bool
	// Problem says why nothing can be sent over this path now; empty: it is usable.
	Problem string
	// AwaitsRouter: over IPv6, address or gateway are missing, and would come with a router advertisement.
	AwaitsRouter bool
}

// pathOf returns the place of the path of an uplink; -1: it has none in this family.
func pathOf(paths []Path, uplink int, f config.Family) int {
	return slices.IndexFunc(paths, func(p Path) bool { return p.Uplink == uplink && p.Family == f })
}

// missing is the problem of a path without an interface.
const missing = "interface does not exist"

// Usable tells whether packets can be sent over the path.
func (p Path) Usable() bool { return p.Problem == "" }

// Resolve turns the configuration and an observation into paths, in the order of the uplinks.
func Resolve(cfg *config.Config, obs *Observation) []Path {
	var paths []Path
	for _, u := range cfg.Uplinks {
		for _, f := range u.Families() {
			paths = append(paths, resolve(u, f, obs))
		}
	}
	return paths
}

func resolve(u config.Uplink, f config.Family, obs *Observation) Path {
	p := Path{Uplink: u.Index, Family: f, Interface: u.Interface}
	if f == config.IPv6 {
		p.Prefix = delegated(u, obs)
	}
	link, ok := obs.Link(u.Interface)
	if !ok {
		p.Problem = missing
		return p
	}
	p.Index = link.Index
	var why string
	if f == config.IPv6 {
		p.Source, p.Gateway, why = resolve6(u, link, p.Prefix, obs)
		p.AwaitsRouter = why != "" && awaitsRouter(u, link, obs)
	} else if p.Source, why = source(u, f, link, obs); why == "" {
		p.Gateway, why = gateway(u, f, link, p.Source, obs)
	}
	p.OnLink = p.Gateway.IsValid() && !covered(link, p.Gateway)
	p.Routable = link.Up && why == ""
	switch {
	case !link.Up:
		p.Problem = "interface is down"
	case !link.Carrier:
		p.Problem = "no carrier"
	default:
		p.Problem = why
	}
	return p
}

// source returns the uplink's own address, or why there is none.
func source(u config.Uplink, f config.Family, link Link, obs *Observation) (netip.Addr, string) {
	addrs := candidates(f, link)
	if u.Address.IsValid() {
		if !slices.Contains(addrs, u.Address) {
			return netip.Addr{}, fmt.Sprintf("address %s is not on the interface%s", u.Address, elsewhere(u.Address, obs))
		}
		return u.Address, ""
	}
	switch {
	case len(addrs) == 0:
		return netip.Addr{}, "no address"
	case len(addrs) > 1 && u.Type == config.Static:
		return netip.Addr{}, "more than one address on the interface: name one as ip"
	}
	return addrs[0], ""
}

// elsewhere names the observed interface that has an address: cables or names may have been mixed up.
func elsewhere(a netip.Addr, obs *Observation) string {
	for _, l := range obs.Links {
		if slices.ContainsFunc(l.Addresses, func(o Address) bool { return o.Prefix.Addr() == a }) {
			return ", but on " + l.Name
		}
	}
	return ""
}

// candidates returns the addresses that can serve as source of connections to the internet, the
// primary ones first. Link-local ones cannot (RFC 3927 §2.7, RFC 4007).
func candidates(f config.Family, link Link) []netip.Addr {
	var primary, secondary []netip.Addr
	for _, a := range link.Addresses {
		addr := a.Prefix.Addr()
		switch {
		case config.FamilyOf(addr) != f, addr.IsLinkLocalUnicast(), addr.IsLoopback(), a.Tentative, a.Deprecated:
		case a.Secondary:
			secondary = append(secondary, addr)
		default:
			primary = append(primary, addr)
		}
	}
	return append(primary, secondary...)
}

// gateway returns the next hop, or why there is none. An invalid address without a reason means that
// the link needs none.
func gateway(u config.Uplink, f config.Family, link Link, src netip.Addr, obs *Observation) (netip.Addr, string) {
	if u.Gateway.IsValid() && u.Gateway == src {
		return netip.Addr{}, fmt.Sprintf("gateway %s is the interface's own address", src)
	}
	if u.Gateway.IsValid() {
		return u.Gateway, ""
	}
	if peer := peerOf(link, src); peer.IsValid() {
		return peer, ""
	}
	if link.PointToPoint {
		return netip.Addr{}, ""
	}
	if u.Type == config.PPP {
		return netip.Addr{}, "no peer address"
	}
	known := knownGateways(u, f, src, obs)
	switch {
	case len(known) == 0:
		return netip.Addr{}, "no gateway known"
	case len(known) > 1 && u.Type == config.Static:
		return netip.Addr{}, fmt.Sprintf("more than one gateway known (%s and %s): name one as gateway", known[0], known[1])
	}
	// A lease file or a route may be left from another network: what fits the address goes first.
	if i := slices.IndexFunc(known, func(g netip.Addr) bool { return covered(link, g) }); i > 0 {
		return known[i], ""
	}
	return known[0], ""
}

// knownGateways returns the routers that others know for the interface, each once: those of default
// routes in main (the lowest metric first), of the DHCP lease, and the one that we used with the same
// address before. The last is what remains when somebody deleted the DHCP client's route.
func knownGateways(u config.Uplink, f config.Family, src netip.Addr, obs *Observation) []netip.Addr {
	var known []netip.Addr
	add := func(g netip.Addr) {
		if g.IsValid() && g != src && config.FamilyOf(g) == f && !slices.Contains(known, g) {
			known = append(known, g)
		}
	}
	defaults := slices.Clone(obs.Defaults)
	slices.SortStableFunc(defaults, func(a, b Route) int { return cmp.Compare(a.Metric, b.Metric) })
	for _, r := range defaults {
		for _, h := range r.NextHops {
			if h.Interface == u.Interface {
				add(h.Gateway)
			}
		}
	}
	add(obs.Leases[u.Interface])
	for _, r := range obs.Have.Routes {
		own := r.Protocol == RouteProtocol && r.Table == u.Table && r.Family == f && r.IsDefault() && r.Source == src
		if own && len(r.NextHops) == 1 && r.NextHops[0].Interface == u.Interface && len(known) == 0 {
			add(r.NextHops[0].Gateway)
		}
	}
	return known
}

func peerOf(link Link, src netip.Addr) netip.Addr {
	for _, a := range link.Addresses {
		if a.Prefix.Addr() == src {
			return a.Peer
		}
	}
	return netip.Addr{}
}

// covered tells whether the kernel finds the gateway on the link by a connected route. Link-local
// routers of IPv6 are on their link by definition (RFC 4291 §2.5.6).
func covered(link Link, gw netip.Addr) bool {
	return gw.Is6() && gw.IsLinkLocalUnicast() || slices.ContainsFunc(link.Addresses, func(a Address) bool {
		return a.Peer == gw || (!a.Peer.IsValid() && a.Prefix.Masked().Contains(gw))
	})
}
