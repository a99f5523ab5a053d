package routing_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// withPolicies gives a configuration policies and their steers, as the parser does.
func withPolicies(cfg *config.Config, policies ...config.Policy) *config.Config {
	managed(cfg)
	for i := range policies {
		p := &policies[i]
		p.Number, p.Balance = i+1, config.BalanceRoundRobin
		wanted := []int{config.NoUplink}
		if p.PerLine() {
			for _, w := range p.Ways {
				wanted = append(wanted, w.Uplink)
			}
		}
		for _, uplink := range wanted {
			place := uint32(len(cfg.Steers))
			cfg.Steers = append(cfg.Steers, config.Steer{Policy: p.Number, Uplink: uplink, Mark: (place + 1) << 8, Table: config.FirstSteerTable + place})
		}
	}
	cfg.Policies = policies
	return cfg
}

func threeLines() (*config.Config, *routing.Observation) {
	cfg := configure(modern, static("eth1", "192.0.2.2", "192.0.2.1"), static("eth2", "198.51.100.2", "198.51.100.1"), static("eth3", "203.0.113.2", "203.0.113.1"))
	obs := &routing.Observation{Links: []routing.Link{link("eth1", "192.0.2.2/24"), link("eth2", "198.51.100.2/24"), link("eth3", "203.0.113.2/24")}}
	obs.Defaults = []routing.Route{
		via(254, 16, 100, routing.NextHop{Interface: "lan0", Gateway: addr("10.0.0.9"), Weight: 1}),
		via(254, 16, 50, routing.NextHop{Interface: "lan0", Gateway: addr("10.0.0.8"), Weight: 1}),
	}
	return cfg, obs
}

// states are reports by letters: u is up, d is down, ? is not known.
func states(word string) []health.Report {
	var reports []health.Report
	for _, letter := range word {
		reports = append(reports, health.Report{State: map[rune]health.State{'u': health.Up, 'd': health.Down, '?': health.Unknown}[letter]})
	}
	return reports
}

// A policy uses the lines of its first order in which one is well, whatever the groups say, and none if
// all are dead.
func TestPolicyChoice(t *testing.T) {
	cfg, obs := threeLines()
	withPolicies(cfg, config.Policy{Name: "p", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 2, Tier: 1, Weight: 1}, {Uplink: 0, Tier: 2, Weight: 1}}})
	paths := routing.Resolve(cfg, obs)
	first := routing.Choice{Policy: 1, Tier: 1, Members: []routing.Member{{Uplink: 1, Weight: 3}, {Uplink: 2, Weight: 1}}}
	alone := routing.Choice{Policy: 1, Tier: 1, Members: []routing.Member{{Uplink: 2, Weight: 1}}}
	second := routing.Choice{Policy: 1, Tier: 2, Members: []routing.Member{{Uplink: 0, Weight: 1}}}
	for _, test := range []struct {
		states string
		before *routing.Choice
		want   routing.Choice
	}{
		{"uuu", nil, first},
		{"udu", nil, alone},
		{"udd", nil, second},
		{"ddd", &first, routing.Choice{Policy: 1}},
		{"???", nil, first},
		{"u??", &second, second},
		{"d??", &second, routing.Choice{Policy: 1}},
		{"d??", &alone, alone},
	} {
		var previous *routing.Selection
		if test.before != nil {
			previous = &routing.Selection{Family: config.IPv4, Choices: []routing.Choice{*test.before}}
		}
		got := routing.Select(cfg, config.IPv4, paths, states(test.states), previous).Choice(1)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s after %v (-want +got)\n%s", test.states, test.before, diff)
		}
	}
}

// Rather than refusing, a policy uses lines that are well again and only held back; other last resorts are better.
func TestPolicyHeldBack(t *testing.T) {
	ways := []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 2, Tier: 1, Weight: 1}}
	cfg, obs := threeLines()
	withPolicies(cfg, config.Policy{Name: "b", Ways: ways, LastResort: config.LastResortBlock}, config.Policy{Name: "d", Ways: ways})
	reports := states("udd")
	reports[2].HeldUntil = time.Unix(60, 0)
	got := routing.Select(cfg, config.IPv4, routing.Resolve(cfg, obs), reports, nil)
	want := []routing.Choice{{Policy: 1, Tier: 1, Members: []routing.Member{{Uplink: 2, Weight: 1}}}, {Policy: 2}}
	if diff := cmp.Diff(want, got.Choices); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(got.Members) != 1 || got.Members[0].Uplink != 0 {
		t.Errorf("all others use %v", got.Members)
	}
}

