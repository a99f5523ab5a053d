package kernel_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"syscall"

	"ftr/internal/routing"
)

const last = math.MaxUint32

func contractCases() []contractCase {
	f := newFixtures()
	return slices.Concat(f.routeCases(), f.refusedCases(), f.eventCases(), f.ruleCases(), f.sixCases())
}

// fixtures are two lines in each family.
type fixtures struct {
	w0, w1, v60, v61     act
	gw0, gw1, gw60, gw61 routing.NextHop
	weighted, weighted6  []routing.NextHop
	line                 routing.Route
}

func newFixtures() fixtures {
	gw0 := via("w0", "192.0.2.1", 1)
	return fixtures{
		w0: link("w0", "192.0.2.2/24"), w1: link("w1", "198.51.100.2/24"),
		v60: link("w0", "2001:db8:1::2/64"), v61: link("w1", "2001:db8:2::2/64"),
		gw0: gw0, gw1: via("w1", "198.51.100.1", 1),
		gw60: via("w0", "2001:db8:1::1", 1), gw61: via("w1", "2001:db8:2::1", 1),
		weighted:  []routing.NextHop{gw0, via("w1", "198.51.100.1", 256)},
		weighted6: []routing.NextHop{via("w0", "2001:db8:1::1", 3), via("w1", "2001:db8:2::1", 256)},
		line:      src(def(1001, gw0), "192.0.2.2"),
	}
}

// routeCases write and delete routes.
func (f *fixtures) routeCases() []contractCase {
	return []contractCase{
		{"a line's table", []act{f.w0, apply(replace(f.line), replace(metric4(def(1001), last)))},
			[]routing.Route{f.line, metric4(def(1001), last)}, nil, true},
		{"a line's table twice",
			[]act{f.w0,
				apply(replace(f.line), replace(f.line), replace(metric4(def(1001), last)), replace(metric4(def(1001), last)))},
			[]routing.Route{f.line, metric4(def(1001), last)}, nil, true},
		{"add what is there", []act{f.w0, apply(add(f.line), add(f.line))}, []routing.Route{f.line}, nil, false},
		{"add where another is",
			[]act{f.w0, apply(add(f.line)), refused(add(def(1001, f.gw0)), syscall.EEXIST, "another route has its place")},
			[]routing.Route{f.line}, nil, false},
		{"weights 1 and 256, and a spare",
			[]act{f.w0, f.w1, apply(replace(def(1002, f.weighted...)), replace(metric4(def(1002, f.weighted...), 1)))},
			[]routing.Route{def(1002, f.weighted...), metric4(def(1002, f.weighted...), 1)}, nil, true},
		{"replace two ways by one and back",
			[]act{f.w0, f.w1, apply(replace(def(1002, f.weighted...)), replace(def(1002, f.gw1)), replace(def(1002, f.gw1, f.gw0)))},
			[]routing.Route{def(1002, f.gw1, f.gw0)}, nil, true},
		{"replace by unreachable",
			[]act{f.w0, apply(replace(def(1002, f.gw0)), replace(def(1002)))}, []routing.Route{def(1002)}, nil, true},
		{"weight out of range", []act{f.w0, f.w1, func(w world) error {
			if err := w.Apply(context.Background(), replace(def(1002, f.gw0, via("w1", "198.51.100.1", 257)))); err == nil {
				return errors.New("weight 257 was taken")
			}
			return nil
		}}, nil, nil, false},
		{"adopt a route",
			[]act{f.w0, other(add(by(def(1001, f.gw0), 3))), apply(replace(f.line))}, []routing.Route{f.line}, nil, true},
		{"a route of others", []act{f.w0, other(add(to(by(def(9, f.gw0), 4), "203.0.113.0/24"))), apply(add(lookup(100, 9)))},
			[]routing.Route{to(by(def(9, f.gw0), 4), "203.0.113.0/24")}, []routing.Rule{lookup(100, 9)}, true},
		{"delete one of three",
			[]act{f.w0,
				apply(replace(def(1001, f.gw0)), replace(metric4(def(1001, f.gw0), 1)), replace(metric4(def(1001), last)), del(def(1001, f.gw0)))},
			[]routing.Route{metric4(def(1001, f.gw0), 1), metric4(def(1001), last)}, nil, true},
		{"delete what is gone, beside a higher metric",
			[]act{f.w0, apply(replace(metric4(def(1001, f.gw0), 1)), del(def(1001, f.gw0)), del(def(1001, f.gw0)))},
			[]routing.Route{metric4(def(1001, f.gw0), 1)}, nil, false},
		{"delete leaves the twin of another protocol",
			[]act{f.w0, other(add(by(def(1001, f.gw0), 3))), apply(del(def(1001, f.gw0)))},
			[]routing.Route{by(def(1001, f.gw0), 3)}, nil, false},
		{"delete two ways",
			[]act{f.w0, f.w1, apply(replace(def(1002, f.weighted...)), del(def(1002, f.weighted...)))}, nil, nil, true},
		{"delete unreachable",
			[]act{apply(replace(metric4(def(1001), last)), del(metric4(def(1001), last)))}, nil, nil, true},
		{"delete on a removed link", []act{f.w0, apply(replace(f.line)), remove("w0"), apply(del(f.line))}, nil, nil, false},
		{"onlink", []act{f.w0, apply(replace(def(1001, onlink(via("w0", "203.0.113.1", 1)))))},
			[]routing.Route{def(1001, onlink(via("w0", "203.0.113.1", 1)))}, nil, true},
		{"onlink in two ways", []act{f.w0, f.w1, apply(replace(def(1002, f.gw0, onlink(via("w1", "203.0.113.1", 7)))))},
			[]routing.Route{def(1002, f.gw0, onlink(via("w1", "203.0.113.1", 7)))}, nil, true},
		{"two lines behind the same gateway", []act{link("w0", "192.0.2.2/24"), link("w1", "192.0.2.3/24"),
			apply(replace(def(1002, via("w0", "192.0.2.1", 1), via("w1", "192.0.2.1", 1))))},
			[]routing.Route{def(1002, via("w0", "192.0.2.1", 1), via("w1", "192.0.2.1", 1))}, nil, true},
		{"point to point without gateway",
			[]act{tunnel("ppp0", "192.0.2.2", "192.0.2.1"), apply(replace(src(def(1001, via("ppp0", "", 1)), "192.0.2.2")))},
			[]routing.Route{src(def(1001, via("ppp0", "", 1)), "192.0.2.2")}, nil, true},
		{"point to point by peer, beside a line", []act{f.w1, tunnel("ppp0", "192.0.2.2", "192.0.2.1"),
			apply(replace(def(1002, via("ppp0", "192.0.2.1", 2), f.gw1)), replace(metric4(def(1002, via("ppp0", "", 2), f.gw1), 1)))},
			[]routing.Route{def(1002, via("ppp0", "192.0.2.1", 2), f.gw1), metric4(def(1002, via("ppp0", "", 2), f.gw1), 1)}, nil, true},
	}
}

