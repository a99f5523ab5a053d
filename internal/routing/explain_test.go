package routing_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// told is a verdict in a few words, with the lines from 1.
func told(v routing.Verdict) string {
	words := []string{string(v.Fate)}
	for _, m := range v.Lines {
		words = append(words, fmt.Sprintf("%d:%d", m.Uplink+1, m.Weight))
	}
	if v.Policy != nil {
		words = append(words, "policy "+v.Policy.Name)
	}
	if v.Bound != routing.Unbound {
		words = append(words, "by "+string(v.Bound))
	}
	for word, holds := range map[string]bool{"down": v.Down, "kept": v.Kept, "default": v.Default} {
		if holds {
			words = append(words, word)
		}
	}
	slices.Sort(words[1:])
	return strings.Join(words, " ")
}

// explained is what Explain says, and what if each of the lines died.
func explained(e routing.Explanation) string {
	text := told(e.Verdict)
	for _, l := range e.IfDown {
		text += fmt.Sprintf("; without %d %s", l.Uplink+1, told(l.Verdict))
	}
	return text
}

// What the router sends from an address of a line goes where the rules for addresses lead it, and a policy for
// it comes before them.
func TestExplainOwnAddress(t *testing.T) {
	const udp, tcp = 17, 6
	cfg, obs := threeLines()
	obs.Links[0].Addresses = append(obs.Links[0].Addresses, address("192.0.2.3/24"))
	withPolicies(cfg,
		config.Policy{Name: "own", Match: config.Match{Own: true, Users: []config.User{{ID: 7}}}, Ways: []config.Way{{Uplink: 2, Tier: 1, Weight: 1}}},
		config.Policy{Name: "inside", Ways: []config.Way{{Uplink: 1, Tier: 1, Weight: 1}}})
	manual := *cfg
	manual.Firewall, manual.Policies, manual.Steers, manual.Numbers.SteerMask = config.FirewallManual, nil, nil, 0
	for _, tt := range []struct {
		cfg    *config.Config
		states string
		packet config.Packet
		want   string
	}{
		{cfg, "uuu", config.Packet{Source: addr("192.0.2.2"), Protocol: tcp}, "carried 1:1 by source; without 1 carried 1:1 by source down"},
		{cfg, "uuu", config.Packet{Source: addr("192.0.2.2"), Protocol: udp}, "carried 1:1 by source; without 1 carried 2:1 3:1"},
		{cfg, "duu", config.Packet{Source: addr("192.0.2.2"), Protocol: udp}, "carried 2:1 3:1; without 2 carried 3:1; without 3 carried 2:1"},
		{cfg, "duu", config.Packet{Source: addr("192.0.2.3"), Protocol: udp}, "carried 2:1 3:1; without 2 carried 3:1; without 3 carried 2:1"},
		{cfg, "duu", config.Packet{Source: addr("192.0.2.2"), Protocol: udp, Mark: config.WireGuardMark}, "carried 2:1 3:1; without 2 carried 3:1; without 3 carried 2:1"},
		{cfg, "duu", config.Packet{Source: addr("192.0.2.2"), Protocol: udp, Mark: 0xff00}, "carried 1:1 by source down; without 1 carried 1:1 by source down"},
		{cfg, "duu", config.Packet{Source: addr("192.0.2.2")}, "carried 1:1 by source down; without 1 carried 1:1 by source down"},
		{cfg, "uuu", config.Packet{Source: addr("192.0.2.3")}, "carried 1:1 by source; without 1 carried 1:1 by source down"},
		{cfg, "uuu", config.Packet{Source: addr("10.0.0.1")}, "carried 1:1 2:1 3:1; without 1 carried 2:1 3:1; without 2 carried 1:1 3:1; without 3 carried 1:1 2:1"},
		{cfg, "uuu", config.Packet{Source: addr("192.0.2.2"), User: 7, Protocol: udp}, "carried 3:1 policy own; without 3 carried 1:1 by source default policy own"},
		// The steering mark of the policy is on what it cannot lead, and so no datagram moves.
		{cfg, "dud", config.Packet{Source: addr("192.0.2.2"), User: 7, Protocol: udp}, "carried 1:1 by source default down policy own; without 1 carried 1:1 by source default down policy own"},
		{&manual, "uuu", config.Packet{Source: addr("198.51.100.2")}, "carried 2:1 by source; without 2 carried 2:1 by source down"},
		{&manual, "udu", config.Packet{Source: addr("198.51.100.2"), Protocol: udp}, "carried 2:1 by source down; without 2 carried 2:1 by source down"},
	} {
		tt.packet.Own, tt.packet.Destination = true, addr("8.8.8.8")
		s := routing.Situation{Config: tt.cfg, Paths: routing.Resolve(tt.cfg, obs), Reports: states(tt.states), Links: obs.Links}
		e := s.Explain(tt.packet)
		if got := explained(e); got != tt.want {
			t.Errorf("%s, %+v:\n got %s\nwant %s\n%s", tt.states, tt.packet, got, tt.want, strings.Join(e.Reasons, "\n"))
		}
	}
}