// routesOf are the routes of a table, as ip(8) shows them.
func routesOf(state routing.State, table uint32) []string {
	var all []string
	for _, r := range state.Routes {
		if r.Table == table {
			all = append(all, r.String())
		}
	}
	return all
}

// The tables of a policy's steers hold the preferred line, or what is to be used in its place.
func TestPolicyRoutes(t *testing.T) {
	ways := []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 2, Tier: 1, Weight: 1}, {Uplink: 0, Tier: 2, Weight: 1}}
	const (
		one, two, three = " via 192.0.2.1 dev eth1", " via 198.51.100.1 dev eth2", " via 203.0.113.1 dev eth3"
		both            = " nexthop via 198.51.100.1 dev eth2 weight 3 nexthop via 203.0.113.1 dev eth3 weight 1"
	)
	for _, test := range []struct {
		name   string
		policy config.Policy
		states string
		// Next hops of the steers: without a line, eth2, eth3, eth1; "" is no default.
		want [4]string
		end  bool // an unreachable route ends the tables
	}{
		{"all well", config.Policy{}, "uuu", [4]string{both, two, three, both}, false},
		{"one dead", config.Policy{}, "udu", [4]string{three, three, three, three}, false},
		{"second order", config.Policy{}, "udd", [4]string{one, one, one, one}, false},
		{"default", config.Policy{}, "ddd", [4]string{}, false},
		{"block", config.Policy{LastResort: config.LastResortBlock}, "ddd", [4]string{}, true},
		{"block, well", config.Policy{LastResort: config.LastResortBlock}, "uud", [4]string{two, two, two, two}, true},
		{"bypass", config.Policy{LastResort: config.LastResortBypass}, "ddd", [4]string{" via 10.0.0.8 dev lan0", " via 10.0.0.8 dev lan0", " via 10.0.0.8 dev lan0", " via 10.0.0.8 dev lan0"}, true},
		{"sticky: who was in a later order is shared", config.Policy{Sticky: config.StickySource}, "uuu", [4]string{both, two, three, both}, false},
		{"sticky, one dead", config.Policy{Sticky: config.StickySource}, "udu", [4]string{three, three, three, three}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, obs := threeLines()
			test.policy.Name, test.policy.Ways = "p", ways
			withPolicies(cfg, test.policy)
			paths := routing.Resolve(cfg, obs)
			want := routing.Want(cfg, obs, paths, []routing.Selection{routing.Select(cfg, config.IPv4, paths, states(test.states), nil)})
			for i, uplink := range []int{config.NoUplink, 1, 2, 0} {
				steer, ok := cfg.Steer(1, uplink)
				if !ok {
					t.Fatalf("no steer for %d", uplink)
				}
				var routes []string
				if hops := test.want[i]; hops != "" {
					head, tail := "default"+hops, ""
					if len(hops) == len(both) {
						head, tail = "default", hops
					}
					table := " table " + word(steer.Table)
					routes = append(routes, head+table+" protocol 117"+tail, head+table+" metric 1 protocol 117"+tail)
				}
				if test.end {
					routes = append(routes, "unreachable default table "+word(steer.Table)+" metric 4294967295 protocol 117")
				}
				if diff := cmp.Diff(routes, routesOf(want, steer.Table)); diff != "" {
					t.Errorf("steer to %d (-want +got)\n%s", uplink, diff)
				}
			}
		})
	}
}