// refusedCases ask for what cannot be.
func (f *fixtures) refusedCases() []contractCase {
	return []contractCase{
		{"gateway out of reach",
			[]act{f.w0, refused(replace(def(1001, via("w0", "203.0.113.1", 1))), syscall.ENETUNREACH, "Nexthop has invalid gateway")},
			nil, nil, false},
		{"gateway is our own",
			[]act{f.w0, apply(replace(def(1001, via("w0", "192.0.2.2", 1))))},
			[]routing.Route{def(1001, via("w0", "192.0.2.2", 1))}, nil, false},
		{"source is not ours",
			[]act{f.w0, refused(replace(src(def(1001, f.gw0), "192.0.2.9")), syscall.EINVAL, "Invalid prefsrc address")},
			nil, nil, false},
		{"missing interface",
			[]act{f.w0, refused(replace(def(1002, f.gw0, f.gw1)), syscall.ENODEV, "interface w1")}, nil, nil, false},
		{"link is down",
			[]act{f.w0, up("w0", false), refused(replace(def(1001, f.gw0)), syscall.ENETUNREACH, "Nexthop has invalid gateway")},
			nil, nil, false},
		{"link is down, onlink",
			[]act{f.w0, up("w0", false), refused(replace(def(1001, onlink(f.gw0))), syscall.ENETDOWN, "Nexthop device is not up")},
			nil, nil, false},
		{"link is down, no gateway",
			[]act{f.w0, up("w0", false), refused(replace(def(1001, via("w0", "", 1))), syscall.ENETDOWN, "Device for nexthop is not up")},
			nil, nil, false},
		{"one of two links is down",
			[]act{f.w0, f.w1, up("w0", false), refused(replace(def(1002, f.gw0, f.gw1)), syscall.ENETUNREACH, "Nexthop has invalid gateway")},
			nil, nil, false},
		{"main's defaults",
			[]act{f.w0, f.w1, other(add(by(def(254, f.gw1), 16)), add(by(metric4(def(254, f.gw0), 100), 3)), add(by(to(def(254, f.gw0), "0.0.0.0/1"), 3)))},
			nil, nil, true},
		{"a removed address takes its routes in main",
			[]act{f.w0, address("w0", "192.0.2.3/24"), other(add(src(by(def(254, f.gw0), 16), "192.0.2.3"))), noAddress("w0", "192.0.2.3")},
			nil, nil, true},
	}
}

