package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// broadcastRoute is the type (rtnetlink(7), rtm_type) of a network's broadcast address in the kernel's table local.
const broadcastRoute routing.RouteType = 3

// atRouter tells what the destination is, in a word of ip-route(8), if it is one of the router's own addresses;
// "" if not. Who sends it does not matter: the kernel asks table local first.
func (e *explainer) atRouter(ctx context.Context) string {
	route, err := e.kernel.Lookup(ctx, config.Packet{Destination: e.packet.Destination, Own: true}, 0)
	switch {
	case err != nil || route.Table != localTable:
		return ""
	case route.Type == broadcastRoute:
		return "broadcast"
	}
	return "local"
}

// arrive explains what is for an address of the router: it goes to the router itself, or where a forward leads it.
func (e *explainer) arrive(ctx context.Context) {
	e.mainHops = []string{loopback}
	for i := range e.cfg.Forwards {
		f := &e.cfg.Forwards[i]
		switch {
		case !e.reaches(f):
		case e.packet.DestinationPort == 0:
			e.notes = append(e.notes, fmt.Sprintf("no port is given: forward %s would lead %s to %s", f.Name, f, f.To))
		case slices.Contains(f.Protocols, e.packet.Protocol) && slices.ContainsFunc(f.Ports, e.isPort):
			e.follow(ctx, f)
			return
		}
	}
	e.answers = append(e.answers, fmt.Sprintf("%s %s dev %s table local: policies and lines are not asked", e.local, e.packet.Destination, loopback))
}

func (e *explainer) isPort(r config.Ports) bool {
	return r.First <= e.packet.DestinationPort && e.packet.DestinationPort <= r.Last
}

// follow asks the kernel for the way to the host that a forward leads to.
func (e *explainer) follow(ctx context.Context, f *config.Forward) {
	e.forward, e.forwardTo = f.Name, netip.AddrPortFrom(f.To, f.ToPort)
	if f.ToPort == 0 {
		e.forwardTo = netip.AddrPortFrom(f.To, e.packet.DestinationPort)
	}
	e.mainHops = nil
	if way, err := e.kernel.Lookup(ctx, config.Packet{Destination: f.To, Own: true}, 0); err == nil {
		e.mainHops = interfacesOf(way)
		e.answers = append(e.answers, routeWords(way))
	}
}

// reaches tells whether a forward is for what comes to the destination, an address of the router, from where it
// comes in: by the line that has the address, or from inside where the forward holds there too. Its chain sees
// nothing of what the router itself sends.
func (e *explainer) reaches(f *config.Forward) bool {
	to := e.packet.Destination
	switch {
	case e.packet.Own || config.FamilyOf(f.To) != config.FamilyOf(to):
		return false
	case e.packet.Inside == "":
		return slices.ContainsFunc(f.Uplinks, func(i int) bool { return e.has(e.cfg.Uplinks[i].Interface, to) })
	case !f.Hairpin || !slices.Contains(slices.Concat(e.cfg.LAN, e.cfg.DMZ), e.packet.Inside):
		return false
	}
	known, unknown := e.cfg.HairpinAddresses(*f)
	if unknown {
		return !e.has(e.packet.Inside, to)
	}
	return slices.Contains(known, to)
}

// has tells whether an interface has an address.
func (e *explainer) has(name string, a netip.Addr) bool {
	link, _ := e.obs.Link(name)
	return slices.ContainsFunc(link.Addresses, func(o routing.Address) bool { return o.Prefix.Addr() == a })
}

// routeWords is a route of table main in the words of ip-route(8) that say something to people.
func routeWords(r routing.Route) string {
	words := []string{r.Destination.String()}
	switch {
	case r.IsDefault():
		words[0] = "default"
	case r.Destination.IsSingleIP():
		words[0] = r.Destination.Addr().String()
	}
	for _, h := range r.NextHops {
		if h.Gateway.IsValid() {
			words = append(words, "via", h.Gateway.String())
		}
		words = append(words, "dev", h.Interface)
	}
	table := strconv.FormatUint(uint64(r.Table), 10)
	if r.Table == mainTable {
		table = "main"
	}
	return strings.Join(append(words, "table", table), " ")
}