func word(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// A restart finds in the kernel what policies used, and a new file keeps it by names.
func TestPolicyAdopt(t *testing.T) {
	cfg, obs := threeLines()
	withPolicies(cfg, config.Policy{Name: "p", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 2, Tier: 2, Weight: 1}, {Uplink: 0, Tier: 2, Weight: 1}}})
	paths := routing.Resolve(cfg, obs)
	selection := routing.Select(cfg, config.IPv4, paths, states("udu"), nil)
	adopted := routing.Adopt(cfg, config.IPv4, routing.Want(cfg, obs, paths, []routing.Selection{selection}))
	if adopted == nil || !adopted.Equal(selection) {
		t.Errorf("adopted %+v, want %+v", adopted, selection)
	}
	next := configure(modern, static("eth3", "203.0.113.2", "203.0.113.1"), static("eth2", "198.51.100.2", "198.51.100.1"))
	withPolicies(next, config.Policy{Name: "new", Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}}},
		config.Policy{Name: "p", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 0, Tier: 2, Weight: 5}}})
	want := []routing.Choice{{Policy: 2, Tier: 2, Members: []routing.Member{{Uplink: 0, Weight: 5}}}}
	if diff := cmp.Diff(want, routing.Transfer(selection, cfg, next).Choices); diff != "" {
		t.Errorf("transferred (-want +got)\n%s", diff)
	}
}

// Who deals in turn deals to all lines of the order that carries, the dead ones included.
func TestDealChoices(t *testing.T) {
	cfg, obs := threeLines()
	withPolicies(cfg,
		config.Policy{Name: "p", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 3}, {Uplink: 2, Tier: 1, Weight: 1}, {Uplink: 0, Tier: 2, Weight: 1}}},
		config.Policy{Name: "one", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 3}}})
	paths := routing.Resolve(cfg, obs)
	first := routing.Choice{Policy: 1, Tier: 1, Members: []routing.Member{{Uplink: 1, Weight: 3}, {Uplink: 2, Weight: 1}}}
	for states1, want := range map[string]routing.Choice{
		"uuu": first, "udu": first, "ddd": first,
		"udd": {Policy: 1, Tier: 2, Members: []routing.Member{{Uplink: 0, Weight: 1}}},
	} {
		reports := states(states1)
		selection := routing.Select(cfg, config.IPv4, paths, reports, nil)
		if diff := cmp.Diff([]routing.Choice{want}, routing.DealChoices(cfg, paths, reports, selection)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", states1, diff)
		}
	}
}

// What is explained is what is chosen, and says why.
func TestExplain(t *testing.T) {
	cfg, obs := threeLines()
	to := func(prefix string) config.Match {
		return config.Match{Destinations: []config.Endpoint{{Prefix: netip.MustParsePrefix(prefix)}}}
	}
	withPolicies(cfg,
		config.Policy{Name: "a", Match: to("10.0.0.0/24"), Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}}, LastResort: config.LastResortBlock},
		config.Policy{Name: "b", Match: to("10.0.1.0/24"), Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 2}, {Uplink: 2, Tier: 2, Weight: 1}}, Sticky: config.StickySource},
		config.Policy{Name: "c", Match: to("10.0.2.0/24"), Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 2}}, LastResort: config.LastResortBypass})
	reports := states("udu")
	reports[1].Reason = "no answer"
	s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: reports}
	for _, test := range []struct {
		destination string
		policy      string
		fate        routing.Fate
		lines       []int
		ifDown      map[int]routing.Fate
		reasons     []string
	}{
		{"10.0.0.1", "a", routing.Carried, []int{0}, map[int]routing.Fate{0: routing.Refused}, []string{
			"policy 1, a: matches", "eth1: order 1, is used, share 1 of 1",
		}},
		{"10.0.1.1", "b", routing.Carried, []int{2}, map[int]routing.Fate{2: routing.Carried}, []string{
			"policy 1, a: does not match: destination", "policy 2, b: matches", "eth2: order 1, is down: no answer", "eth3: order 2, is used, share 1 of 1",
		}},
		{"10.0.2.1", "c", routing.Bypassed, nil, map[int]routing.Fate{}, []string{
			"policy 1, a: does not match: destination", "policy 2, b: does not match: destination", "policy 3, c: matches",
			"eth2: order 1, is down: no answer", "no line of the policy is well: last resort bypass",
		}},
		{"10.0.3.1", "", routing.Carried, []int{0, 2}, map[int]routing.Fate{0: routing.Carried, 2: routing.Carried}, []string{
			"policy 1, a: does not match: destination", "policy 2, b: does not match: destination", "policy 3, c: does not match: destination", "no policy matches",
			"eth1: priority_group 1, is used, share 1 of 2", "eth2: priority_group 1, is down: no answer", "eth3: priority_group 1, is used, share 1 of 2",
		}},
	} {
		e := s.Explain(config.Packet{Source: addr("192.168.1.1"), Destination: addr(test.destination)})
		var lines []int
		for _, m := range e.Lines {
			lines = append(lines, m.Uplink)
		}
		ifDown := map[int]routing.Fate{}
		for _, l := range e.IfDown {
			ifDown[l.Uplink] = l.Verdict.Fate
			if slices.ContainsFunc(l.Verdict.Lines, func(m routing.Member) bool { return m.Uplink == l.Uplink }) && !l.Verdict.Kept {
				t.Errorf("%s: line %d is used though it died", test.destination, l.Uplink)
			}
		}
		name := ""
		if e.Policy != nil {
			name = e.Policy.Name
		}
		if name != test.policy || e.Fate != test.fate {
			t.Errorf("%s: policy %q, %s; want %q, %s", test.destination, name, e.Fate, test.policy, test.fate)
		}
		if diff := cmp.Diff(test.lines, lines) + cmp.Diff(test.ifDown, ifDown) + cmp.Diff(test.reasons, e.Reasons, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.destination, diff)
		}
	}
}

