package routing_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// two is a configuration of two lines, and a host where it runs.
func two(b numbers) (*config.Config, *routing.Observation) {
	cfg := configure(b, static("eth1", "192.0.2.2", "192.0.2.1"), static("eth2", "198.51.100.2", "198.51.100.1"))
	obs := &routing.Observation{Links: []routing.Link{link("eth1", "192.0.2.2/24"), link("eth2", "198.51.100.2/24")}}
	obs.Have.Rules, obs.Have.Sysctls = kernelRules(), sysctlsOf(cfg)
	return cfg, obs
}

// settled is the state of a host where two ran, with what others have there.
func settled(b numbers, foreign routing.State) (*config.Config, *routing.Observation) {
	cfg, obs := two(b)
	want := desire(cfg, obs)
	obs.Have = routing.State{
		Routes:  slices.Concat(foreign.Routes, want.Routes),
		Rules:   slices.Concat(kernelRules(), foreign.Rules, want.Rules),
		Sysctls: want.Sysctls,
	}
	return cfg, obs
}

func TestPlanFirstStart(t *testing.T) {
	cfg, obs := two(modern)
	const want = `sysctl -w net/ipv4/ip_forward=1
sysctl -w net/ipv4/fib_multipath_hash_policy=1
sysctl -w net/ipv4/icmp_errors_use_inbound_ifaddr=1
sysctl -w net/ipv4/conf/eth1/rp_filter=2
sysctl -w net/ipv4/conf/eth1/ignore_routes_with_linkdown=1
sysctl -w net/ipv4/conf/eth2/rp_filter=2
sysctl -w net/ipv4/conf/eth2/ignore_routes_with_linkdown=1
ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117
ip route replace unreachable default table 1 metric 4294967295 protocol 117
ip route replace default via 198.51.100.1 dev eth2 src 198.51.100.2 table 2 protocol 117
ip route replace unreachable default table 2 metric 4294967295 protocol 117
ip route replace default table 3 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 198.51.100.1 dev eth2 weight 1
ip route replace default table 3 metric 1 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 198.51.100.1 dev eth2 weight 1
ip rule add from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117
ip rule add from 192.0.2.2 lookup 1 priority 20000 protocol 117
ip rule add from 198.51.100.2 lookup 2 priority 20001 protocol 117
ip rule add from all fwmark 0x1/0xff lookup 1 priority 20002 protocol 117
ip rule add from all fwmark 0x2/0xff lookup 2 priority 20003 protocol 117
ip rule add from all lookup 3 priority 20004 protocol 117
`
	steps := routing.Plan(cfg, obs.Have, desire(cfg, obs))
	if diff := cmp.Diff(want, lines(steps)); diff != "" {
		t.Errorf("Plan (-want +got):\n%s", diff)
	}
	if steps[0].Old != "0" {
		t.Errorf("the value found was %q, want 0", steps[0].Old)
	}
}

// originalState is what the original program leaves behind for n lines wan0 to wan(n-1).
func originalState(b numbers, gateways ...string) routing.State {
	n := uint32(len(gateways))
	var s routing.State
	var hops []routing.NextHop
	for i, g := range gateways {
		device, own, line := "eth"+string(rune('1'+i)), addr(g).Next().String(), uint32(i)
		s.Routes = append(s.Routes, withSource(via(b.table+line, 3, 0, hop(device, g)), own))
		s.Rules = append(s.Rules,
			fromRule(b.priority+line, b.table+line, 0, own),
			markRule(b.priority+n+line, b.table+line, 0, b.mark+line, 0xffffffff))
		hops = append(hops, hop(device, g))
	}
	s.Routes = append(s.Routes, via(b.table+n, 3, 0, hops...))
	s.Rules = append(s.Rules, lookup(b.priority+2*n, b.table+n, 0))
	slices.SortStableFunc(s.Rules, func(a, b routing.Rule) int { return int(a.Priority) - int(b.Priority) })
	return s
}

