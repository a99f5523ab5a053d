package routing

import (
	"net/netip"
	"slices"
	"strings"

	"ftr/internal/config"
)

// Protocols of routes that a DHCP client leaves: its own, and boot for those that call ip(8).
const protocolDHCP = 16

// Detect guesses which interfaces of a machine are uplinks and which are inside: for a first
// configuration that people then correct. obs must hold all interfaces.
func Detect(obs *Observation) (uplinks []config.Found, lan []string) {
	for _, link := range obs.Links {
		found, ok := uplinkOn(obs, link)
		switch {
		case ok:
			uplinks = append(uplinks, found)
		case inside(link):
			lan = append(lan, link.Name)
		}
	}
	return uplinks, lan
}

func uplinkOn(obs *Observation, link Link) (config.Found, bool) {
	addrs := candidates(config.IPv4, link)
	if len(addrs) == 0 {
		return config.Found{}, false
	}
	found := config.Found{Interface: link.Name, Address: addrs[0], Gateway: obs.Leases[link.Name]}
	found.Address6, found.Gateway6 = inet6Of(obs, link)
	route, routed := defaultOver(obs, config.IPv4, link.Name)
	if routed && route.NextHops[0].Gateway.IsValid() {
		found.Gateway = route.NextHops[0].Gateway
	}
	peer := peerOf(link, addrs[0])
	_, leased := obs.Leases[link.Name]
	switch {
	case leased:
		found.Type, found.Guess = config.DHCP, "a DHCP client holds a lease for it"
	case routed && route.Protocol == protocolDHCP:
		found.Type, found.Guess = config.DHCP, "its default route was made by a DHCP client"
	case peer.IsValid() && link.PointToPoint && (routed || strings.HasPrefix(link.Name, "ppp")):
		found.Type, found.Gateway, found.Guess = config.PPP, peer, "it is a point-to-point link with the peer "+peer.String()
	case routed && dynamic(link, addrs[0].String()):
		found.Type, found.Guess = config.DHCP, "it has a default route, and its address has a lifetime as DHCP gives it"
	case routed:
		found.Type, found.Guess = config.Static, "it has a default route, and nothing tells of DHCP"
	default:
		return config.Found{}, false
	}
	return found, true
}

// inet6Of returns the address by which a link reaches the internet over IPv6, if it has one, and its router, if
// one is known.
func inet6Of(obs *Observation, link Link) (address, gateway netip.Addr) {
	for _, a := range candidates(config.IPv6, link) {
		if !a.IsPrivate() {
			route, routed := defaultOver(obs, config.IPv6, link.Name)
			if routed {
				gateway = route.NextHops[0].Gateway
			}
			return a, gateway
		}
	}
	return netip.Addr{}, netip.Addr{}
}

// defaultOver returns the best default route of main over a device.
func defaultOver(obs *Observation, f config.Family, device string) (Route, bool) {
	var best Route
	found := false
	for _, r := range obs.Defaults {
		i := slices.IndexFunc(r.NextHops, func(h NextHop) bool { return h.Interface == device })
		if i >= 0 && r.Family == f && (!found || r.Metric < best.Metric) {
			r.NextHops = r.NextHops[i : i+1]
			best, found = r, true
		}
	}
	return best, found
}

func dynamic(link Link, address string) bool {
	return slices.ContainsFunc(link.Addresses, func(a Address) bool {
		return a.Dynamic && a.Prefix.Addr().String() == address
	})
}

// virtual are the beginnings of the names that container and machine managers give their interfaces.
var virtual = []string{"docker", "br-", "veth", "virbr", "vnet", "lxc", "lxdbr", "cni", "flannel", "podman"}

// inside tells whether an interface looks like one to the LAN: a private address (RFC 1918), no peer,
// and not made for containers or virtual machines.
func inside(link Link) bool {
	made := slices.ContainsFunc(virtual, func(p string) bool { return strings.HasPrefix(link.Name, p) })
	return !made && !link.PointToPoint && slices.ContainsFunc(link.Addresses, func(a Address) bool {
		return a.Prefix.Addr().Is4() && a.Prefix.Addr().IsPrivate()
	})
}