// eventCases let links and addresses come and go.
func (f *fixtures) eventCases() []contractCase {
	return []contractCase{
		{"link goes down", []act{f.w0, apply(replace(f.line), replace(metric4(def(1001), last))), up("w0", false)},
			[]routing.Route{metric4(def(1001), last)}, nil, true},
		{"link goes down and up", []act{f.w0, apply(replace(f.line)), up("w0", false), up("w0", true)}, nil, nil, true},
		{"one of two links goes down and up",
			[]act{f.w0, f.w1, apply(replace(def(1002, f.weighted...))), up("w0", false), up("w0", true)},
			[]routing.Route{def(1002, f.weighted...)}, nil, true},
		{"one after the other goes down",
			[]act{f.w0, f.w1, apply(replace(def(1002, f.weighted...))), up("w0", false), up("w1", false)},
			nil, nil, true},
		{"one of two is removed", []act{f.w0, f.w1, apply(replace(def(1002, f.weighted...))), remove("w0")}, nil, nil, true},
		{"carrier is lost", []act{f.w0, f.w1, apply(replace(f.line), replace(def(1002, f.weighted...))), cable("w0", false)},
			[]routing.Route{f.line, def(1002, f.weighted...)}, nil, true},
		{"add without carrier", []act{f.w0, cable("w0", false), apply(replace(f.line))}, []routing.Route{f.line}, nil, true},
		{"last address is removed",
			[]act{f.w0, f.w1, apply(replace(def(1001, f.gw0)), replace(def(1002, f.weighted...))), noAddress("w0", "192.0.2.2")},
			[]routing.Route{def(1002, f.weighted...)}, nil, true},
		{"a secondary address is removed",
			[]act{f.w0, address("w0", "192.0.2.3/24"),
				apply(replace(src(def(1001, f.gw0), "192.0.2.3"))), noAddress("w0", "192.0.2.3")},
			[]routing.Route{src(def(1001, f.gw0), "192.0.2.3")}, nil, true},
		{"another primary address stays",
			[]act{f.w0, address("w0", "203.0.113.2/24"), apply(replace(f.line)), noAddress("w0", "192.0.2.2")},
			[]routing.Route{f.line}, nil, true},
		{"a primary address takes the secondary",
			[]act{f.w0, address("w0", "192.0.2.3/24"), apply(replace(f.line)), noAddress("w0", "192.0.2.2")},
			nil, nil, true},
	}
}