func TestPlanAdoptsTheOriginal(t *testing.T) {
	cfg, obs := two(original)
	want := desire(cfg, obs)
	left := originalState(original, "192.0.2.1", "198.51.100.1")
	obs.Have = routing.State{Routes: left.Routes, Rules: append(kernelRules(), left.Rules...), Sysctls: want.Sysctls}
	const text = `ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117
ip route replace unreachable default table 1 metric 4294967295 protocol 117
ip route replace default via 198.51.100.1 dev eth2 src 198.51.100.2 table 2 protocol 117
ip route replace unreachable default table 2 metric 4294967295 protocol 117
ip route replace default table 3 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 198.51.100.1 dev eth2 weight 1
ip route replace default table 3 metric 1 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 198.51.100.1 dev eth2 weight 1
ip rule add from 192.0.2.2 lookup 1 priority 40000 protocol 117
ip rule add from 198.51.100.2 lookup 2 priority 40001 protocol 117
ip rule add from all fwmark 0x1/0xff lookup 1 priority 40002 protocol 117
ip rule add from all fwmark 0x2/0xff lookup 2 priority 40003 protocol 117
ip rule add from all lookup 3 priority 40004 protocol 117
ip rule delete from all lookup 3 priority 40004
ip rule delete from all fwmark 0x2/0xffffffff lookup 2 priority 40003
ip rule delete from all fwmark 0x1/0xffffffff lookup 1 priority 40002
ip rule delete from 198.51.100.2 lookup 2 priority 40001
ip rule delete from 192.0.2.2 lookup 1 priority 40000
`
	if diff := cmp.Diff(text, lines(routing.Plan(cfg, obs.Have, want))); diff != "" {
		t.Errorf("Plan (-want +got):\n%s", diff)
	}
	if s := routing.Adopt(cfg, config.IPv4, obs.Have); s == nil || !s.Has(0) || !s.Has(1) {
		t.Errorf("Adopt = %v, want both lines", s)
	}
}

// The list was longer: five lines became two, and what the other three had goes too. The administrator's
// own, at the same tables and priorities, stays.
func TestPlanAdoptsALongerList(t *testing.T) {
	cfg, obs := two(original)
	want := desire(cfg, obs)
	left := originalState(original, "192.0.2.1", "198.51.100.1", "203.0.113.1", "203.0.113.65", "203.0.113.129")
	foreign := routing.State{
		Routes: []routing.Route{via(5, 3, 100, hop("eth5", "203.0.113.130")), via(5, 16, 0, hop("eth5", "203.0.113.130")), via(9, 3, 0, hop("eth1", "192.0.2.9"))},
		Rules:  []routing.Rule{fromRule(40003, 9, 0, "10.9.9.9"), fromRule(40004, 254, 0, "10.9.9.9")},
	}
	obs.Have = routing.State{
		Routes: slices.Concat(left.Routes, foreign.Routes), Rules: slices.Concat(kernelRules(), left.Rules, foreign.Rules), Sysctls: want.Sysctls,
	}
	steps := routing.Plan(cfg, obs.Have, want)
	first := slices.IndexFunc(steps, func(s routing.Step) bool { return s.Op == routing.Delete })
	const text = `ip route delete default via 203.0.113.65 dev eth4 src 203.0.113.66 table 4 protocol 3
ip route delete default via 203.0.113.129 dev eth5 src 203.0.113.130 table 5 protocol 3
ip route delete default table 6 protocol 3 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 198.51.100.1 dev eth2 weight 1 nexthop via 203.0.113.1 dev eth3 weight 1 nexthop via 203.0.113.65 dev eth4 weight 1 nexthop via 203.0.113.129 dev eth5 weight 1
ip rule delete from all lookup 6 priority 40010
ip rule delete from all fwmark 0x5/0xffffffff lookup 5 priority 40009
ip rule delete from all fwmark 0x4/0xffffffff lookup 4 priority 40008
ip rule delete from all fwmark 0x3/0xffffffff lookup 3 priority 40007
ip rule delete from all fwmark 0x2/0xffffffff lookup 2 priority 40006
ip rule delete from all fwmark 0x1/0xffffffff lookup 1 priority 40005
ip rule delete from 203.0.113.130 lookup 5 priority 40004
ip rule delete from 203.0.113.66 lookup 4 priority 40003
ip rule delete from 203.0.113.2 lookup 3 priority 40002
ip rule delete from 198.51.100.2 lookup 2 priority 40001
ip rule delete from 192.0.2.2 lookup 1 priority 40000
`
	if diff := cmp.Diff(text, lines(steps[first:])); diff != "" {
		t.Errorf("deletions (-want +got):\n%s", diff)
	}
}

