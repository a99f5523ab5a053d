package routing

import (
	"fmt"
	"net/netip"
	"slices"

	"ftr/internal/config"
)

// delegated returns the prefix that the provider routes to a line: the configured one, or that which a
// DHCP client wrote to a file.
func delegated(u config.Uplink, obs *Observation) netip.Prefix {
	if u.Inet6.PrefixFile != "" {
		return obs.Prefixes[u.Inet6.PrefixFile]
	}
	return u.Inet6.Prefix
}

// resolve6 returns the own address and the gateway of a line over IPv6, or why there is none.
func resolve6(u config.Uplink, link Link, prefix netip.Prefix, obs *Observation) (src, gw netip.Addr, why string) {
	if src, why = source6(u, link, prefix, obs); why != "" {
		return src, netip.Addr{}, why
	}
	gw, why = gateway6(u, link, src, obs)
	return src, gw, why
}

// source6 returns the line's own address, or why there is none. Of several, that of the internet goes
// before one of a local network (RFC 4193), and the latest before older ones, as the kernel lists them:
// providers that give another prefix often do not take the old one back (RFC 8978). Temporary addresses,
// which change every day, come last. Where the provider gives the line no address but only a prefix, one
// of the router's addresses from it serves (RFC 7084 §4.2, WAA-7).
func source6(u config.Uplink, link Link, prefix netip.Prefix, obs *Observation) (netip.Addr, string) {
	addrs := candidates(config.IPv6, link)
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return local(a) - local(b) })
	own := u.Inet6.Address
	switch {
	case own.IsValid() && slices.Contains(addrs, own):
		return own, ""
	case unready(link, own):
		return netip.Addr{}, "its address is being checked for a duplicate (DAD), or has one"
	case own.IsValid():
		return netip.Addr{}, fmt.Sprintf("address %s is not on the interface%s", own, elsewhere(own, obs))
	case len(addrs) > 0:
		return addrs[0], ""
	}
	for _, l := range obs.Links {
		for _, a := range candidates(config.IPv6, l) {
			if prefix.IsValid() && prefix.Contains(a) {
				return a, ""
			}
		}
	}
	return netip.Addr{}, "no address"
}

// local is 1 for a unique local address (RFC 4193).
func local(a netip.Addr) int {
	if a.IsPrivate() {
		return 1
	}
	return 0
}

// unready tells whether an address, or any if none is named, is there and cannot be used yet.
func unready(link Link, own netip.Addr) bool {
	return slices.ContainsFunc(link.Addresses, func(a Address) bool {
		addr := a.Prefix.Addr()
		return addr.Is6() && !addr.IsLinkLocalUnicast() && a.Tentative && (addr == own || !own.IsValid() && len(candidates(config.IPv6, link)) == 0)
	})
}

// gateway6 returns the next hop, or why there is none. Routers announce themselves, on dialled lines too.
func gateway6(u config.Uplink, link Link, src netip.Addr, obs *Observation) (netip.Addr, string) {
	gw := u.Inet6.Gateway
	if gw.IsValid() && slices.ContainsFunc(link.Addresses, func(a Address) bool { return a.Prefix.Addr() == gw }) {
		return netip.Addr{}, fmt.Sprintf("gateway %s is the interface's own address", gw)
	}
	if gw.IsValid() {
		return gw, ""
	}
	if known := knownGateways(u, config.IPv6, src, obs); len(known) > 0 {
		return known[0], ""
	}
	if peer := peerOf(link, src); peer.IsValid() || link.PointToPoint {
		return peer, ""
	}
	return netip.Addr{}, "no gateway known: no router has advertised itself"
}

// awaitsRouter tells whether a line without address or gateway would get them with an advertisement of its
// router, and whether the kernel would take it: who has accept_ra 0 leaves that to a network manager.
func awaitsRouter(u config.Uplink, link Link, obs *Observation) bool {
	noGateway := !u.Inet6.Gateway.IsValid() && len(knownGateways(u, config.IPv6, netip.Addr{}, obs)) == 0
	noAddress := !u.Inet6.Address.IsValid() && len(candidates(config.IPv6, link)) == 0 && !unready(link, netip.Addr{})
	return link.Up && link.Carrier && (noGateway || noAddress) && slices.ContainsFunc(obs.Have.Sysctls, func(s Sysctl) bool {
		return s.Key == acceptRA(u.Interface) && s.Value != "0"
	})
}
