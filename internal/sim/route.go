package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// route is a route of which some next hops may be dead: kept, but not used, while others are alive.
type route struct {
	routing.Route
	dead []bool // as NextHops
}

// value returns the route as it is shown.
func (r *route) value() routing.Route {
	v := r.Route
	v.NextHops = slices.Clone(r.NextHops)
	return v
}

// defaultMetric6 is what the kernel makes of metric 0 in IPv6 (IP6_RT_PRIO_USER).
const defaultMetric6 = 1024

// table returns the routes of a table by destination and metric.
func (k *Kernel) table(f config.Family, table uint32) []routing.Route {
	var routes []routing.Route
	for _, r := range k.routes {
		if r.Family == f && r.Table == table {
			routes = append(routes, r.value())
		}
	}
	slices.SortStableFunc(routes, func(a, b routing.Route) int {
		return cmp.Or(a.Destination.Addr().Compare(b.Destination.Addr()),
			cmp.Compare(b.Destination.Bits(), a.Destination.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	return routes
}

var errOther = errors.New("it has properties that this program never writes")

// putRoute creates a route or replaces the one in its place.
func (k *Kernel) putRoute(r routing.Route, op routing.Op) error {
	if r.Other {
		return errOther
	}
	if r.Family == config.IPv6 && r.Metric == 0 {
		r.Metric = defaultMetric6
	}
	if err := k.check(r); err != nil {
		return err
	}
	r.NextHops = slices.Clone(r.NextHops)
	made := &route{Route: r, dead: make([]bool, len(r.NextHops))}
	i := slices.IndexFunc(k.routes, func(o *route) bool { return samePlace(o.Route, r) })
	switch {
	case i < 0:
		k.routes = append(k.routes, made)
	case op == routing.Replace:
		k.routes[i] = made
	case !k.routes[i].Equal(r):
		return fmt.Errorf("another route has its place: %w", syscall.EEXIST)
	}
	return nil
}

func samePlace(a, b routing.Route) bool {
	return a.Family == b.Family && a.Table == b.Table && a.Destination == b.Destination && a.Metric == b.Metric
}

// check refuses what the kernel refuses, in its words.
func (k *Kernel) check(r routing.Route) error {
	switch {
	case r.Type != routing.Unicast && r.Type != routing.Unreachable:
		return fmt.Errorf("route type %d: %w", r.Type, syscall.EINVAL)
	case r.Type == routing.Unreachable && len(r.NextHops) > 0:
		return fmt.Errorf("an unreachable route has no next hop: %w", syscall.EINVAL)
	case r.Type == routing.Unicast && len(r.NextHops) == 0:
		return fmt.Errorf("a route needs a next hop: %w", syscall.ENODEV)
	case !r.Destination.IsValid() || config.FamilyOf(r.Destination.Addr()) != r.Family:
		return fmt.Errorf("destination %s: %w", r.Destination, syscall.EINVAL)
	}
	// Names are resolved before the kernel sees the route.
	for _, h := range r.NextHops {
		if len(r.NextHops) > 1 && (h.Weight < 1 || h.Weight > 256) {
			return fmt.Errorf("weight %d of the next hop on %s: must be 1 to 256", h.Weight, h.Interface)
		}
		if _, err := k.find(h.Interface); err != nil {
			return err
		}
	}
	for _, h := range r.NextHops {
		if err := k.checkHop(h); err != nil {
			return err
		}
	}
	if r.Source.IsValid() && !k.local(r.Source) {
		return said("Invalid prefsrc address", syscall.EINVAL)
	}
	return nil
}

// said is an error with the words that the kernel adds to it.
func said(words string, errno syscall.Errno) error { return fmt.Errorf("%s: %w", words, errno) }

func (k *Kernel) checkHop(h routing.NextHop) error {
	l, err := k.find(h.Interface)
	if err != nil {
		return err
	}
	reached := h.OnLink || l.up && l.reaches(h.Gateway)
	switch {
	case !h.Gateway.IsValid() && !l.up:
		return said("Device for nexthop is not up", syscall.ENETDOWN)
	case !h.Gateway.IsValid():
		return nil
	case h.Gateway.Is4() && !reached:
		// The connected route went with the link, so this comes first.
		return said("Nexthop has invalid gateway", syscall.ENETUNREACH)
	case !reached && !h.Gateway.IsLinkLocalUnicast():
		return syscall.EHOSTUNREACH
	case !l.up:
		return said("Nexthop device is not up", syscall.ENETDOWN)
	default:
		return nil
	}
}

// deleteRoute deletes exactly this route.
func (k *Kernel) deleteRoute(r routing.Route) error {
	k.flush(func(o *route) bool { return o.Equal(r) })
	return nil
}

// flush deletes the routes that f chooses.
func (k *Kernel) flush(f func(*route) bool) { k.routes = slices.DeleteFunc(k.routes, f) }

// kill makes a link's next hops dead, and deletes the routes without any that is alive.
func (k *Kernel) kill(l *link, f config.Family) {
	k.flush(func(r *route) bool {
		met := false
		for i, h := range r.NextHops {
			if r.Family == f && h.Interface == l.name {
				r.dead[i], met = true, true
			}
		}
		return met && !slices.Contains(r.dead, false)
	})
}

// revive makes them alive again.
func (k *Kernel) revive(l *link, f config.Family) {
	for _, r := range k.routes {
		for i, h := range r.NextHops {
			if l.up && r.Family == f && h.Interface == l.name {
				r.dead[i] = false
			}
		}
	}
}

// leave takes a link that is being removed out of the route; false: nothing is left of it.
func (r *route) leave(l *link) bool {
	on := func(h routing.NextHop) bool { return h.Interface == l.name }
	if !slices.ContainsFunc(r.NextHops, on) {
		return true
	}
	if r.Family == config.IPv4 {
		return false
	}
	var dead []bool
	for i, h := range r.NextHops {
		if !on(h) {
			dead = append(dead, r.dead[i])
		}
	}
	r.NextHops, r.dead = slices.DeleteFunc(slices.Clone(r.NextHops), on), dead
	if len(r.NextHops) == 1 {
		r.NextHops[0].Weight = 1
	}
	return len(r.NextHops) > 0
}

// dropSource takes an address out of routes as their source.
func (k *Kernel) dropSource(addr netip.Addr) {
	for _, r := range k.routes {
		if r.Source == addr && !k.local(addr) {
			r.Source = netip.Addr{}
		}
	}
}
