package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// protocolRA is RTPROT_RA: of routes made from router advertisements (rtnetlink(7)).
const protocolRA = 9

const forwarding6 = "net/ipv6/conf/all/forwarding"

// addSysctls6 are the parameters of a device over IPv6.
func (k *Kernel) addSysctls6(device string) {
	k.sysctls["net/ipv6/conf/"+device+"/accept_ra"] = "1"
	k.sysctls["net/ipv6/conf/"+device+"/ignore_routes_with_linkdown"] = "0"
}

// forward does what the kernel does when IPv6 forwarding is switched on: the default routes of router
// advertisements go, except those of interfaces that accept them nevertheless (rt6_purge_dflt_routers in
// net/ipv6/route.c).
func (k *Kernel) forward() {
	k.flush(func(r *route) bool {
		return r.Family == config.IPv6 && r.Table == mainTable && r.Protocol == protocolRA && len(r.NextHops) == 1 &&
			k.sysctls["net/ipv6/conf/"+r.NextHops[0].Interface+"/accept_ra"] != "2"
	})
}

// SetPrefix makes a file name a delegated prefix; an invalid one removes the file. No watcher is told: the
// kernel does not watch files.
func (k *Kernel) SetPrefix(file string, p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.IsValid() {
		k.prefixes[file] = p
	} else {
		delete(k.prefixes, file)
	}
}

func (k *Kernel) readPrefixes(files []string) map[string]netip.Prefix {
	var found map[string]netip.Prefix
	for _, name := range files {
		if p, ok := k.prefixes[name]; ok {
			if found == nil {
				found = map[string]netip.Prefix{}
			}
			found[name] = p
		}
	}
	return found
}

// SetFamily gives a line a condition in one address family.
func (n *Network) SetFamily(device string, f config.Family, c Condition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines[lane{device, f}] = c
}

// lane is a line in one address family.
type lane struct {
	device string
	family config.Family
}

// router6 is the router that advertises itself on every line of Demo with IPv6.
var router6 = netip.MustParseAddr("fe80::1")

// plug6 gives a line its IPv6: a link-local address, one of the internet, and a router that advertises
// itself unless the configuration names one.
func plug6(k *Kernel, u config.Uplink) error {
	if !u.Inet6.On {
		return nil
	}
	network := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(u.Index >> 8), byte(u.Index), 15: 2}
	own := netip.AddrFrom16(network)
	if u.Inet6.Address.IsValid() {
		own = u.Inet6.Address
	}
	linkLocal := netip.AddrFrom16([16]byte{0xfe, 0x80, 15: 2})
	err := errors.Join(
		k.AddAddress(u.Interface, routing.Address{Prefix: netip.PrefixFrom(linkLocal, 64)}),
		k.AddAddress(u.Interface, routing.Address{Prefix: netip.PrefixFrom(own, 64)}),
	)
	if err != nil || u.Inet6.Gateway.IsValid() {
		return err
	}
	return k.Advertise(u.Interface, router6)
}

// Advertise has a router advertise itself on a link, as the default router: where the host listens, the
// kernel has a route.
func (k *Kernel) Advertise(device string, router netip.Addr) error {
	k.mu.Lock()
	listens := k.sysctls["net/ipv6/conf/"+device+"/accept_ra"]
	deaf := listens == "0" || listens == "1" && k.sysctls[forwarding6] == "1"
	k.mu.Unlock()
	if deaf {
		return nil
	}
	return k.Play(routing.Step{Op: routing.Replace, Route: &routing.Route{
		Family: config.IPv6, Table: mainTable, Type: routing.Unicast, Destination: netip.PrefixFrom(netip.IPv6Unspecified(), 0),
		Metric: 1024 + k.place(device), Protocol: protocolRA, NextHops: []routing.NextHop{{Interface: device, Gateway: router, Weight: 1}},
	}})
}

// SetRouter puts a router on a link that advertises itself only when it is asked to.
func (k *Kernel) SetRouter(device string, router netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.routers[device] = router
}

// Solicit asks the routers on a link to advertise themselves, as kernel.Kernel does.
func (k *Kernel) Solicit(ctx context.Context, device string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ask for routers on %s: %w", device, err)
	}
	k.mu.Lock()
	_, err := k.find(device)
	router := k.routers[device]
	k.solicitations[device]++
	k.mu.Unlock()
	if err != nil || !router.IsValid() {
		return err
	}
	return k.Advertise(device, router)
}

// Solicitations is how often routers were asked on a link.
func (k *Kernel) Solicitations(device string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.solicitations[device]
}

// place keeps the routes of several routers apart, which the real kernel does by their next hops.
func (k *Kernel) place(device string) uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.find(device)
	if err != nil {
		return 0
	}
	return uint32(l.index)
}

// aboutDevice tells whether a sysctl is one of a device.
func aboutDevice(key, device string) bool {
	return strings.HasPrefix(key, "net/ipv4/conf/"+device+"/") || strings.HasPrefix(key, "net/ipv6/conf/"+device+"/")
}