// A line whose address it is may be without carrier: the kernel refuses what is from there.
func TestExplainOwnAddressWithoutCarrier(t *testing.T) {
	cfg, obs := threeLines()
	obs.Links[0].Carrier = false
	s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: states("duu"), Links: obs.Links}
	e := s.Explain(config.Packet{Own: true, Source: addr("192.0.2.2"), Destination: addr("8.8.8.8")})
	if got := explained(e); got != "refused by source" || !slices.Contains(e.Reasons, "eth1: no carrier") {
		t.Errorf("%s: %q", got, e.Reasons)
	}
}

// The router's own address in a prefix that is not translated: a policy for the router comes first, and hosts
// inside leave by the prefix.
func TestExplainOwnAddressOfPrefix(t *testing.T) {
	cfg := configure(modern, typed("eth1", config.DHCP), typed("eth2", config.DHCP))
	for i := range cfg.Uplinks {
		cfg.Uplinks[i].Inet6 = config.Inet6{On: true, NAT: config.KeepAddress}
	}
	withPolicies(cfg,
		config.Policy{Name: "own", Match: config.Match{Own: true}, Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}}},
		config.Policy{Name: "inside", Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}}})
	var paths []routing.Path
	for i, u := range cfg.Uplinks {
		paths = append(paths, routing.Path{Uplink: i, Family: config.IPv6, Interface: u.Interface, Index: i + 1, Gateway: addr("fe80::1"), Routable: true,
			Source: addr(fmt.Sprintf("2001:db8:%d::2", i)), Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d:1000::/52", i))})
	}
	for _, tt := range []struct {
		own      bool
		policies int // that there are
		want     string
	}{
		{true, 2, "carried 1:1 policy own"},
		{true, 0, "carried 2:1 by source"},
		{false, 2, "carried 2:1 by source"},
	} {
		with := *cfg
		with.Policies = cfg.Policies[:tt.policies]
		if tt.policies == 0 {
			with.Steers = nil
		}
		s := routing.Situation{Config: &with, Paths: paths, Reports: states("uu")}
		e := s.Explain(config.Packet{Own: tt.own, Source: addr("2001:db8:1:1000::1"), Destination: addr("2001:db8:ffff::1")})
		if got := told(e.Verdict); got != tt.want {
			t.Errorf("own %v, %d policies: %s, want %s\n%q", tt.own, tt.policies, got, tt.want, e.Reasons)
		}
	}
}

// The mark of a line decides before policies are asked, and any other mark under the mask of what passes through
// leaves it to the default route.
func TestExplainMark(t *testing.T) {
	cfg, obs := threeLines()
	withPolicies(cfg,
		config.Policy{Name: "own", Match: config.Match{Own: true}, Ways: []config.Way{{Uplink: 2, Tier: 1, Weight: 1}}},
		config.Policy{Name: "inside", Ways: []config.Way{{Uplink: 2, Tier: 1, Weight: 1}}})
	for _, tt := range []struct {
		own    bool
		source string
		mark   uint32
		want   string
	}{
		{false, "10.0.0.5", 2, "carried 2:1 by mark; without 2 carried 2:1 by mark down"},
		{false, "10.0.0.5", 0x5000002, "carried 2:1 by mark; without 2 carried 2:1 by mark down"},
		{false, "10.0.0.5", 9, "carried 1:1 2:1 3:1; without 1 carried 2:1 3:1; without 2 carried 1:1 3:1; without 3 carried 1:1 2:1"},
		{false, "10.0.0.5", 0x5000000, "carried 3:1 policy inside; without 3 carried 1:1 2:1 default policy inside"},
		{true, "", 2, "carried 2:1 by mark; without 2 carried 2:1 by mark down"},
		{true, "192.0.2.2", 2, "carried 2:1 by mark; without 2 carried 2:1 by mark down"},
		{true, "", 0x500ff00, "carried 1:1 2:1 3:1; without 1 carried 2:1 3:1; without 2 carried 1:1 3:1; without 3 carried 1:1 2:1"},
		{true, "192.0.2.2", 0xff00, "carried 1:1 by source; without 1 carried 1:1 by source down"},
		{true, "", 9, "carried 3:1 policy own; without 3 carried 1:1 2:1 default policy own"},
	} {
		s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: states("uuu"), Links: obs.Links}
		e := s.Explain(config.Packet{Own: tt.own, Source: addr(tt.source), Destination: addr("8.8.8.8"), Mark: tt.mark})
		if got := explained(e); got != tt.want {
			t.Errorf("%v %s mark %#x:\n got %s\nwant %s\n%s", tt.own, tt.source, tt.mark, got, tt.want, strings.Join(e.Reasons, "\n"))
		}
	}
	manual := *cfg
	manual.Firewall, manual.Policies, manual.Steers, manual.Numbers.SteerMask = config.FirewallManual, nil, nil, 0
	for i := range manual.Uplinks {
		u := &manual.Uplinks[i]
		u.AddressPriority, u.MarkPriority = u.MarkPriority, u.AddressPriority
	}
	s := routing.Situation{Config: &manual, Paths: routing.Resolve(&manual, obs), Reports: states("uuu"), Links: obs.Links}
	if got := told(s.Explain(config.Packet{Own: true, Source: addr("192.0.2.2"), Destination: addr("8.8.8.8"), Mark: 2}).Verdict); got != "carried 1:1 by source" {
		t.Errorf("with a manual firewall, where addresses come before marks: %s", got)
	}
}

