package routing_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// example is a configuration as people have it: the original's bases, three lines of two kinds.
func example(b numbers) (*config.Config, *routing.Observation) {
	second := typed("ppp0", config.PPP)
	second.Weight = 3
	third := static("eth3", "198.51.100.2", "198.51.100.1")
	third.Grouped = false
	cfg := configure(b, static("eth1", "192.0.2.2", "192.0.2.1"), second, third)
	obs := &routing.Observation{Links: []routing.Link{
		link("eth1", "192.0.2.2/24"), ppp("ppp0", "203.0.113.5", "203.0.113.1"),
		link("eth3", "198.51.100.2/24"), link("lan0", "10.0.0.1/24"),
	}}
	obs.Have.Rules, obs.Have.Sysctls = kernelRules(), sysctlsOf(cfg)
	return cfg, obs
}

// desire is what should exist, with everything selected that can be.
func desire(cfg *config.Config, obs *routing.Observation) routing.State {
	paths := routing.Resolve(cfg, obs)
	return routing.Want(cfg, obs, paths, []routing.Selection{routing.Select(cfg, config.IPv4, paths, make([]health.Report, len(paths)), nil)})
}

const wantOriginal = `route default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117
route unreachable default table 1 metric 4294967295 protocol 117
route default via 203.0.113.1 dev ppp0 src 203.0.113.5 table 2 protocol 117
route unreachable default table 2 metric 4294967295 protocol 117
route default via 198.51.100.1 dev eth3 src 198.51.100.2 table 3 protocol 117
route unreachable default table 3 metric 4294967295 protocol 117
route default table 4 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 203.0.113.1 dev ppp0 weight 3
route default table 4 metric 1 protocol 117 nexthop via 192.0.2.1 dev eth1 weight 1 nexthop via 203.0.113.1 dev ppp0 weight 3
rule from 192.0.2.2 lookup 1 priority 40000 protocol 117
rule from 203.0.113.5 lookup 2 priority 40001 protocol 117
rule from 198.51.100.2 lookup 3 priority 40002 protocol 117
rule from all fwmark 0x1/0xff lookup 1 priority 40003 protocol 117
rule from all fwmark 0x2/0xff lookup 2 priority 40004 protocol 117
rule from all fwmark 0x3/0xff lookup 3 priority 40005 protocol 117
rule from all lookup 4 priority 40006 protocol 117
net/ipv4/ip_forward = 1
net/ipv4/fib_multipath_hash_policy = 1
net/ipv4/icmp_errors_use_inbound_ifaddr = 1
net/ipv4/conf/eth1/rp_filter = 2
net/ipv4/conf/eth1/ignore_routes_with_linkdown = 1
net/ipv4/conf/ppp0/rp_filter = 2
net/ipv4/conf/ppp0/ignore_routes_with_linkdown = 1
net/ipv4/conf/eth3/rp_filter = 2
net/ipv4/conf/eth3/ignore_routes_with_linkdown = 1
`

func TestWantOriginalNumbers(t *testing.T) {
	cfg, obs := example(original)
	if diff := cmp.Diff(wantOriginal, text(desire(cfg, obs))); diff != "" {
		t.Errorf("Want (-want +got):\n%s", diff)
	}
}

const wantBroken = `route unreachable default table 1 metric 4294967295 protocol 117
route unreachable default table 2 metric 4294967295 protocol 117
route default via 198.51.100.9 dev eth3 onlink src 198.51.100.2 table 3 protocol 117
route unreachable default table 3 metric 4294967295 protocol 117
route default via 198.51.100.9 dev eth3 onlink table 4 protocol 117
route default via 198.51.100.9 dev eth3 onlink table 4 metric 1 protocol 117
rule from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117
rule from 192.0.2.2 lookup 1 priority 20000 protocol 117
rule from 198.51.100.2 lookup 3 priority 20002 protocol 117
rule from 198.51.100.3 lookup 3 priority 20002 protocol 117
rule from all fwmark 0x1/0xff lookup 1 priority 20003 protocol 117
rule from all fwmark 0x2/0xff lookup 2 priority 20004 protocol 117
rule from all fwmark 0x3/0xff lookup 3 priority 20005 protocol 117
rule from all lookup 4 priority 20006 protocol 117
net/ipv4/ip_forward = 1
net/ipv4/fib_multipath_hash_policy = 1
net/ipv4/icmp_errors_use_inbound_ifaddr = 1
net/ipv4/conf/eth1/rp_filter = 2
net/ipv4/conf/eth1/ignore_routes_with_linkdown = 1
net/ipv4/conf/eth3/rp_filter = 2
net/ipv4/conf/eth3/ignore_routes_with_linkdown = 1
`