// ruleCases add and delete rules.
func (f *fixtures) ruleCases() []contractCase {
	return []contractCase{
		{"rules in their order",
			[]act{apply(add(lookup(20008, 1002)), add(suppress(lookup(19999, 254), 0)), add(from(lookup(20000, 1001), "192.0.2.2/32")), add(mark(lookup(20001, 1001), 1, 0xff)))},
			nil, []routing.Rule{suppress(lookup(19999, 254), 0), from(lookup(20000, 1001), "192.0.2.2/32"), mark(lookup(20001, 1001), 1, 0xff), lookup(20008, 1002)}, true},
		{"rules above main", []act{apply(add(lookup(40000, 70000)))}, nil, []routing.Rule{lookup(40000, 70000)}, true},
		{"rule by prefix and by mark zero",
			[]act{apply(add(from(lookup(1, 1001), "192.0.2.0/24")), add(mark(lookup(2, 1001), 0, 0xff)))},
			nil, []routing.Rule{from(lookup(1, 1001), "192.0.2.0/24"), mark(lookup(2, 1001), 0, 0xff)}, true},
		{"rules for what is sent here and for what is bound", []act{f.w0, apply(
			add(sport(datagrams(mark(from(lookup(3, 1001), "192.0.2.2/32"), 0, 0xff)), 68)), add(bound(from(lookup(4, 1001), "192.0.2.2/32"), "w0")),
			add(bound(lookup(5, 1001), "w9")))}, nil,
			[]routing.Rule{sport(datagrams(mark(from(lookup(3, 1001), "192.0.2.2/32"), 0, 0xff)), 68), bound(from(lookup(4, 1001), "192.0.2.2/32"), "w0"),
				bound(lookup(5, 1001), "w9")}, true},
		{"delete behind rules for less", []act{f.w0, apply(add(datagrams(lookup(5, 1001))), add(bound(lookup(5, 1001), "w0")), add(lookup(5, 1001)), del(lookup(5, 1001)))},
			nil, []routing.Rule{datagrams(lookup(5, 1001)), bound(lookup(5, 1001), "w0")}, false},
		{"a rule for an interface that goes", []act{f.w0, apply(add(bound(lookup(5, 1001), "w0"))), remove("w0")},
			nil, []routing.Rule{bound(lookup(5, 1001), "w0")}, true},
		{"a rule twice",
			[]act{apply(add(lookup(5, 1001)), add(lookup(5, 1001)))}, nil, []routing.Rule{lookup(5, 1001)}, false},
		{"adopt a rule",
			[]act{other(add(ruleBy(lookup(5, 1001), 3))),
				apply(add(lookup(5, 1001)), add(lookup(5, 1001)), del(ruleBy(lookup(5, 1001), 3)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete leaves the untagged twin",
			[]act{other(add(ruleBy(lookup(5, 1001), 3))), apply(add(lookup(5, 1001)), del(lookup(5, 1001)), del(lookup(5, 1001)))},
			nil, []routing.Rule{ruleBy(lookup(5, 1001), 3)}, false},
		{"adopt a rule without protocol",
			[]act{other(add(ruleBy(lookup(5, 1001), 0))), apply(add(lookup(5, 1001)), del(ruleBy(lookup(5, 1001), 0)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete the one without protocol behind ours",
			[]act{force(lookup(5, 1001), ruleBy(lookup(5, 1001), 0)), apply(del(ruleBy(lookup(5, 1001), 0)))},
			nil, []routing.Rule{lookup(5, 1001)}, false},
		{"delete one of a pair of doubles",
			[]act{force(lookup(5, 1001), lookup(5, 1001)), apply(del(lookup(5, 1001)))},
			nil, []routing.Rule{lookup(5, 1001)}, true},
		{"delete behind a narrower rule",
			[]act{apply(add(from(lookup(5, 1001), "192.0.2.2/32")), add(mark(lookup(5, 1001), 2, 0xff)), add(lookup(5, 1001)), del(lookup(5, 1001)))},
			nil, []routing.Rule{from(lookup(5, 1001), "192.0.2.2/32"), mark(lookup(5, 1001), 2, 0xff)}, false},
	}
}

// sixCases are those of IPv6, where it differs.
func (f *fixtures) sixCases() []contractCase {
	return []contractCase{
		{"IPv6 line", []act{f.v60, apply(replace(src(def6(1001, 1024, f.gw60), "2001:db8:1::2")), replace(def6(1001, last)))},
			[]routing.Route{src(def6(1001, 1024, f.gw60), "2001:db8:1::2"), def6(1001, last)}, nil, true},
		{"IPv6 metric 0 is 1024",
			[]act{f.v60, apply(replace(def6(1001, 0, f.gw60)))}, []routing.Route{def6(1001, 1024, f.gw60)}, nil, true},
		{"IPv6 weights, twice",
			[]act{f.v60, f.v61, apply(replace(def6(1002, 1024, f.weighted6...)), replace(def6(1002, 1024, f.weighted6...)))},
			[]routing.Route{def6(1002, 1024, f.weighted6...)}, nil, true},
		{"IPv6 replace two ways by one and back",
			[]act{f.v60, f.v61,
				apply(replace(def6(1002, 1024, f.weighted6...)), replace(def6(1002, 1024, f.gw61)), replace(def6(1002, 1024, f.gw61, f.gw60)))},
			[]routing.Route{def6(1002, 1024, f.gw61, f.gw60)}, nil, true},
		{"IPv6 delete two ways",
			[]act{f.v60, f.v61,
				apply(replace(def6(1002, 1024, f.weighted6...)), replace(def6(1002, 1025, f.weighted6...)), del(def6(1002, 1024, f.weighted6...)))},
			[]routing.Route{def6(1002, 1025, f.weighted6...)}, nil, true},
		{"IPv6 add where another is",
			[]act{f.v60, f.v61,
				apply(add(def6(1002, 1024, f.gw60)), add(def6(1002, 1024, f.gw60))), refused(add(def6(1002, 1024, f.gw61)), syscall.EEXIST, "another route has its place")},
			[]routing.Route{def6(1002, 1024, f.gw60)}, nil, false},
		{"IPv6 link-local gateway", []act{f.v60, apply(replace(def6(1001, 1024, via("w0", "fe80::1", 1))))},
			[]routing.Route{def6(1001, 1024, via("w0", "fe80::1", 1))}, nil, true},
		{"IPv6 adopt a route",
			[]act{f.v60, other(add(by(def6(1001, 1024, f.gw60), 3))), apply(replace(def6(1001, 1024, f.gw60)))},
			[]routing.Route{def6(1001, 1024, f.gw60)}, nil, true},
		{"IPv6 gateway out of reach",
			[]act{f.v60, refused(replace(def6(1001, 1024, via("w0", "2001:db8:9::1", 1))), syscall.EHOSTUNREACH, "")},
			nil, nil, false},
		{"IPv6 link is down",
			[]act{f.v60, up("w0", false), refused(replace(def6(1001, 1024, f.gw60)), syscall.EHOSTUNREACH, "")},
			nil, nil, false},
		{"IPv6 link is down, link-local gateway",
			[]act{f.v60, up("w0", false), refused(replace(def6(1001, 1024, via("w0", "fe80::1", 1))), syscall.ENETDOWN, "evice is not up")},
			nil, nil, false},
		{"IPv6 link is down, onlink",
			[]act{f.v60, up("w0", false), refused(replace(def6(1001, 1024, onlink(f.gw60))), syscall.ENETDOWN, "evice is not up")},
			nil, nil, false},
		{"IPv6 main's defaults",
			[]act{f.v60, f.v61, other(add(by(def6(254, 1024, f.gw60), 9)), add(by(def6(254, 100, f.gw61), 16)))},
			nil, nil, true},
		{"IPv6 link goes down",
			[]act{f.v60, apply(replace(def6(1001, 1024, f.gw60)), replace(def6(1001, last))), up("w0", false)},
			[]routing.Route{def6(1001, last)}, nil, true},
		{"IPv6 one of two links goes down",
			[]act{f.v60, f.v61, apply(replace(def6(1002, 1024, f.weighted6...))), up("w0", false)},
			[]routing.Route{def6(1002, 1024, f.weighted6...)}, nil, true},
		{"IPv6 one of two is removed", []act{f.v60, f.v61, apply(replace(def6(1002, 1024, f.gw60, f.gw61))), remove("w0")},
			[]routing.Route{def6(1002, 1024, f.gw61)}, nil, true},
		{"IPv6 source is removed",
			[]act{f.v60, address("w0", "2001:db8:1::3/64"),
				apply(replace(src(def6(1001, 1024, f.gw60), "2001:db8:1::3"))), noAddress("w0", "2001:db8:1::3")},
			[]routing.Route{def6(1001, 1024, f.gw60)}, nil, true},
		{"IPv6 carrier is lost",
			[]act{f.v60, apply(replace(def6(1001, 1024, f.gw60))), cable("w0", false)},
			[]routing.Route{def6(1001, 1024, f.gw60)}, nil, true},
		{"IPv6 rules",
			[]act{apply(add(suppress(six(lookup(19999, 254)), 0)), add(from(lookup(20000, 1001), "2001:db8:1::2/128")), add(six(mark(lookup(20001, 1001), 1, 0xff))),
				add(six(lookup(5, 9))), del(six(lookup(5, 9))))},
			nil, []routing.Rule{suppress(six(lookup(19999, 254)), 0), from(lookup(20000, 1001), "2001:db8:1::2/128"), six(mark(lookup(20001, 1001), 1, 0xff))}, true},
	}
}
