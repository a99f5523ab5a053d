package kernel_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// act is one thing that happens in a world.
type act func(w world) error

func link(name string, addresses ...string) act {
	return func(w world) error {
		errs := []error{w.AddLink(name, false), w.SetUp(name, true)}
		for _, a := range addresses {
			errs = append(errs, w.AddAddress(name, routing.Address{Prefix: netip.MustParsePrefix(a)}))
		}
		return errors.Join(errs...)
	}
}

func tunnel(name, addr, peer string) act {
	return func(w world) error {
		return errors.Join(w.AddLink(name, true), w.SetUp(name, true), w.AddAddress(name, routing.Address{
			Prefix: netip.PrefixFrom(netip.MustParseAddr(addr), 32), Peer: netip.MustParseAddr(peer)}))
	}
}

func up(name string, up bool) act    { return func(w world) error { return w.SetUp(name, up) } }
func cable(name string, in bool) act { return func(w world) error { return w.SetCarrier(name, in) } }
func remove(name string) act         { return func(w world) error { return w.RemoveLink(name) } }

func address(name, prefix string) act {
	return func(w world) error {
		return w.AddAddress(name, routing.Address{Prefix: netip.MustParsePrefix(prefix)})
	}
}

func noAddress(name, addr string) act {
	return func(w world) error { return w.RemoveAddress(name, netip.MustParseAddr(addr)) }
}

func apply(steps ...routing.Step) act {
	return func(w world) error {
		for _, s := range steps {
			if err := w.Apply(context.Background(), s); err != nil {
				return err
			}
		}
		return nil
	}
}

// refused expects that a step fails with an errno and a text.
func refused(s routing.Step, errno syscall.Errno, text string) act {
	return func(w world) error {
		err := w.Apply(context.Background(), s)
		if !errors.Is(err, errno) || !strings.Contains(fmt.Sprint(err), text) {
			return fmt.Errorf("%s: got error %v, want %v with %q", s, err, errno, text)
		}
		return nil
	}
}