// One line is down, one is not there at all, the third has a gateway off its subnet and two addresses,
// one of which is the first line's.
func TestWantModernNumbersBrokenLines(t *testing.T) {
	cfg := configure(modern, static("eth1", "192.0.2.2", "192.0.2.1"), typed("ppp0", config.PPP), static("eth3", "198.51.100.2", "198.51.100.9"))
	cfg.Uplinks[2].Weight = 7 // of no matter while it is alone
	dead := link("eth1", "192.0.2.2/24")
	dead.Up = false
	obs := &routing.Observation{Links: []routing.Link{dead, link("eth3", "198.51.100.2/32", "198.51.100.3/32", "192.0.2.2/32")}}
	for _, c := range sysctlsOf(cfg) {
		if c.Key != "net/ipv4/conf/ppp0/rp_filter" && c.Key != "net/ipv4/conf/ppp0/ignore_routes_with_linkdown" {
			obs.Have.Sysctls = append(obs.Have.Sysctls, c)
		}
	}
	if diff := cmp.Diff(wantBroken, text(desire(cfg, obs))); diff != "" {
		t.Errorf("Want (-want +got):\n%s", diff)
	}
}

// Where no line can be routed, the defaults that are there stay, untagged ones too, and nobody else's
// become ours.
func TestWantKeepsDefaults(t *testing.T) {
	cfg := configure(modern, static("eth1", "192.0.2.2", "192.0.2.1"))
	other := via(2, 117, 1, hop("eth1", "192.0.2.1"))
	other.Other = true
	tests := []struct {
		name string
		have []routing.Route
		want []routing.Route
	}{
		{"nothing", nil, nil},
		{
			"ours", []routing.Route{via(2, 117, 0, hop("eth1", "192.0.2.1")), via(2, 117, 1, hop("eth1", "192.0.2.1"))},
			[]routing.Route{via(2, 117, 0, hop("eth1", "192.0.2.1")), via(2, 117, 1, hop("eth1", "192.0.2.1"))},
		},
		{"the original's", []routing.Route{via(2, 3, 0, hop("eth1", "192.0.2.1"))}, []routing.Route{via(2, 3, 0, hop("eth1", "192.0.2.1"))}},
		{"one a place", []routing.Route{via(2, 117, 0, hop("eth1", "192.0.2.1")), via(2, 117, 0, hop("eth2", "192.0.2.1"))}, []routing.Route{via(2, 117, 0, hop("eth1", "192.0.2.1"))}},
		{"what we cannot write", []routing.Route{other}, nil},
		{"ours at no place of ours", []routing.Route{via(2, 117, 7, hop("eth1", "192.0.2.1"))}, nil},
		{"of another's", []routing.Route{via(2, 16, 0, hop("eth1", "192.0.2.1")), via(2, 3, 100, hop("eth1", "192.0.2.1"))}, nil},
		{"of a line that had this table", []routing.Route{deadEnd(2)}, nil},
		{"of another table", []routing.Route{via(9, 117, 0, hop("eth1", "192.0.2.1"))}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			obs := &routing.Observation{Have: routing.State{Routes: tt.have}}
			got := desire(cfg, obs)
			if diff := cmp.Diff(append([]routing.Route{deadEnd(1)}, tt.want...), got.Routes, byValue); diff != "" {
				t.Errorf("Want (-want +got):\n%s", diff)
			}
			for _, s := range routing.Plan(cfg, obs.Have, got) {
				if s.Route != nil && s.Route.Other && s.Op != routing.Delete {
					t.Errorf("step that nobody can apply: %s", s)
				}
			}
		})
	}
}

// An IPv6 path has the same shape.
func TestWantIPv6(t *testing.T) {
	inet6 := config.Inet6{On: true, NAT: config.KeepAddress}
	cfg := configure(modern, config.Uplink{Interface: "eth1", Grouped: true, Group: 1, Inet6: inet6}, config.Uplink{Interface: "eth2", Inet6: inet6}, config.Uplink{Interface: "eth3"})
	paths := []routing.Path{
		{Family: config.IPv6, Interface: "eth1", Source: addr("2001:db8::2"), Gateway: addr("fe80::1"), Prefix: netip.MustParsePrefix("2001:db8:1200::/48"), Routable: true},
		{Uplink: 1, Family: config.IPv6, Interface: "eth2", Prefix: netip.MustParsePrefix("2001:db8:3400::/48")},
	}
	got := routing.Want(cfg, &routing.Observation{}, paths, []routing.Selection{{Family: config.IPv6, Members: []routing.Member{{Uplink: 0, Weight: 1}}}})
	// Hosts with an address of the second line do not leave by the first one, also while it has no way.
	const want = `route default via fe80::1 dev eth1 src 2001:db8::2 table 1 metric 1024 protocol 117
route unreachable default table 1 metric 4294967295 protocol 117
route unreachable default table 2 metric 4294967295 protocol 117
route default via fe80::1 dev eth1 table 4 metric 1024 protocol 117
route default via fe80::1 dev eth1 table 4 metric 1025 protocol 117
route unreachable 2001:db8:1200::/48 table 4 metric 1024 protocol 117
route unreachable 2001:db8:3400::/48 table 4 metric 1024 protocol 117
rule from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117
rule from 2001:db8:1200::/48 lookup 1 priority 20000 protocol 117
rule from 2001:db8::2 lookup 1 priority 20000 protocol 117
rule from 2001:db8:3400::/48 lookup 2 priority 20001 protocol 117
rule from all fwmark 0x1/0xff lookup 1 priority 20003 protocol 117
rule from all fwmark 0x2/0xff lookup 2 priority 20004 protocol 117
rule from all lookup 4 priority 20006 protocol 117
`
	if diff := cmp.Diff(want, text(got)); diff != "" {
		t.Errorf("Want (-want +got):\n%s", diff)
	}
}

