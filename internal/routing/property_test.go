package routing_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// devices are the interfaces of the model. Each has two addresses that it may have, and a gateway.
const devices = 5

func device(i int) string { return fmt.Sprintf("eth%d", i) }

func ownAddress(i, variant int) string { return fmt.Sprintf("10.%d.0.%d", i, 2+variant) }

func router(i int) string { return fmt.Sprintf("10.%d.0.1", i) }

// anyConfig draws a list of uplinks with any bases.
func anyConfig(t *rapid.T) *config.Config {
	base := numbers{
		rapid.SampledFrom([]uint32{1, 2, 3, 20}).Draw(t, "base_table"),
		rapid.SampledFrom([]uint32{20000, 20002, 40000, 40003}).Draw(t, "base_priority"),
		rapid.SampledFrom([]uint32{1, 3}).Draw(t, "base_fwmark"),
	}
	return anyList(t, base)
}

func anyList(t *rapid.T, base numbers) *config.Config {
	order := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "order")
	var uplinks []config.Uplink
	for _, i := range order[:rapid.IntRange(1, devices).Draw(t, "uplinks")] {
		u := static(device(i), "", router(i))
		u.Grouped = rapid.IntRange(0, 4).Draw(t, "grouped") > 0
		u.Group = rapid.IntRange(1, 2).Draw(t, "group")
		u.Weight = rapid.IntRange(1, 3).Draw(t, "weight")
		uplinks = append(uplinks, u)
	}
	cfg := configure(base, uplinks...)
	if rapid.Bool().Draw(t, "managed") {
		return managed(cfg)
	}
	return cfg
}

// anyLinks draws the state of the interfaces; what is down has no routes left in the host.
func anyLinks(t *rapid.T, h *host) []routing.Link {
	var links []routing.Link
	for i := range devices {
		l := link(device(i))
		switch rapid.IntRange(0, 9).Draw(t, "link") {
		case 0:
			h.fail(l.Name)
			continue // it is not there
		case 1:
			h.fail(l.Name)
			l.Up, l.Carrier = false, false
		case 2:
			h.fail(l.Name) // no address
			links = append(links, l)
			continue
		case 3:
			l.Carrier = false
		}
		own := ownAddress(i, rapid.IntRange(0, 1).Draw(t, "address"))
		l.Addresses = []routing.Address{address(own + "/24")}
		links = append(links, l)
	}
	return links
}

// anyForeign draws what others have, at our places too: never with our tag, never of the original's shape.
func anyForeign(t *rapid.T) routing.State {
	selective := lookup(20001, 2, 0)
	selective.Other = true
	subnet := lookup(20002, 3, 0)
	subnet.From = netip.MustParsePrefix("172.16.0.0/16")
	inside := via(2, 3, 0, hop("eth9", "172.16.0.1"))
	inside.Destination = fromRule(0, 0, 0, "172.16.1.1").From
	main := via(254, 16, 100, hop("eth0", router(0)))
	rules := []routing.Rule{selective, fromRule(20000, 1, 4, ownAddress(0, 0)), markRule(40004, 3, 4, 1, 0xff), lookup(20003, 9, 4), subnet, fromRule(40005, 5, 4, "172.16.0.9")}
	routes := []routing.Route{inside, main, via(1, 16, 0, hop("eth9", "172.16.0.1")), via(3, 16, 0, hop("eth9", "172.16.0.1")), via(4, 3, 50, hop("eth9", "172.16.0.1")), via(22, 4, 0, hop("eth9", "172.16.0.1"))}
	var s routing.State
	for _, r := range rules {
		if rapid.IntRange(0, 3).Draw(t, "foreign rule") == 0 {
			s.Rules = append(s.Rules, r)
		}
	}
	for _, r := range routes {
		if rapid.IntRange(0, 3).Draw(t, "foreign route") == 0 {
			s.Routes = append(s.Routes, r)
		}
	}
	return s
}

// ours tells what belongs to the program in a host: what has its tag.
func ours(h *host) (s routing.State) {
	for _, r := range h.routes {
		if r.Protocol == routing.RouteProtocol {
			s.Routes = append(s.Routes, r)
		}
	}
	for _, r := range h.rules {
		if r.Protocol == routing.RuleProtocol {
			s.Rules = append(s.Rules, r)
		}
	}
	return s
}

// cycle is one look at a host with the decisions that follow.
type cycle struct {
	cfg    *config.Config
	links  []routing.Link
	states []health.State
}

