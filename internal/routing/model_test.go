package routing_test

import (
	"fmt"
	"net/netip"
	"slices"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// host is a model of what the kernel does with steps, and of how it looks up routes to the internet.
type host struct {
	routes  []routing.Route // in the order of a dump; of one metric, the first is used
	rules   []routing.Rule  // in the order in which they are asked
	sysctls map[string]string
}

func newHost(foreign routing.State) *host {
	h := &host{sysctls: map[string]string{}}
	for _, r := range slices.Concat(kernelRules(), foreign.Rules) {
		h.addRule(r)
	}
	h.routes = slices.Clone(foreign.Routes)
	return h
}

func (h *host) clone() *host {
	c := &host{routes: slices.Clone(h.routes), rules: slices.Clone(h.rules), sysctls: map[string]string{}}
	for k, v := range h.sysctls {
		c.sysctls[k] = v
	}
	return c
}

func (h *host) apply(steps ...routing.Step) {
	for _, s := range steps {
		switch {
		case s.Sysctl != nil && s.Op == routing.Set:
			h.sysctls[s.Sysctl.Key] = s.Sysctl.Value
		case s.Rule != nil && s.Op == routing.Add:
			if !slices.Contains(h.rules, *s.Rule) {
				h.addRule(*s.Rule)
			}
		case s.Rule != nil && s.Op == routing.Delete:
			if i := slices.Index(h.rules, *s.Rule); i >= 0 {
				h.rules = slices.Delete(h.rules, i, i+1)
			}
		case s.Route != nil && s.Op == routing.Replace:
			h.replace(*s.Route)
		case s.Route != nil && s.Op == routing.Delete:
			if i := slices.IndexFunc(h.routes, s.Route.Equal); i >= 0 {
				h.routes = slices.Delete(h.routes, i, i+1)
			}
		default:
			panic("the kernel has no such operation: " + s.String())
		}
	}
}

// addRule puts a rule behind those of the same priority (fib_nl_newrule).
func (h *host) addRule(r routing.Rule) {
	i := slices.IndexFunc(h.rules, func(o routing.Rule) bool { return o.Priority > r.Priority })
	if i < 0 {
		i = len(h.rules)
	}
	h.rules = slices.Insert(h.rules, i, r)
}

// replace changes the first of several routes at a place, whoever made it (fib_table_insert).
func (h *host) replace(r routing.Route) {
	if slices.ContainsFunc(h.routes, r.Equal) {
		return // EEXIST
	}
	i := slices.IndexFunc(h.routes, func(o routing.Route) bool {
		return o.Family == r.Family && o.Table == r.Table && o.Destination == r.Destination && o.Metric == r.Metric
	})
	if i < 0 {
		h.routes = append(h.routes, r)
		return
	}
	h.routes[i] = r
}

// fail takes away what the kernel takes away when an interface goes down or loses its address.
func (h *host) fail(device string) {
	h.routes = slices.DeleteFunc(h.routes, func(r routing.Route) bool {
		return r.Type == routing.Unicast && !slices.ContainsFunc(r.NextHops, func(n routing.NextHop) bool { return n.Interface != device })
	})
}

// observe is what the kernel package shows of the host.
func (h *host) observe(cfg *config.Config, links []routing.Link) *routing.Observation {
	scope := routing.ScopeOf(cfg)
	obs := &routing.Observation{Links: links, Have: routing.State{Rules: slices.Clone(h.rules)}}
	for _, t := range scope.TablesToRead(h.rules) {
		for _, r := range h.routes {
			if r.Table == t {
				obs.Have.Routes = append(obs.Have.Routes, r)
			}
		}
	}
	for _, r := range h.routes {
		if r.Table == 254 && r.IsDefault() {
			obs.Defaults = append(obs.Defaults, r)
		}
	}
	for _, key := range scope.Sysctls {
		obs.Have.Sysctls = append(obs.Have.Sysctls, routing.Sysctl{Key: key, Value: h.sysctls[key]})
	}
	return obs
}

// packet is one on its way to the internet: new, from a socket that is bound to an address, or of a marked
// connection; no datagram.
type packet struct {
	source netip.Addr // invalid: not chosen yet, or a host of the LAN
	mark   uint32
}

// reaches tells whether a packet finds a way out.
func (h *host) reaches(p packet) bool {
	for _, rule := range h.rules {
		if rule.Other || rule.Transport != 0 || rule.Output != "" || rule.From.IsValid() && !rule.From.Contains(p.source) || p.mark&rule.Mask != rule.Mark {
			continue
		}
		route, found := h.lookup(rule.Table)
		if !found || rule.SuppressPrefixLength >= 0 {
			continue
		}
		return route.Type == routing.Unicast
	}
	return false
}

func (h *host) lookup(table uint32) (best routing.Route, found bool) {
	for _, r := range h.routes {
		if r.Table == table && r.IsDefault() && (!found || r.Metric < best.Metric) {
			best, found = r, true
		}
	}
	return best, found
}

// String shows the host in a failed property.
func (h *host) String() string {
	return fmt.Sprint("\n", text(routing.State{Routes: h.routes, Rules: h.rules}))
}