func TestScopeOf(t *testing.T) {
	cfg := configure(original, static("eth1", "192.0.2.2", "192.0.2.1"), typed("ppp0", config.PPP))
	cfg.DMZ = []string{"dmz0"}
	want := routing.Scope{
		Families: []config.Family{config.IPv4}, Interfaces: []string{"eth1", "ppp0", "lan0", "dmz0"}, Tables: []uint32{1, 2, 3},
		FirstPriority: 40000, LastPriority: 40502,
		Sysctls: []string{
			"net/ipv4/ip_forward", "net/ipv4/fib_multipath_hash_policy", "net/ipv4/icmp_errors_use_inbound_ifaddr",
			"net/ipv4/conf/all/rp_filter",
			"net/ipv4/conf/eth1/rp_filter", "net/ipv4/conf/eth1/ignore_routes_with_linkdown",
			"net/ipv4/conf/ppp0/rp_filter", "net/ipv4/conf/ppp0/ignore_routes_with_linkdown",
		},
	}
	if diff := cmp.Diff(want, routing.ScopeOf(cfg)); diff != "" {
		t.Errorf("ScopeOf (-want +got):\n%s", diff)
	}
}

// The rules that are looked at never pass main's own, nor wrap around.
func TestScopeOfEdges(t *testing.T) {
	for _, tt := range []struct{ base, last uint32 }{
		{2, 504}, {32000, 32502}, {32500, 32765}, {32763, 32765}, {32768, 33270}, {40000, 40502}, {4294967293, 4294967295}, {4294966795, 4294967295},
	} {
		cfg := configure(numbers{1, tt.base, 1}, static("eth1", "192.0.2.2", "192.0.2.1"))
		if got := routing.ScopeOf(cfg).LastPriority; got != tt.last {
			t.Errorf("base_priority %d: LastPriority = %d, want %d", tt.base, got, tt.last)
		}
	}
}

// The edges of every number that a configuration can have: all rules in ascending order, none at the
// place of the kernel's.
func TestWantNumberEdges(t *testing.T) {
	for _, b := range []numbers{{1, 2, 1}, {249, 32763, 1}, {1, 32768, 1}, {1, 40000, 1}, {1, 1<<32 - 3, 1<<32 - 1}} {
		cfg := configure(b, static("eth1", "192.0.2.2", "192.0.2.1"))
		cfg.Numbers.Mask = 1<<32 - 1
		obs := &routing.Observation{Links: []routing.Link{link("eth1", "192.0.2.2/24")}}
		state := desire(cfg, obs)
		last := uint32(0)
		for _, r := range state.Rules {
			if r.Priority <= last || r.Priority == 32766 || r.Priority == 32767 {
				t.Errorf("base_priority %d: priority %d after %d", b.priority, r.Priority, last)
			}
			last = r.Priority
		}
		if first := state.Rules[0]; (first.SuppressPrefixLength == 0) != (b.priority < 32766) {
			t.Errorf("base_priority %d: first rule %s", b.priority, first)
		}
		if steps := routing.Plan(cfg, state, state); len(steps) != 0 {
			t.Errorf("base_priority %d: steps from a state to itself:\n%s", b.priority, lines(steps))
		}
		for _, r := range state.Rules {
			r.Protocol = 0
			routing.Adoptable(cfg, r)
		}
	}
}

func TestTablesToRead(t *testing.T) {
	scope := routing.Scope{Tables: []uint32{1, 2}, FirstPriority: 100, LastPriority: 200}
	rules := []routing.Rule{
		lookup(0, 255, 2), lookup(50, 7, 0), lookup(60, 8, 117), lookup(100, 2, 0), lookup(150, 9, 0), lookup(160, 254, 117),
		lookup(170, 0, 0), lookup(200, 10, 4), lookup(201, 11, 0), lookup(32766, 254, 2),
	}
	if diff := cmp.Diff([]uint32{1, 2, 8, 9, 10}, scope.TablesToRead(rules)); diff != "" {
		t.Errorf("TablesToRead (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{8}, routing.Scope{}.TablesToRead(rules)); diff != "" {
		t.Errorf("TablesToRead without a scope (-want +got):\n%s", diff)
	}
}

func TestObservationLink(t *testing.T) {
	obs := routing.Observation{Links: []routing.Link{{Name: "eth0"}, {Name: "eth0.100", Index: 7}}}
	if l, ok := obs.Link("eth0.100"); !ok || l.Index != 7 {
		t.Errorf("Link = %v, %t", l, ok)
	}
	if _, ok := obs.Link("eth0.1"); ok {
		t.Error("found a link that is not there")
	}
}
