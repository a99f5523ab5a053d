package routing_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// healthy is a host on which nothing is to be said.
func healthy(b numbers) (*config.Config, *routing.Observation) {
	cfg, obs := settled(b, routing.State{})
	obs.Links = append(obs.Links, link("lan0", "10.0.0.1/24"))
	return cfg, obs
}

// others are the rules of programs that live on routers.
func others() []routing.Rule {
	wireguard := markRule(32765, 51820, 0, 51820, 0xffffffff) // "not fwmark"
	wireguard.Other = true
	quick := lookup(32764, 254, 0)
	quick.SuppressPrefixLength = 0
	l3mdev := lookup(1000, 0, 2)
	l3mdev.Other = true
	unreachable := markRule(5250, 0, 0, 0x80000, 0xff0000)
	unreachable.Other = true
	return []routing.Rule{
		l3mdev,
		markRule(5210, 254, 0, 0x80000, 0xff0000), markRule(5230, 253, 0, 0x80000, 0xff0000), unreachable, // tailscale
		markRule(9, 2004, 0, 0x200, 0xf00), lookup(100, 255, 0), // cilium
		markRule(30, 100, 0, 0x4000, 0x4000), markRule(31, 101, 0, 0x8000, 0x8000), // kubernetes
		quick, wireguard,
	}
}

func TestInspectSaysNothing(t *testing.T) {
	for _, b := range []numbers{modern, original} {
		cfg, obs := healthy(b)
		obs.Have.Rules = append(obs.Have.Rules, others()...)
		if b == modern {
			obs.Defaults = []routing.Route{via(254, 16, 100, hop("eth1", "192.0.2.1"))}
		}
		if ws := routing.Inspect(cfg, obs); len(ws) != 0 {
			t.Errorf("base_priority %d: %v", b.priority, ws)
		}
		// The same before the first start, and with what the original left.
		obs.Have.Routes, obs.Have.Rules = nil, slices.Concat(kernelRules(), others())
		if ws := routing.Inspect(cfg, obs); len(ws) != 0 {
			t.Errorf("base_priority %d, before the first start: %v", b.priority, ws)
		}
		left := originalState(b, "192.0.2.1", "198.51.100.1", "203.0.113.1")
		obs.Have.Routes, obs.Have.Rules = left.Routes, slices.Concat(kernelRules(), left.Rules)
		if ws := routing.Inspect(cfg, obs); len(ws) != 0 {
			t.Errorf("base_priority %d, after the original with a longer list: %v", b.priority, ws)
		}
	}
}