func TestPlanDrift(t *testing.T) {
	wanRoute := withSource(via(1, 117, 0, hop("eth1", "192.0.2.1")), "192.0.2.2")
	intruder := withSource(via(1, 3, 0, hop("eth1", "192.0.2.77")), "192.0.2.2")
	foreign := withSource(via(1, 16, 0, hop("eth1", "192.0.2.77")), "192.0.2.2")
	strange := via(1, 117, 0, hop("eth1", "192.0.2.1"))
	strange.Other = true
	replace := func(old routing.Route, with ...routing.Route) func(*routing.State) {
		return func(s *routing.State) {
			i := slices.IndexFunc(s.Routes, old.Equal)
			s.Routes = slices.Concat(s.Routes[:i:i], with, s.Routes[i+1:])
		}
	}
	suppress := lookup(19999, 254, 117)
	suppress.SuppressPrefixLength = 0
	tests := []struct {
		name   string
		change func(*routing.State)
		want   string
	}{
		{"nothing", func(*routing.State) {}, ""},
		{"sysctl", func(s *routing.State) { s.Sysctls[3].Value = "1" }, "sysctl -w net/ipv4/conf/eth1/rp_filter=2\n"},
		{"route gone", replace(wanRoute), "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117\n"},
		{"route changed", replace(wanRoute, intruder), "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117\n"},
		{"tagged route that cannot be expressed", replace(wanRoute, strange), "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117\n"},
		{"route before ours at the same place", replace(wanRoute, intruder, wanRoute), "ip route delete default via 192.0.2.77 dev eth1 src 192.0.2.2 table 1 protocol 3\n"},
		{"route behind ours at the same place", replace(wanRoute, wanRoute, intruder), "ip route delete default via 192.0.2.77 dev eth1 src 192.0.2.2 table 1 protocol 3\n"},
		{
			"two at the place and none is ours", replace(wanRoute, intruder, withSource(via(1, 3, 0, hop("eth1", "192.0.2.78")), "192.0.2.2")),
			"ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117\nip route delete default via 192.0.2.78 dev eth1 src 192.0.2.2 table 1 protocol 3\n",
		},
		{"somebody else's at our place is left alone", replace(wanRoute, foreign), ""},
		{"somebody else's before ours is left alone", replace(wanRoute, foreign, wanRoute), ""},
		{"tagged route at no place of ours", func(s *routing.State) { s.Routes = append(s.Routes, via(1, 117, 7, hop("eth1", "192.0.2.1"))) }, "ip route delete default via 192.0.2.1 dev eth1 table 1 metric 7 protocol 117\n"},
		{"rule gone", func(s *routing.State) {
			s.Rules = slices.DeleteFunc(s.Rules, func(r routing.Rule) bool { return r == suppress })
		}, "ip rule add from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117\n"},
		{"rule twice", func(s *routing.State) { s.Rules = append(s.Rules, suppress) }, "ip rule delete from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117\n"},
		{"tagged rule elsewhere", func(s *routing.State) { s.Rules = append(s.Rules, lookup(7, 8, 117)) }, "ip rule delete from all lookup 8 priority 7 protocol 117\n"},
		{"the original was started again", func(s *routing.State) { s.Rules = append(s.Rules, lookup(20004, 3, 0)) }, "ip rule delete from all lookup 3 priority 20004\n"},
		{"all rules flushed but one", func(s *routing.State) { s.Rules = s.Rules[:len(s.Rules)-1] }, "ip rule add from all lookup 3 priority 20004 protocol 117\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, obs := settled(modern, routing.State{})
			want := desire(cfg, obs)
			tt.change(&obs.Have)
			if diff := cmp.Diff(tt.want, lines(routing.Plan(cfg, obs.Have, want))); diff != "" {
				t.Errorf("Plan (-want +got):\n%s", diff)
			}
		})
	}
}