// other lets another program make a change.
func other(steps ...routing.Step) act {
	return func(w world) error {
		for _, s := range steps {
			if err := w.Play(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// force lets another program add rules without looking whether they are there.
func force(rules ...routing.Rule) act {
	return func(w world) error {
		for _, r := range rules {
			w.DuplicateRule(r)
		}
		return nil
	}
}

func add(v any) routing.Step     { return step(routing.Add, v) }
func replace(v any) routing.Step { return step(routing.Replace, v) }
func del(v any) routing.Step     { return step(routing.Delete, v) }

func step(op routing.Op, v any) routing.Step {
	switch v := v.(type) {
	case routing.Route:
		return routing.Step{Op: op, Route: &v}
	case routing.Rule:
		return routing.Step{Op: op, Rule: &v}
	default:
		panic("neither route nor rule")
	}
}

// Edits of routes and rules, so that each case shows what is special about it.
func def(table uint32, hops ...routing.NextHop) routing.Route {
	r := routing.Route{Family: config.IPv4, Table: table, Type: routing.Unicast,
		Destination: netip.MustParsePrefix("0.0.0.0/0"), Protocol: routing.RouteProtocol, NextHops: hops}
	if len(hops) == 0 {
		r.Type = routing.Unreachable
	}
	return r
}

func def6(table uint32, metric uint32, hops ...routing.NextHop) routing.Route {
	r := metric4(def(table, hops...), metric)
	r.Family, r.Destination = config.IPv6, netip.MustParsePrefix("::/0")
	return r
}

func metric4(r routing.Route, metric uint32) routing.Route { r.Metric = metric; return r }
func src(r routing.Route, addr string) routing.Route {
	r.Source = netip.MustParseAddr(addr)
	return r
}
func by(r routing.Route, protocol uint8) routing.Route { r.Protocol = protocol; return r }
func to(r routing.Route, prefix string) routing.Route {
	r.Destination = netip.MustParsePrefix(prefix)
	return r
}

func via(device, gateway string, weight int) routing.NextHop {
	h := routing.NextHop{Interface: device, Weight: weight}
	if gateway != "" {
		h.Gateway = netip.MustParseAddr(gateway)
	}
	return h
}

func onlink(h routing.NextHop) routing.NextHop { h.OnLink = true; return h }

func lookup(priority, table uint32) routing.Rule {
	return routing.Rule{Family: config.IPv4, Priority: priority, Table: table,
		SuppressPrefixLength: routing.NoSuppress, Protocol: routing.RuleProtocol}
}
func from(r routing.Rule, prefix string) routing.Rule {
	r.From = netip.MustParsePrefix(prefix)
	r.Family = config.FamilyOf(r.From.Addr())
	return r
}
func mark(r routing.Rule, mark, mask uint32) routing.Rule { r.Mark, r.Mask = mark, mask; return r }
func suppress(r routing.Rule, length int) routing.Rule    { r.SuppressPrefixLength = length; return r }
func ruleBy(r routing.Rule, protocol uint8) routing.Rule  { r.Protocol = protocol; return r }
func six(r routing.Rule) routing.Rule                     { r.Family = config.IPv6; return r }

// contractCase is one story and what it leaves behind, in any kernel.
type contractCase struct {
	name   string
	acts   []act
	routes []routing.Route
	rules  []routing.Rule
	// golden: the same story told with ip(8) must leave exactly the same, also as shown by ip(8).
	golden bool
}

func TestContract(t *testing.T) {
	for _, c := range contractCases() {
		t.Run(c.name, func(t *testing.T) {
			real := newRealWorld(t, "real")
			var inReal, inSim routing.Observation
			t.Run("real", func(t *testing.T) { inReal = c.run(t, real) })
			t.Run("sim", func(t *testing.T) { inSim = c.run(t, sim.New()) })
			// The kernel updates the operational state of a link a moment after the link.
			d := gocmp.Diff(inReal, inSim, comparable...)
			for deadline := time.Now().Add(patience); d != "" && time.Now().Before(deadline); d = gocmp.Diff(inReal, inSim, comparable...) {
				inReal = besides(observe(t, real))
			}
			if d != "" {
				t.Errorf("links and defaults (-real +sim):\n%s", d)
			}
			if c.golden {
				t.Run("ip", func(t *testing.T) {
					ip := &byCommand{newRealWorld(t, "ip")}
					c.run(t, ip)
					if d := gocmp.Diff(strings.Split(ip.json(t), "\n"), strings.Split(real.json(t), "\n")); d != "" {
						t.Errorf("ip(8) shows something else when it made the same (-ip +ours):\n%s", d)
					}
				})
			}
		})
	}
}

// byCommand applies steps by running the commands that they print.
type byCommand struct{ *realWorld }

func (w *byCommand) Apply(_ context.Context, s routing.Step) error { return w.Play(s) }

// run plays the story and holds it to what it should leave.
func (c contractCase) run(t *testing.T, w world) routing.Observation {
	t.Helper()
	for i, a := range c.acts {
		if err := a(w); err != nil {
			t.Fatalf("act %d: %v", i, err)
		}
	}
	obs := observe(t, w)
	got := obs.Have
	want := routing.State{Routes: c.routes, Rules: c.rules, Sysctls: got.Sysctls}
	got.Rules = slices.DeleteFunc(got.Rules, func(r routing.Rule) bool { return r.Protocol == 2 })
	if d := gocmp.Diff(sorted(want), sorted(got), comparable...); d != "" {
		t.Errorf("observed (-want +got):\n%s", d)
	}
	return besides(obs)
}

// besides returns what must be the same in all kernels besides routes and rules.
func besides(obs routing.Observation) routing.Observation {
	for i := range obs.Links {
		obs.Links[i].Index = 0
		// A tunnel has a carrier while a process holds it, which none does here.
		obs.Links[i].Carrier = obs.Links[i].Carrier && !obs.Links[i].PointToPoint
	}
	return routing.Observation{Links: obs.Links, Defaults: obs.Defaults, Have: routing.State{Sysctls: obs.Have.Sysctls}}
}

var comparable = gocmp.Options{
	cmpopts.EquateEmpty(),
	gocmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	gocmp.Transformer("Route", func(r routing.Route) string { return fmt.Sprintf("%s %v other=%v", r.Family, r, r.Other) }),
}

// sorted puts routes into an order of ours; that of rules is the kernel's and counts.
func sorted(s routing.State) routing.State {
	s.Routes = slices.Clone(s.Routes)
	slices.SortFunc(s.Routes, func(a, b routing.Route) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Metric, b.Metric),
			strings.Compare(a.String(), b.String()))
	})
	return s
}

func observe(t *testing.T, w world) routing.Observation {
	t.Helper()
	obs, err := w.Observe(context.Background(), routing.Scope{
		Families:   []config.Family{config.IPv4, config.IPv6},
		Interfaces: []string{"w0", "w1", "ppp0"},
		Tables:     []uint32{1001, 1002},
		Sysctls:    []string{"net/ipv4/ip_forward", "net/ipv4/conf/w0/rp_filter", "net/ipv4/conf/w9/rp_filter"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return obs
}

const last = math.MaxUint32

func contractCases() []contractCase {
	w0, w1 := link("w0", "192.0.2.2/24"), link("w1", "198.51.100.2/24")
	gw0, gw1 := via("w0", "192.0.2.1", 1), via("w1", "198.51.100.1", 1)
	v60, v61 := link("w0", "2001:db8:1::2/64"), link("w1", "2001:db8:2::2/64")
	gw60, gw61 := via("w0", "2001:db8:1::1", 1), via("w1", "2001:db8:2::1", 1)
	weighted := []routing.NextHop{via("w0", "192.0.2.1", 1), via("w1", "198.51.100.1", 256)}
	weighted6 := []routing.NextHop{via("w0", "2001:db8:1::1", 3), via("w1", "2001:db8:2::1", 256)}
	line := src(def(1001, gw0), "192.0.2.2")
	return []contractCase{
		{"a line's table", []act{w0, apply(replace(line), replace(metric4(def(1001), last)))},
			[]routing.Route{line, metric4(def(1001), last)}, nil, true},
		{"a line's table twice", []act{w0, apply(replace(line), replace(line), replace(metric4(def(1001), last)), replace(metric4(def(1001), last)))},
			[]routing.Route{line, metric4(def(1001), last)}, nil, true},
		{"add what is there", []act{w0, apply(add(line), add(line))}, []routing.Route{line}, nil, false},
		{"add where another is", []act{w0, apply(add(line)), refused(add(def(1001, gw0)), syscall.EEXIST, "another route has its place")},
			[]routing.Route{line}, nil, false},
		{"weights 1 and 256, and a spare", []act{w0, w1, apply(replace(def(1002, weighted...)), replace(metric4(def(1002, weighted...), 1)))},
			[]routing.Route{def(1002, weighted...), metric4(def(1002, weighted...), 1)}, nil, true},
		{"replace two ways by one and back", []act{w0, w1, apply(replace(def(1002, weighted...)), replace(def(1002, gw1)), replace(def(1002, gw1, gw0)))},
			[]routing.Route{def(1002, gw1, gw0)}, nil, true},
		{"replace by unreachable", []act{w0, apply(replace(def(1002, gw0)), replace(def(1002)))}, []routing.Route{def(1002)}, nil, true},
		{"weight out of range", []act{w0, w1, func(w world) error {
			if err := w.Apply(context.Background(), replace(def(1002, gw0, via("w1", "198.51.100.1", 257)))); err == nil {
				return errors.New("weight 257 was taken")
			}
			return nil
		}}, nil, nil, false},
		{"adopt a route", []act{w0, other(add(by(def(1001, gw0), 3))), apply(replace(line))}, []routing.Route{line}, nil, true},
		{"a route of others", []act{w0, other(add(to(by(def(9, gw0), 4), "203.0.113.0/24"))), apply(add(lookup(100, 9)))},
			[]routing.Route{to(by(def(9, gw0), 4), "203.0.113.0/24")}, []routing.Rule{lookup(100, 9)}, true},
		{"delete one of three", []act{w0, apply(replace(def(1001, gw0)), replace(metric4(def(1001, gw0), 1)), replace(metric4(def(1001), last)), del(def(1001, gw0)))},
			[]routing.Route{metric4(def(1001, gw0), 1), metric4(def(1001), last)}, nil, true},
		{"delete what is gone, beside a higher metric", []act{w0, apply(replace(metric4(def(1001, gw0), 1)), del(def(1001, gw0)), del(def(1001, gw0)))},
			[]routing.Route{metric4(def(1001, gw0), 1)}, nil, false},
		{"delete leaves the twin of another protocol", []act{w0, other(add(by(def(1001, gw0), 3))), apply(del(def(1001, gw0)))},
			[]routing.Route{by(def(1001, gw0), 3)}, nil, false},
		{"delete two ways", []act{w0, w1, apply(replace(def(1002, weighted...)), del(def(1002, weighted...)))}, nil, nil, true},
		{"delete unreachable", []act{apply(replace(metric4(def(1001), last)), del(metric4(def(1001), last)))}, nil, nil, true},
		{"delete on a removed link", []act{w0, apply(replace(line)), remove("w0"), apply(del(line))}, nil, nil, false},
		{"onlink", []act{w0, apply(replace(def(1001, onlink(via("w0", "203.0.113.1", 1)))))},
			[]routing.Route{def(1001, onlink(via("w0", "203.0.113.1", 1)))}, nil, true},
		{"onlink in two ways", []act{w0, w1, apply(replace(def(1002, gw0, onlink(via("w1", "203.0.113.1", 7)))))},
			[]routing.Route{def(1002, gw0, onlink(via("w1", "203.0.113.1", 7)))}, nil, true},
		{"two lines behind the same gateway", []act{link("w0", "192.0.2.2/24"), link("w1", "192.0.2.3/24"),
			apply(replace(def(1002, via("w0", "192.0.2.1", 1), via("w1", "192.0.2.1", 1))))},
			[]routing.Route{def(1002, via("w0", "192.0.2.1", 1), via("w1", "192.0.2.1", 1))}, nil, true},
		{"point to point without gateway", []act{tunnel("ppp0", "192.0.2.2", "192.0.2.1"), apply(replace(src(def(1001, via("ppp0", "", 1)), "192.0.2.2")))},
			[]routing.Route{src(def(1001, via("ppp0", "", 1)), "192.0.2.2")}, nil, true},
		{"point to point by peer, beside a line", []act{w1, tunnel("ppp0", "192.0.2.2", "192.0.2.1"),
			apply(replace(def(1002, via("ppp0", "192.0.2.1", 2), gw1)), replace(metric4(def(1002, via("ppp0", "", 2), gw1), 1)))},
			[]routing.Route{def(1002, via("ppp0", "192.0.2.1", 2), gw1), metric4(def(1002, via("ppp0", "", 2), gw1), 1)}, nil, true},

		{"gateway out of reach", []act{w0, refused(replace(def(1001, via("w0", "203.0.113.1", 1))), syscall.ENETUNREACH, "Nexthop has invalid gateway")}, nil, nil, false},
		{"gateway is our own", []act{w0, apply(replace(def(1001, via("w0", "192.0.2.2", 1))))}, []routing.Route{def(1001, via("w0", "192.0.2.2", 1))}, nil, false},
		{"source is not ours", []act{w0, refused(replace(src(def(1001, gw0), "192.0.2.9")), syscall.EINVAL, "Invalid prefsrc address")}, nil, nil, false},
		{"missing interface", []act{w0, refused(replace(def(1002, gw0, gw1)), syscall.ENODEV, "interface w1")}, nil, nil, false},
		{"link is down", []act{w0, up("w0", false), refused(replace(def(1001, gw0)), syscall.ENETUNREACH, "Nexthop has invalid gateway")}, nil, nil, false},
		{"link is down, onlink", []act{w0, up("w0", false), refused(replace(def(1001, onlink(gw0))), syscall.ENETDOWN, "Nexthop device is not up")}, nil, nil, false},
		{"link is down, no gateway", []act{w0, up("w0", false), refused(replace(def(1001, via("w0", "", 1))), syscall.ENETDOWN, "Device for nexthop is not up")}, nil, nil, false},
		{"one of two links is down", []act{w0, w1, up("w0", false), refused(replace(def(1002, gw0, gw1)), syscall.ENETUNREACH, "Nexthop has invalid gateway")}, nil, nil, false},
		{"main's defaults", []act{w0, w1, other(add(by(def(254, gw1), 16)), add(by(metric4(def(254, gw0), 100), 3)), add(by(to(def(254, gw0), "0.0.0.0/1"), 3)))}, nil, nil, true},
		{"a removed address takes its routes in main", []act{w0, address("w0", "192.0.2.3/24"), other(add(src(by(def(254, gw0), 16), "192.0.2.3"))), noAddress("w0", "192.0.2.3")}, nil, nil, true},

		{"link goes down", []act{w0, apply(replace(line), replace(metric4(def(1001), last))), up("w0", false)},
			[]routing.Route{metric4(def(1001), last)}, nil, true},
		{"link goes down and up", []act{w0, apply(replace(line)), up("w0", false), up("w0", true)}, nil, nil, true},
		{"one of two links goes down and up", []act{w0, w1, apply(replace(def(1002, weighted...))), up("w0", false), up("w0", true)},
			[]routing.Route{def(1002, weighted...)}, nil, true},
		{"one after the other goes down", []act{w0, w1, apply(replace(def(1002, weighted...))), up("w0", false), up("w1", false)}, nil, nil, true},
		{"one of two is removed", []act{w0, w1, apply(replace(def(1002, weighted...))), remove("w0")}, nil, nil, true},
		{"carrier is lost", []act{w0, w1, apply(replace(line), replace(def(1002, weighted...))), cable("w0", false)},
			[]routing.Route{line, def(1002, weighted...)}, nil, true},
		{"add without carrier", []act{w0, cable("w0", false), apply(replace(line))}, []routing.Route{line}, nil, true},
		{"last address is removed", []act{w0, w1, apply(replace(def(1001, gw0)), replace(def(1002, weighted...))), noAddress("w0", "192.0.2.2")},
			[]routing.Route{def(1002, weighted...)}, nil, true},
		{"a secondary address is removed", []act{w0, address("w0", "192.0.2.3/24"), apply(replace(src(def(1001, gw0), "192.0.2.3"))), noAddress("w0", "192.0.2.3")},
			[]routing.Route{src(def(1001, gw0), "192.0.2.3")}, nil, true},
		{"another primary address stays", []act{w0, address("w0", "203.0.113.2/24"), apply(replace(line)), noAddress("w0", "192.0.2.2")},
			[]routing.Route{line}, nil, true},
		{"a primary address takes the secondary", []act{w0, address("w0", "192.0.2.3/24"), apply(replace(line)), noAddress("w0", "192.0.2.2")}, nil, nil, true},

		{"rules in their order", []act{apply(add(lookup(20008, 1002)), add(suppress(lookup(19999, 254), 0)), add(from(lookup(20000, 1001), "192.0.2.2/32")), add(mark(lookup(20001, 1001), 1, 0xff)))},
			nil, []routing.Rule{suppress(lookup(19999, 254), 0), from(lookup(20000, 1001), "192.0.2.2/32"), mark(lookup(20001, 1001), 1, 0xff), lookup(20008, 1002)}, true},
		{"rules above main", []act{apply(add(lookup(40000, 70000)))}, nil, []routing.Rule{lookup(40000, 70000)}, true},
		{"rule by prefix and by mark zero", []act{apply(add(from(lookup(1, 1001), "192.0.2.0/24")), add(mark(lookup(2, 1001), 0, 0xff)))},
			nil, []routing.Rule{from(lookup(1, 1001), "192.0.2.0/24"), mark(lookup(2, 1001), 0, 0xff)}, true},
		{"a rule twice", []act{apply(add(lookup(5, 1001)), add(lookup(5, 1001)))}, nil, []routing.Rule{lookup(5, 1001)}, false},
		{"adopt a rule", []act{other(add(ruleBy(lookup(5, 1001), 3))), apply(add(lookup(5, 1001)), add(lookup(5, 1001)), del(ruleBy(lookup(5, 1001), 3)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete leaves the untagged twin", []act{other(add(ruleBy(lookup(5, 1001), 3))), apply(add(lookup(5, 1001)), del(lookup(5, 1001)), del(lookup(5, 1001)))},
			nil, []routing.Rule{ruleBy(lookup(5, 1001), 3)}, false},
		{"adopt a rule without protocol", []act{other(add(ruleBy(lookup(5, 1001), 0))), apply(add(lookup(5, 1001)), del(ruleBy(lookup(5, 1001), 0)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete the one without protocol behind ours", []act{force(lookup(5, 1001), ruleBy(lookup(5, 1001), 0)), apply(del(ruleBy(lookup(5, 1001), 0)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete one of a pair of doubles", []act{force(lookup(5, 1001), lookup(5, 1001)), apply(del(lookup(5, 1001)))}, nil, []routing.Rule{lookup(5, 1001)}, true},
		{"delete behind a narrower rule", []act{apply(add(from(lookup(5, 1001), "192.0.2.2/32")), add(mark(lookup(5, 1001), 2, 0xff)), add(lookup(5, 1001)), del(lookup(5, 1001)))},
			nil, []routing.Rule{from(lookup(5, 1001), "192.0.2.2/32"), mark(lookup(5, 1001), 2, 0xff)}, false},

		{"IPv6 line", []act{v60, apply(replace(src(def6(1001, 1024, gw60), "2001:db8:1::2")), replace(def6(1001, last)))},
			[]routing.Route{src(def6(1001, 1024, gw60), "2001:db8:1::2"), def6(1001, last)}, nil, true},
		{"IPv6 metric 0 is 1024", []act{v60, apply(replace(def6(1001, 0, gw60)))}, []routing.Route{def6(1001, 1024, gw60)}, nil, true},
		{"IPv6 weights, twice", []act{v60, v61, apply(replace(def6(1002, 1024, weighted6...)), replace(def6(1002, 1024, weighted6...)))},
			[]routing.Route{def6(1002, 1024, weighted6...)}, nil, true},
		{"IPv6 replace two ways by one and back", []act{v60, v61, apply(replace(def6(1002, 1024, weighted6...)), replace(def6(1002, 1024, gw61)), replace(def6(1002, 1024, gw61, gw60)))},
			[]routing.Route{def6(1002, 1024, gw61, gw60)}, nil, true},
		{"IPv6 delete two ways", []act{v60, v61, apply(replace(def6(1002, 1024, weighted6...)), replace(def6(1002, 1025, weighted6...)), del(def6(1002, 1024, weighted6...)))},
			[]routing.Route{def6(1002, 1025, weighted6...)}, nil, true},
		{"IPv6 add where another is", []act{v60, v61, apply(add(def6(1002, 1024, gw60)), add(def6(1002, 1024, gw60))), refused(add(def6(1002, 1024, gw61)), syscall.EEXIST, "another route has its place")},
			[]routing.Route{def6(1002, 1024, gw60)}, nil, false},
		{"IPv6 link-local gateway", []act{v60, apply(replace(def6(1001, 1024, via("w0", "fe80::1", 1))))},
			[]routing.Route{def6(1001, 1024, via("w0", "fe80::1", 1))}, nil, true},
		{"IPv6 adopt a route", []act{v60, other(add(by(def6(1001, 1024, gw60), 3))), apply(replace(def6(1001, 1024, gw60)))},
			[]routing.Route{def6(1001, 1024, gw60)}, nil, true},
		{"IPv6 gateway out of reach", []act{v60, refused(replace(def6(1001, 1024, via("w0", "2001:db8:9::1", 1))), syscall.EHOSTUNREACH, "")}, nil, nil, false},
		{"IPv6 link is down", []act{v60, up("w0", false), refused(replace(def6(1001, 1024, gw60)), syscall.EHOSTUNREACH, "")}, nil, nil, false},
		{"IPv6 link is down, link-local gateway", []act{v60, up("w0", false), refused(replace(def6(1001, 1024, via("w0", "fe80::1", 1))), syscall.ENETDOWN, "evice is not up")}, nil, nil, false},
		{"IPv6 link is down, onlink", []act{v60, up("w0", false), refused(replace(def6(1001, 1024, onlink(gw60))), syscall.ENETDOWN, "evice is not up")}, nil, nil, false},
		{"IPv6 main's defaults", []act{v60, v61, other(add(by(def6(254, 1024, gw60), 9)), add(by(def6(254, 100, gw61), 16)))}, nil, nil, true},
		{"IPv6 link goes down", []act{v60, apply(replace(def6(1001, 1024, gw60)), replace(def6(1001, last))), up("w0", false)},
			[]routing.Route{def6(1001, last)}, nil, true},
		{"IPv6 one of two links goes down", []act{v60, v61, apply(replace(def6(1002, 1024, weighted6...))), up("w0", false)},
			[]routing.Route{def6(1002, 1024, weighted6...)}, nil, true},
		{"IPv6 one of two is removed", []act{v60, v61, apply(replace(def6(1002, 1024, gw60, gw61))), remove("w0")},
			[]routing.Route{def6(1002, 1024, gw61)}, nil, true},
		{"IPv6 source is removed", []act{v60, address("w0", "2001:db8:1::3/64"), apply(replace(src(def6(1001, 1024, gw60), "2001:db8:1::3"))), noAddress("w0", "2001:db8:1::3")},
			[]routing.Route{def6(1001, 1024, gw60)}, nil, true},
		{"IPv6 carrier is lost", []act{v60, apply(replace(def6(1001, 1024, gw60))), cable("w0", false)}, []routing.Route{def6(1001, 1024, gw60)}, nil, true},
		{"IPv6 rules", []act{apply(add(suppress(six(lookup(19999, 254)), 0)), add(from(lookup(20000, 1001), "2001:db8:1::2/128")), add(six(mark(lookup(20001, 1001), 1, 0xff))),
			add(six(lookup(5, 9))), del(six(lookup(5, 9))))},
			nil, []routing.Rule{suppress(six(lookup(19999, 254)), 0), from(lookup(20000, 1001), "2001:db8:1::2/128"), six(mark(lookup(20001, 1001), 1, 0xff))}, true},
	}
}
