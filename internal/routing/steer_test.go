package routing_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// wantSteered are the routes and rules that steering adds to those of example.
const wantSteered = `route default via 192.0.2.1 dev eth1 table 11700 protocol 117
route default via 192.0.2.1 dev eth1 table 11700 metric 1 protocol 117
route default via 203.0.113.1 dev ppp0 table 11701 protocol 117
route default via 203.0.113.1 dev ppp0 table 11701 metric 1 protocol 117
rule from all fwmark 0x1/0xff lookup 1 priority 20000 protocol 117
rule from all fwmark 0x2/0xff lookup 2 priority 20001 protocol 117
rule from all fwmark 0x3/0xff lookup 3 priority 20002 protocol 117
rule from 192.0.2.2 lookup 1 priority 20003 protocol 117
rule from 203.0.113.5 lookup 2 priority 20004 protocol 117
rule from 198.51.100.2 lookup 3 priority 20005 protocol 117
rule from all fwmark 0x100/0xff00 lookup 11700 priority 20006 protocol 117
rule from all fwmark 0x200/0xff00 lookup 11701 priority 20006 protocol 117
rule from all lookup 4 priority 20007 protocol 117
`

func TestWantSteers(t *testing.T) {
	cfg, obs := example(modern)
	plain := strings.Split(text(desire(cfg, obs)), "\n")
	added := func(in string) string {
		var b strings.Builder
		for line := range strings.Lines(in) {
			if !slices.Contains(plain, strings.TrimSuffix(line, "\n")) {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	if diff := cmp.Diff(wantSteered, added(text(desire(managed(cfg), obs)))); diff != "" {
		t.Errorf("Want (-want +got):\n%s", diff)
	}
}

// steered prints where the tables of the steers lead, and the default table last.
func steered(cfg *config.Config, s routing.State) []string {
	var all []string
	for _, table := range append(tablesOf(cfg), cfg.Numbers.DefaultTable) {
		way := "none"
		for _, r := range s.Routes {
			if r.Table == table && r.Metric == 1 {
				way = ""
				for _, h := range r.NextHops {
					way += h.Interface + " "
				}
			}
		}
		all = append(all, strings.TrimSpace(way))
	}
	return all
}

func tablesOf(cfg *config.Config) []uint32 {
	var tables []uint32
	for _, s := range cfg.Steers {
		tables = append(tables, s.Table)
	}
	return tables
}

// The turns of lines that are down, of another group or not there go to those that are selected.
func TestSteersLeadToTheLiving(t *testing.T) {
	third := static("eth3", "198.51.100.2", "198.51.100.1")
	third.Group = 2
	cfg := managed(configure(modern, static("eth1", "192.0.2.2", "192.0.2.1"), static("eth2", "203.0.113.2", "203.0.113.1"), third))
	full := []routing.Link{link("eth1", "192.0.2.2/24"), link("eth2", "203.0.113.2/24"), link("eth3", "198.51.100.2/24")}
	kept := &routing.Selection{Family: config.IPv4, Members: []routing.Member{{Uplink: 1, Weight: 1}}}
	for _, test := range []struct {
		name     string
		links    []routing.Link
		states   []health.State
		previous *routing.Selection
		want     []string
	}{
		{"all are well", full, []health.State{up, up, up}, nil, []string{"eth1", "eth2", "eth1 eth2", "eth1 eth2"}},
		{"one is down", full, []health.State{down, up, up}, nil, []string{"eth2", "eth2", "eth2", "eth2"}},
		{"the group is down", full, []health.State{down, down, up}, nil, []string{"eth3", "eth3", "eth3", "eth3"}},
		{"all are down", full, []health.State{down, down, down}, kept, []string{"eth2", "eth2", "eth2", "eth2"}},
		{"one is not there", full[1:], []health.State{unknown, up, up}, nil, []string{"eth2", "eth2", "eth2", "eth2"}},
		{"none is there", nil, []health.State{down, down, down}, kept, []string{"none", "none", "none", "none"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			obs := &routing.Observation{Links: test.links}
			paths := routing.Resolve(cfg, obs)
			selection := routing.Select(cfg, config.IPv4, paths, judged(test.states), test.previous)
			got := steered(cfg, routing.Want(cfg, obs, paths, []routing.Selection{selection}))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ways (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeal(t *testing.T) {
	first, second, third := typed("eth1", config.DHCP), typed("eth2", config.DHCP), typed("eth3", config.DHCP)
	second.Weight, third.Group = 2, 2
	cfg := configure(modern, first, second, third)
	paths := []routing.Path{{Family: config.IPv4}, {Family: config.IPv4, Uplink: 1}, {Family: config.IPv4, Uplink: 2}, {Family: config.IPv6, Uplink: 2}}
	of := func(uplinks ...int) routing.Selection {
		s := routing.Selection{Family: config.IPv4}
		for _, u := range uplinks {
			s.Members = append(s.Members, routing.Member{Uplink: u, Weight: 1})
		}
		return s
	}
	six := routing.Selection{Family: config.IPv6, Members: []routing.Member{{Uplink: 2, Weight: 1}}}
	for _, test := range []struct {
		name     string
		percents [3]int
		selected routing.Selection
		want     []routing.Member
	}{
		{"nothing is selected", [3]int{}, of(), nil},
		{"all are well", [3]int{}, of(0, 1), []routing.Member{{Uplink: 0, Weight: 1}, {Uplink: 1, Weight: 2}}},
		{"one is down", [3]int{}, of(1), []routing.Member{{Uplink: 0, Weight: 1}, {Uplink: 1, Weight: 2}}},
		{"one is bad", [3]int{100, 25, 100}, of(0, 1), []routing.Member{{Uplink: 0, Weight: 2}, {Uplink: 1, Weight: 1}}},
		{"the group is down", [3]int{100, 25, 25}, of(2), []routing.Member{{Uplink: 2, Weight: 1}}},
		{"of IPv6", [3]int{}, six, []routing.Member{{Uplink: 2, Weight: 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			reports := make([]health.Report, len(paths))
			for i, percent := range test.percents {
				reports[i].WeightPercent = percent
			}
			if diff := cmp.Diff(test.want, routing.Deal(cfg, paths, reports, test.selected)); diff != "" {
				t.Errorf("Deal (-want +got):\n%s", diff)
			}
		})
	}
}

// Rules and routes of others that meddle with steering are told.
func TestInspectSteers(t *testing.T) {
	cfg, obs := example(modern)
	managed(cfg)
	obs.Have.Rules = append(obs.Have.Rules, markRule(100, 51820, 4, 0x4200, 0xff00), lookup(20008, config.FirstSteerTable, 4), lookup(20006, 77, 4))
	obs.Have.Routes = append(obs.Have.Routes, via(config.FirstSteerTable+1, 4, 5, hop("eth9", "172.16.0.1")))
	var got []string
	for _, w := range routing.Inspect(cfg, obs) {
		got = append(got, w.Code+": "+w.Subject)
	}
	want := []string{
		"mark-taken: rule 100 (from all fwmark 0x4200/0xff00 lookup 51820 priority 100 protocol 4)",
		"table-taken: rule 20008 (from all lookup 11700 priority 20008 protocol 4)",
		"priority-taken: rule 20006 (from all lookup 77 priority 20006 protocol 4)",
		"table-taken: table 11701",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Inspect (-want +got):\n%s", diff)
	}
}

// A reload moves rules between their two places: the new ones come first, and what the other
// firewall needed goes.
func TestPlanSwitchesFirewall(t *testing.T) {
	manual, obs := example(modern)
	steered, _ := example(modern)
	managed(steered)
	there := newHost(routing.State{})
	for _, s := range routing.Plan(manual, routing.State{}, desire(manual, obs)) {
		there.apply(s)
	}
	play := func(to *config.Config, want []string) {
		t.Helper()
		seen := there.observe(to, obs.Links)
		var got []string
		for _, s := range routing.Plan(to, seen.Have, desire(to, seen)) {
			there.apply(s)
			got = append(got, s.String())
			if !there.reaches(packet{}) || !there.reaches(packet{mark: 0x100}) {
				t.Errorf("a new connection finds no way after %s", s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	}
	play(steered, []string{
		"ip route replace default via 192.0.2.1 dev eth1 table 11700 protocol 117",
		"ip route replace default via 192.0.2.1 dev eth1 table 11700 metric 1 protocol 117",
		"ip route replace default via 203.0.113.1 dev ppp0 table 11701 protocol 117",
		"ip route replace default via 203.0.113.1 dev ppp0 table 11701 metric 1 protocol 117",
		"ip rule add from all fwmark 0x1/0xff lookup 1 priority 20000 protocol 117",
		"ip rule add from all fwmark 0x2/0xff lookup 2 priority 20001 protocol 117",
		"ip rule add from all fwmark 0x3/0xff lookup 3 priority 20002 protocol 117",
		"ip rule add from 192.0.2.2 lookup 1 priority 20003 protocol 117",
		"ip rule add from 203.0.113.5 lookup 2 priority 20004 protocol 117",
		"ip rule add from 198.51.100.2 lookup 3 priority 20005 protocol 117",
		"ip rule add from all fwmark 0x100/0xff00 lookup 11700 priority 20006 protocol 117",
		"ip rule add from all fwmark 0x200/0xff00 lookup 11701 priority 20006 protocol 117",
		"ip rule add from all lookup 4 priority 20007 protocol 117",
		"ip rule delete from all lookup 4 priority 20006 protocol 117",
		"ip rule delete from all fwmark 0x3/0xff lookup 3 priority 20005 protocol 117",
		"ip rule delete from all fwmark 0x2/0xff lookup 2 priority 20004 protocol 117",
		"ip rule delete from all fwmark 0x1/0xff lookup 1 priority 20003 protocol 117",
		"ip rule delete from 198.51.100.2 lookup 3 priority 20002 protocol 117",
		"ip rule delete from 203.0.113.5 lookup 2 priority 20001 protocol 117",
		"ip rule delete from 192.0.2.2 lookup 1 priority 20000 protocol 117",
	})
	play(manual, []string{
		"ip rule add from 192.0.2.2 lookup 1 priority 20000 protocol 117",
		"ip rule add from 203.0.113.5 lookup 2 priority 20001 protocol 117",
		"ip rule add from 198.51.100.2 lookup 3 priority 20002 protocol 117",
		"ip rule add from all fwmark 0x1/0xff lookup 1 priority 20003 protocol 117",
		"ip rule add from all fwmark 0x2/0xff lookup 2 priority 20004 protocol 117",
		"ip rule add from all fwmark 0x3/0xff lookup 3 priority 20005 protocol 117",
		"ip rule add from all lookup 4 priority 20006 protocol 117",
		"ip route delete default via 192.0.2.1 dev eth1 table 11700 metric 1 protocol 117",
		"ip route delete default via 203.0.113.1 dev ppp0 table 11701 metric 1 protocol 117",
		"ip route delete default via 192.0.2.1 dev eth1 table 11700 protocol 117",
		"ip route delete default via 203.0.113.1 dev ppp0 table 11701 protocol 117",
		"ip rule delete from all lookup 4 priority 20007 protocol 117",
		"ip rule delete from all fwmark 0x200/0xff00 lookup 11701 priority 20006 protocol 117",
		"ip rule delete from all fwmark 0x100/0xff00 lookup 11700 priority 20006 protocol 117",
		"ip rule delete from 198.51.100.2 lookup 3 priority 20005 protocol 117",
		"ip rule delete from 203.0.113.5 lookup 2 priority 20004 protocol 117",
		"ip rule delete from 192.0.2.2 lookup 1 priority 20003 protocol 117",
		"ip rule delete from all fwmark 0x3/0xff lookup 3 priority 20002 protocol 117",
		"ip rule delete from all fwmark 0x2/0xff lookup 2 priority 20001 protocol 117",
		"ip rule delete from all fwmark 0x1/0xff lookup 1 priority 20000 protocol 117",
	})
}