// What the administrator and other programs have next to us, at our places too, gives no step.
func TestPlanLeavesOthersAlone(t *testing.T) {
	mine := lookup(20001, 8, 117)
	mine.Other = true
	selective := lookup(20004, 3, 0)
	selective.Other = true
	suppressing := lookup(20004, 3, 0)
	suppressing.SuppressPrefixLength = 0
	subnet := lookup(20000, 1, 0)
	subnet.From = via(1, 0, 0).Destination
	inside := via(1, 3, 0, hop("eth9", "10.0.0.1"))
	inside.Destination = fromRule(0, 0, 0, "10.1.2.3").From
	strange := via(1, 3, 0, hop("eth1", "192.0.2.1"))
	strange.Other, strange.Metric = true, 3
	blackhole := via(2, 3, 0)
	blackhole.Type, blackhole.Metric = routing.Unreachable, 20
	foreign := routing.State{
		Rules: []routing.Rule{
			mine, selective, suppressing, subnet, lookup(5, 1, 0), lookup(20000, 51820, 0), fromRule(20001, 1, 0, "10.0.0.9"),
			fromRule(20000, 1, 4, "10.0.0.9"), markRule(20002, 1, 0, 1, 0xffff), markRule(20003, 2, 0, 1, 0xffffffff), lookup(20003, 2, 0),
		},
		Routes: []routing.Route{inside, strange, blackhole, via(254, 3, 0, hop("eth9", "10.0.0.1")), via(1, 3, 50, hop("eth9", "10.0.0.1")), via(300, 3, 0, hop("eth9", "10.0.0.1"))},
	}
	cfg, obs := settled(modern, foreign)
	if steps := routing.Plan(cfg, obs.Have, desire(cfg, obs)); len(steps) != 0 {
		t.Errorf("steps where nothing of ours is wrong:\n%s", lines(steps))
	}
}

// A base_table from which the place of a rule falls on a table of the kernel's: main is never emptied.
func TestPlanNeverAdoptsMain(t *testing.T) {
	cfg, obs := settled(numbers{10, 40000, 1}, routing.State{
		Rules:  []routing.Rule{fromRule(40244, 254, 0, "10.0.0.9"), markRule(40489, 254, 0, 245, 0xffffffff), lookup(40488, 254, 0), lookup(40490, 255, 0)},
		Routes: []routing.Route{via(254, 3, 0, hop("eth9", "10.0.0.1")), via(255, 3, 0, hop("eth9", "10.0.0.1"))},
	})
	if steps := routing.Plan(cfg, obs.Have, desire(cfg, obs)); len(steps) != 0 {
		t.Errorf("steps against the administrator's own:\n%s", lines(steps))
	}
}