// Hosts with an untranslated address of a line leave by it, whatever policies say, and are told when it is dead;
// where the line itself has its address from there, it goes on being asked.
func TestKeptAddresses(t *testing.T) {
	cfg := configure(modern, typed("eth1", config.DHCP), typed("eth2", config.DHCP))
	cfg.Firewall = config.FirewallManaged
	for i := range cfg.Uplinks {
		cfg.Uplinks[i].Grouped, cfg.Uplinks[i].Inet6 = true, config.Inet6{On: true}
	}
	cfg.Uplinks[1].Inet6.NAT = config.KeepAddress
	withPolicies(cfg, config.Policy{Name: "all", Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}}})
	path := func(uplink int, source, prefix string) routing.Path {
		p := routing.Path{Uplink: uplink, Family: config.IPv6, Interface: cfg.Uplinks[uplink].Interface, Index: uplink + 1, Source: addr(source), Gateway: addr("fe80::1"), Routable: true}
		if prefix != "" {
			p.Prefix = netip.MustParsePrefix(prefix)
		}
		return p
	}
	const prefix = "2001:db8:2:1000::/52"
	for _, tt := range []struct {
		name   string
		source string // of the line
		second health.State
		broken bool // the line cannot be routed
		from   string
		table  string // of the rule for the prefix
		fate   routing.Fate
		line   int
	}{
		{"well", "2001:db8:2::2", health.Up, false, "2001:db8:2:1000::5", "2", routing.Carried, 1},
		{"another source", "2001:db8:2::2", health.Up, false, "fd00::5", "2", routing.Carried, 0},
		{"dead", "2001:db8:2::2", health.Down, false, "2001:db8:2:1000::5", "11698", routing.Refused, -1},
		{"dead, asked from an address of the prefix", "2001:db8:2:1000::1", health.Down, false, "2001:db8:2:1000::5", "2", routing.Carried, 1},
		{"no way", "2001:db8:2:1000::1", health.Down, true, "2001:db8:2:1000::5", "2", routing.Refused, -1},
	} {
		paths := []routing.Path{path(0, "2001:db8:1::2", ""), path(1, tt.source, prefix)}
		paths[1].Routable = !tt.broken
		reports := judged([]health.State{health.Up, tt.second})
		want := routing.Want(cfg, &routing.Observation{}, paths, []routing.Selection{routing.Select(cfg, config.IPv6, paths, reports, nil)})
		if all := text(want); !strings.Contains(all, "rule from "+prefix+" lookup "+tt.table+" ") || !strings.Contains(all, "route unreachable default table 11698 ") {
			t.Errorf("%s: the rule for the prefix does not lead to table %s:\n%s", tt.name, tt.table, all)
		}
		e := routing.Situation{Config: cfg, Paths: paths, Reports: reports}.Explain(config.Packet{Source: addr(tt.from), Destination: addr("2001:db8:ffff::1")})
		line := -1
		if len(e.Lines) == 1 {
			line = e.Lines[0].Uplink
		}
		if e.Fate != tt.fate || line != tt.line {
			t.Errorf("%s: %s by line %d, want %s by %d: %q", tt.name, e.Fate, line, tt.fate, tt.line, e.Reasons)
		}
	}
}