// Where nobody judges the lines, those that the kernel's routes do not pass over take the place of a dead one.
func TestExplainUnjudged(t *testing.T) {
	cfg, obs := threeLines()
	cfg.Uplinks[2].Group = 2
	withPolicies(cfg, config.Policy{
		Name: "strict", LastResort: config.LastResortBlock, Match: config.Match{Protocols: []uint8{17}},
		Ways: []config.Way{{Uplink: 0, Tier: 1, Weight: 1}, {Uplink: 2, Tier: 2, Weight: 1}},
	})
	cfg.Steers = nil
	first, both := []routing.Member{{Uplink: 0, Weight: 1}}, []routing.Member{{Uplink: 0, Weight: 1}, {Uplink: 1, Weight: 1}}
	before := func(members ...routing.Member) *routing.Selection {
		return &routing.Selection{Family: config.IPv4, Members: members, Choices: []routing.Choice{{Policy: 1, Tier: 1, Members: first}}}
	}
	for _, tt := range []struct {
		states   string
		previous *routing.Selection
		protocol uint8
		want     string
	}{
		{"???", before(both...), 6, "carried 1:1 2:1; without 1 carried 2:1; without 2 carried 1:1"},
		{"???", before(first...), 6, "carried 1:1; without 1 carried 3:1"},
		{"???", &routing.Selection{Family: config.IPv4, Members: first, Lost: []int{1, 2}}, 6, "carried 1:1; without 1 carried 1:1 kept"},
		{"???", before(both...), 17, "carried 1:1 policy strict; without 1 carried 3:1 policy strict"},
		{"??d", before(both...), 17, "carried 1:1 policy strict; without 1 refused policy strict"},
		{"???", nil, 6, "carried 1:1 2:1; without 1 carried 2:1; without 2 carried 1:1"},
	} {
		s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: states(tt.states), Previous: tt.previous}
		got := explained(s.Explain(config.Packet{Source: addr("10.0.0.5"), Destination: addr("8.8.8.8"), Protocol: tt.protocol}))
		if got != tt.want {
			t.Errorf("%s, protocol %d: %s\nwant %s", tt.states, tt.protocol, got, tt.want)
		}
	}
}

// Where some lines are tunnels, it is said too that none of those for the router itself is well, and what is wrong.
func TestExplainOwnKept(t *testing.T) {
	cfg, obs := threeLines()
	managed(cfg)
	cfg.Uplinks[0].Tunnel, cfg.Numbers.OwnTable, cfg.Numbers.OwnPriority = config.TunnelYes, 11699, cfg.Numbers.DefaultPriority
	cfg.Numbers.DefaultPriority++
	last := []routing.Member{{Uplink: 1, Weight: 1}}
	for _, tt := range []struct {
		states, want, reason string
	}{
		{"uuu", "carried 2:1 3:1; without 2 carried 3:1; without 3 carried 2:1", "eth2: priority_group 1, is used, share 1 of 2"},
		{"udd", "carried 2:1 kept; without 2 carried 2:1 kept", "eth2: priority_group 1, is used, share 1 of 1, though it is down: by hand"},
		{"udd", "carried 2:1 kept; without 2 carried 2:1 kept", "no line is well: the last selection stays"},
		{"???", "carried 2:1; without 2 carried 2:1 kept", "eth2: priority_group 1, is used, share 1 of 1"},
	} {
		reports := states(tt.states)
		reports[1].Reason = "by hand"
		s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: reports, Previous: &routing.Selection{Family: config.IPv4, Members: last, Own: last}}
		e := s.Explain(config.Packet{Own: true, Destination: addr("8.8.8.8")})
		if got := explained(e); got != tt.want || !slices.Contains(e.Reasons, tt.reason) {
			t.Errorf("%s: %s\n%s", tt.states, got, strings.Join(e.Reasons, "\n"))
		}
	}
}

// A line that is held back takes over where the last other one would die.
func TestExplainHeldBack(t *testing.T) {
	cfg, obs := threeLines()
	reports := states("udd")
	reports[2].HeldUntil = time.Unix(60, 0)
	s := routing.Situation{Config: cfg, Paths: routing.Resolve(cfg, obs), Reports: reports}
	got := explained(s.Explain(config.Packet{Source: addr("10.0.0.2"), Destination: addr("203.0.113.99"), Protocol: 6, DestinationPort: 80}))
	if want := "carried 1:1; without 1 carried 3:1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s.Reports[2].State != health.Down {
		t.Error("the situation itself was changed")
	}
}