func anyCycle(t *rapid.T, h *host, cfg *config.Config) cycle {
	c := cycle{cfg: cfg, links: anyLinks(t, h)}
	for range cfg.Uplinks {
		c.states = append(c.states, rapid.SampledFrom([]health.State{unknown, up, up, down}).Draw(t, "health"))
	}
	return c
}

// plan makes the one straight line from a host to steps.
func (c cycle) plan(h *host) (routing.State, []routing.Step) {
	obs := h.observe(c.cfg, c.links)
	paths := routing.Resolve(c.cfg, obs)
	selected := routing.Select(c.cfg, config.IPv4, paths, judged(c.states), nil)
	want := routing.Want(c.cfg, obs, paths, []routing.Selection{selected})
	return want, routing.Plan(c.cfg, obs.Have, want)
}

// settle applies a whole plan and checks that the host is then as wanted, and stays so.
func (c cycle) settle(t *rapid.T, h *host) {
	want, steps := c.plan(h)
	h.apply(steps...)
	again, more := c.plan(h)
	if len(more) != 0 {
		t.Fatalf("a plan is left after the plan\n%s\nfirst:\n%s\nthen:\n%s", h, lines(steps), lines(more))
	}
	if text(again) != text(want) {
		t.Fatalf("applying changed what is wanted from\n%s\nto\n%s", text(want), text(again))
	}
	before := h.clone()
	h.apply(steps...)
	if h.String() != before.String() {
		t.Fatalf("applying twice is not once:\n%s\nthen\n%s", before, h)
	}
	c.check(t, h, want)
}

// check holds the host against what is wanted.
func (c cycle) check(t *rapid.T, h *host, want routing.State) {
	for _, r := range want.Rules {
		if !slices.Contains(h.rules, r) {
			t.Fatalf("rule %s is not there\n%s", r, h)
		}
	}
	for _, w := range want.Routes {
		first, _ := h.at(w)
		if !w.Equal(first) && first.Protocol != 16 && first.Protocol != 4 {
			t.Fatalf("route %s is not there but %s\n%s", w, first, h)
		}
	}
	tagged := ours(h)
	for _, r := range tagged.Routes {
		if !slices.ContainsFunc(want.Routes, r.Equal) {
			t.Fatalf("route %s is left\n%s", r, h)
		}
	}
	if len(tagged.Rules) != len(want.Rules) {
		t.Fatalf("%d rules of ours, want %d\n%s", len(tagged.Rules), len(want.Rules), h)
	}
	for _, r := range h.rules {
		if routing.Adoptable(c.cfg, r) {
			t.Fatalf("rule %s of the original is left\n%s", r, h)
		}
	}
}

func (h *host) at(w routing.Route) (routing.Route, bool) {
	i := slices.IndexFunc(h.routes, func(r routing.Route) bool {
		return r.Table == w.Table && r.Destination == w.Destination && r.Metric == w.Metric
	})
	if i < 0 {
		return routing.Route{}, false
	}
	return h.routes[i], true
}

// foreignOf returns what is not ours and not the original's, to see that it never changes.
func foreignOf(h *host, foreign routing.State) string {
	var s routing.State
	for _, r := range h.rules {
		if slices.Contains(foreign.Rules, r) || slices.Contains(kernelRules(), r) {
			s.Rules = append(s.Rules, r)
		}
	}
	for _, r := range h.routes {
		if slices.ContainsFunc(foreign.Routes, func(o routing.Route) bool { return r.Equal(o) }) {
			s.Routes = append(s.Routes, r)
		}
	}
	return text(s)
}

// From any state to any state, through interruptions after any step: what is ours becomes as wanted, and
// what is others' stays.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		foreign := anyForeign(t)
		h := newHost(foreign)
		for range rapid.IntRange(1, 4).Draw(t, "configurations") {
			cfg := anyConfig(t)
			c := anyCycle(t, h, cfg)
			before := foreignOf(h, foreign)
			for range rapid.IntRange(0, 2).Draw(t, "interruptions") {
				_, steps := c.plan(h)
				h.apply(steps[:rapid.IntRange(0, len(steps)).Draw(t, "killed after")]...)
				if after := foreignOf(h, foreign); after != before {
					t.Fatalf("what is not ours changed from\n%s\nto\n%s", before, after)
				}
				c = anyCycle(t, h, cfg)
				before = foreignOf(h, foreign) // an interface may have taken some along
			}
			c.settle(t, h)
			if after := foreignOf(h, foreign); after != before {
				t.Fatalf("what is not ours changed from\n%s\nto\n%s", before, after)
			}
		}
	})
}