func TestInspect(t *testing.T) {
	withRule := func(r routing.Rule) func(*config.Config, *routing.Observation) {
		return func(_ *config.Config, obs *routing.Observation) { obs.Have.Rules = append(obs.Have.Rules, r) }
	}
	withRoute := func(r routing.Route) func(*config.Config, *routing.Observation) {
		return func(_ *config.Config, obs *routing.Observation) { obs.Have.Routes = append(obs.Have.Routes, r) }
	}
	withoutSysctl := func(key string) func(*config.Config, *routing.Observation) {
		return func(_ *config.Config, obs *routing.Observation) {
			obs.Have.Sysctls = slices.DeleteFunc(slices.Clone(obs.Have.Sysctls), func(c routing.Sysctl) bool { return c.Key == key })
		}
	}
	blackhole := via(1, 3, 9)
	blackhole.Type = 6
	inside := via(2, 3, 0, hop("eth9", "10.0.0.1"))
	inside.Destination = fromRule(0, 0, 0, "10.1.2.3").From
	toRule := lookup(20001, 254, 0)
	toRule.Other = true
	mainDefault := func(_ *config.Config, obs *routing.Observation) {
		obs.Defaults = []routing.Route{via(254, 16, 100, hop("eth1", "192.0.2.1"))}
	}
	tests := []struct {
		name   string
		base   numbers
		change func(*config.Config, *routing.Observation)
		want   string
		code   string
		error  bool
	}{
		{
			"no ip_forward", modern, withoutSysctl("net/ipv4/ip_forward"),
			"net/ipv4/ip_forward: does not exist: this kernel does not route IPv4; check that /proc/sys is mounted", "no-forwarding", true,
		},
		{
			"no multipath", modern, withoutSysctl("net/ipv4/fib_multipath_hash_policy"),
			"net/ipv4/fib_multipath_hash_policy: does not exist: connections between two hosts all take one line; use a kernel of 4.12 or later with CONFIG_IP_ROUTE_MULTIPATH", "no-multipath", false,
		},
		{
			"static without its address", modern, func(_ *config.Config, obs *routing.Observation) { obs.Links[0].Addresses = nil },
			"uplink eth1 (eth1): address 192.0.2.2 is not on the interface; check it with: ip addr show dev eth1", "uplink-unusable", false,
		},
		{
			"dhcp without gateway", modern, func(cfg *config.Config, obs *routing.Observation) {
				cfg.Uplinks[0].Type, cfg.Uplinks[0].Address, cfg.Uplinks[0].Gateway = config.DHCP, addr(""), addr("")
				obs.Have.Routes = nil
			},
			"uplink eth1 (eth1): no gateway known; let the DHCP client keep its default route or its lease file, or use type static with a gateway", "uplink-unusable", false,
		},
		{
			"ppp not dialled", modern, func(cfg *config.Config, obs *routing.Observation) {
				cfg.Uplinks[0].Type, obs.Links = config.PPP, obs.Links[1:]
			},
			"uplink eth1 (eth1): interface does not exist; it is used as soon as this is over", "uplink-unusable", false,
		},
		{
			"strict rp_filter", modern, func(_ *config.Config, obs *routing.Observation) {
				obs.Have.Sysctls = slices.Clone(obs.Have.Sysctls)
				obs.Have.Sysctls[3].Value = "1"
			},
			"uplink eth1 (eth1): rp_filter is 1 (strict), which drops replies that arrive on this line; monitor sets it to 2 (loose); see that no other program sets it back", "rp-filter-strict", false,
		},
		{
			"no LAN", modern, func(_ *config.Config, obs *routing.Observation) { obs.Links = obs.Links[:2] },
			"interface lan0: does not exist; check the name under downlinks with: ip -br link", "inside-missing", false,
		},
		{
			"default in main that wins", original, mainDefault,
			`table main: has the default route "default via 192.0.2.1 dev eth1 table 254 metric 100 protocol 16", and with base_priority 40000 main is asked first: all traffic takes that route, balancing and failover do not happen; set base_priority to 20000 (existing firewall rules go on working), or remove the route`, "main-default-wins", false,
		},
		{
			"the same with a dhcp line", original, func(cfg *config.Config, obs *routing.Observation) {
				mainDefault(cfg, obs)
				cfg.Uplinks[0].Type = config.DHCP
			},
			`table main: has the default route "default via 192.0.2.1 dev eth1 table 254 metric 100 protocol 16", and with base_priority 40000 main is asked first: all traffic takes that route, balancing and failover do not happen; set base_priority to 20000 (existing firewall rules go on working), or remove the route`, "main-default-wins", true,
		},
		{
			"priority taken", modern, withRule(fromRule(20002, 700, 0, "10.0.0.9")),
			"rule 20002 (from 10.0.0.9 lookup 700 priority 20002): is not ours and stands among the priorities 19999 to 20004 of this configuration; change base_priority or move that rule", "priority-taken", false,
		},
		{
			"priority of the rule that asks main taken", modern, withRule(lookup(19999, 254, 0)),
			"rule 19999 (from all lookup 254 priority 19999): is not ours and stands among the priorities 19999 to 20004 of this configuration; change base_priority or move that rule", "priority-taken", false,
		},
		{
			"priority taken by a rule with more", modern, withRule(toRule),
			"rule 20001 (from all lookup 254 priority 20001 ...): is not ours and stands among the priorities 19999 to 20004 of this configuration; change base_priority or move that rule", "priority-taken", false,
		},
		{
			"mark taken", modern, withRule(markRule(1024, 254, 0, 0x80, 0x80)),
			"rule 1024 (from all fwmark 0x80/0x80 lookup 254 priority 1024): matches mark bits 0x80 that are ours (fwmark_mask 0xff); set base_fwmark and fwmark_mask to bits that nobody uses", "mark-taken", false,
		},
		{
			"table in use", modern, withRule(fromRule(100, 2, 0, "10.0.0.9")),
			"rule 100 (from 10.0.0.9 lookup 2 priority 100): leads to table 2, which belongs to this configuration; that is fine if it is meant to use that uplink; if not, change base_table or that rule", "table-taken", false,
		},
		{
			"everything goes elsewhere first", modern, withRule(lookup(5270, 52, 0)),
			"rule 5270 (from all lookup 52 priority 5270): asks table 52 for every packet before our rules are asked; if that table has a default route, no uplink is used: look with: ip route show table 52", "rule-before", false,
		},
		{
			"to a table of a high number too", original, withRule(lookup(5270, 51820, 0)),
			"rule 5270 (from all lookup 51820 priority 5270): asks table 51820 for every packet before our rules are asked; if that table has a default route, no uplink is used: look with: ip route show table 51820", "rule-before", false,
		},
		{
			"route in a table of ours", modern, withRoute(inside),
			`table 2: holds the route "10.1.2.3/32 via 10.0.0.1 dev eth9 table 2 protocol 3", which is not ours; change base_table, or remove the route if nothing needs it`, "table-taken", false,
		},
		{
			"route of another type", modern, withRoute(blackhole),
			`table 1: holds the route "blackhole default table 1 metric 9 protocol 3", which is not ours; change base_table, or remove the route if nothing needs it`, "table-taken", false,
		},
		{
			"route where ours belongs", modern, withRoute(via(1, 16, 0, hop("eth9", "10.0.0.1"))),
			`table 1: holds the route "default via 10.0.0.1 dev eth9 table 1 protocol 16", which is not ours and stands where ours belongs; change base_table, or remove the route if nothing needs it`, "table-taken", true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, obs := healthy(tt.base)
			tt.change(cfg, obs)
			ws := routing.Inspect(cfg, obs)
			if len(ws) != 1 {
				t.Fatalf("%d warnings, want one: %v", len(ws), ws)
			}
			if diff := cmp.Diff(tt.want, ws[0].String()); diff != "" {
				t.Errorf("warning (-want +got):\n%s", diff)
			}
			if ws[0].Code != tt.code || ws[0].Error != tt.error {
				t.Errorf("code %q, error %t; want %q, %t", ws[0].Code, ws[0].Error, tt.code, tt.error)
			}
		})
	}
}

// What Inspect reports as not ours, Plan does not touch; what Plan would touch, Inspect does not report.
func TestInspectAndPlanAgree(t *testing.T) {
	for _, protocol := range []uint8{0, 2, 3, 4, 16, 117} {
		for _, metric := range []uint32{0, 1, 100, 1<<32 - 1} {
			for _, table := range []uint32{1, 2, 3} {
				cfg, obs := healthy(modern)
				want := desire(cfg, obs)
				stray := via(table, protocol, metric, hop("eth9", "10.0.0.1"))
				obs.Have.Routes = append([]routing.Route{stray}, obs.Have.Routes...)
				touched := strings.Contains(lines(routing.Plan(cfg, obs.Have, want)), "eth9")
				reported := len(routing.Inspect(cfg, obs)) > 0
				if touched == reported {
					t.Errorf("%s: touched %t, reported %t", stray, touched, reported)
				}
			}
		}
	}
}

func TestWarningString(t *testing.T) {
	if got := (routing.Warning{Text: "it rains"}).String(); got != "it rains" {
		t.Errorf("String = %q", got)
	}
}