func TestAdoptable(t *testing.T) {
	const all = 0xffffffff
	with := func(r routing.Rule, change func(*routing.Rule)) routing.Rule {
		change(&r)
		return r
	}
	tests := []struct {
		name string
		rule routing.Rule
		want bool
	}{
		{"from, first line", fromRule(40000, 10, 0, "192.0.2.2"), true},
		{"from, made by an ip that writes boot", fromRule(40000, 10, 3, "192.0.2.2"), true},
		{"from, last line that fits before the kernel's tables", fromRule(40242, 252, 0, "192.0.2.2"), true},
		{"from, kernel's table", fromRule(40243, 253, 0, "192.0.2.2"), false},
		{"from, main", fromRule(40244, 254, 0, "192.0.2.2"), false},
		{"from, beyond the longest list", fromRule(40250, 260, 0, "192.0.2.2"), false},
		{"from, a table that is not of the place", fromRule(40001, 10, 0, "192.0.2.2"), false},
		{"from, table below ours", fromRule(40000, 9, 0, "192.0.2.2"), false},
		{"from, before our places", fromRule(39999, 10, 0, "192.0.2.2"), false},
		{"from a network", with(fromRule(40000, 10, 0, "192.0.2.2"), func(r *routing.Rule) { r.From = via(0, 0, 0).Destination }), false},
		{"from with a mark", with(fromRule(40000, 10, 0, "192.0.2.2"), func(r *routing.Rule) { r.Mark, r.Mask = 1, all }), false},
		{"mark, first of one", markRule(40001, 10, 0, 1, all), true},
		{"mark, first of the longest list", markRule(40250, 10, 0, 1, all), true},
		{"mark, first of a longer list", markRule(40251, 10, 0, 1, all), false},
		{"mark, third of three", markRule(40005, 12, 0, 3, all), true},
		{"mark, third of two", markRule(40004, 12, 0, 3, all), false},
		{"mark of another line", markRule(40005, 12, 0, 2, all), false},
		{"mark with a mask, which the original did not know", markRule(40005, 12, 0, 3, 0xff), false},
		{"mark without bits", markRule(40005, 12, 0, 3, 0), false},
		{"default, one line", lookup(40002, 11, 0), true},
		{"default, five lines", lookup(40010, 15, 0), true},
		{"default, no lines", lookup(40000, 10, 0), false},
		{"default at a line's place", lookup(40001, 11, 0), false},
		{"suppressing", with(lookup(40002, 11, 0), func(r *routing.Rule) { r.SuppressPrefixLength = 0 }), false},
		{"with more than that", with(lookup(40002, 11, 0), func(r *routing.Rule) { r.Other = true }), false},
		{"IPv6, which the original did not know", with(lookup(40002, 11, 0), func(r *routing.Rule) { r.Family = config.IPv6 }), false},
		{"a network manager's", lookup(40002, 11, 4), false},
		{"the kernel's", lookup(40002, 11, 2), false},
		{"ours", lookup(40002, 11, 117), false},
	}
	cfg := configure(numbers{10, 40000, 1}, static("eth1", "192.0.2.2", "192.0.2.1"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := routing.Adoptable(cfg, tt.rule); got != tt.want {
				t.Errorf("Adoptable(%s) = %t, want %t", tt.rule, got, tt.want)
			}
		})
	}
}

func TestCleanupPlan(t *testing.T) {
	other := lookup(20009, 9, 117)
	other.Other = true
	owned := routing.State{
		Rules:   []routing.Rule{lookup(0, 255, 2), fromRule(20000, 1, 117, "192.0.2.2"), other, lookup(20004, 3, 117), lookup(20004, 3, 0)},
		Routes:  []routing.Route{via(1, 117, 0, hop("eth1", "192.0.2.1")), deadEnd(1), via(254, 3, 0, hop("eth1", "192.0.2.1"))},
		Sysctls: []routing.Sysctl{{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/eth1/rp_filter", "2"}, {"net/ipv4/conf/eth2/rp_filter", "1"}, {"net/ipv4/fib_multipath_hash_policy", "1"}},
	}
	saved := []routing.Sysctl{
		{"net/ipv4/ip_forward", "0"},
		{"net/ipv4/conf/eth1/rp_filter", "1"},
		{"net/ipv4/conf/eth2/rp_filter", "0"},          // somebody changed it since
		{"net/ipv4/conf/eth3/rp_filter", "0"},          // the interface is gone
		{"net/ipv4/fib_multipath_hash_policy", "1"},    // it was so before
		{"net/ipv4/conf/eth1/ignore_routes_with", "1"}, // never was one of ours
	}
	const want = `ip rule delete from 192.0.2.2 lookup 1 priority 20000 protocol 117
ip rule delete from all lookup 3 priority 20004 protocol 117
ip route delete default via 192.0.2.1 dev eth1 table 1 protocol 117
ip route delete unreachable default table 1 metric 4294967295 protocol 117
sysctl -w net/ipv4/ip_forward=0
sysctl -w net/ipv4/conf/eth1/rp_filter=1
`
	if diff := cmp.Diff(want, lines(routing.CleanupPlan(owned, saved))); diff != "" {
		t.Errorf("CleanupPlan (-want +got):\n%s", diff)
	}
}