// Whatever single step fails, with the others applied but the deletions behind it: the next plan mends it.
func TestPlanConvergesAfterAFailedStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(anyForeign(t))
		first := anyCycle(t, h, anyConfig(t))
		first.settle(t, h)
		c := anyCycle(t, h, anyConfig(t))
		_, steps := c.plan(h)
		if len(steps) == 0 {
			return
		}
		failed := rapid.IntRange(0, len(steps)-1).Draw(t, "failed")
		for i, s := range steps {
			if i < failed || i > failed && s.Op != routing.Delete {
				h.apply(s)
			}
		}
		c.settle(t, h)
	})
}

// What the original left for any list of uplinks goes, through any interruption.
func TestPlanAdoptsAnyOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(anyForeign(t))
		base := numbers{rapid.SampledFrom([]uint32{1, 10}).Draw(t, "base_table"), rapid.SampledFrom([]uint32{20000, 40000}).Draw(t, "base_priority"), 1}
		var gateways []string
		for i := range rapid.IntRange(1, 8).Draw(t, "lines of the original") {
			gateways = append(gateways, router(i))
		}
		left := originalState(base, gateways...)
		for _, r := range left.Rules {
			h.addRule(r)
		}
		h.routes = append(h.routes, left.Routes...)
		c := anyCycle(t, h, anyList(t, base))
		for range rapid.IntRange(0, 3).Draw(t, "interruptions") {
			_, steps := c.plan(h)
			h.apply(steps[:rapid.IntRange(0, len(steps)).Draw(t, "killed after")]...)
		}
		c.settle(t, h)
		want, _ := c.plan(h)
		for _, r := range left.Routes {
			if slices.ContainsFunc(h.routes, r.Equal) && !slices.ContainsFunc(want.Routes, r.Equal) {
				t.Fatalf("route %s of the original is left\n%s", r, h)
			}
		}
	})
}

// Nothing is deleted before everything new is there, and new rules come after the routes they lead to.
func TestPlanOrder(t *testing.T) {
	rank := func(s routing.Step) int {
		switch {
		case s.Op == routing.Set:
			return 0
		case s.Op == routing.Replace:
			return 1
		case s.Op == routing.Add:
			return 2
		default:
			return 3
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(anyForeign(t))
		first := anyCycle(t, h, anyConfig(t))
		first.settle(t, h)
		c := anyCycle(t, h, anyConfig(t))
		_, steps := c.plan(h)
		if !slices.IsSortedFunc(steps, func(a, b routing.Step) int { return rank(a) - rank(b) }) {
			t.Fatalf("steps out of order:\n%s", lines(steps))
		}
	})
}

// A packet that finds a way before the plan and after it finds one at any time in between, from any
// state to any state. One thing is left out: a default table that is empty before or after, so that new
// connections fall through to others' rules, while another list of uplinks uses it for a line. There are
// routes of others, but no rules that lead to our tables.
func TestPlanLeavesNoGap(t *testing.T) {
	packets := []packet{{}}
	for i := range devices {
		packets = append(packets, packet{source: addr(ownAddress(i, 0))}, packet{source: addr(ownAddress(i, 1))})
	}
	for m := range uint32(devices + 3) {
		packets = append(packets, packet{mark: m + 1}, packet{mark: (m + 1) << 8})
	}
	rapid.Check(t, func(t *rapid.T) {
		foreign := anyForeign(t)
		foreign.Rules = nil
		h := newHost(foreign)
		first := anyCycle(t, h, anyConfig(t))
		first.settle(t, h)
		c := anyCycle(t, h, anyConfig(t))
		_, steps := c.plan(h)
		end := h.clone()
		end.apply(steps...)
		_, before := h.lookup(first.cfg.Numbers.DefaultTable)
		_, after := end.lookup(c.cfg.Numbers.DefaultTable)
		if !before || !after {
			return
		}
		for _, p := range packets {
			if !h.reaches(p) || !end.reaches(p) {
				continue
			}
			now := h.clone()
			for i, s := range steps {
				if now.apply(s); !now.reaches(p) {
					t.Fatalf("packet from %s with mark %d finds no way after step %d of\n%s\nat the beginning:\n%s", p.source, p.mark, i+1, lines(steps), h)
				}
			}
		}
	})
}
