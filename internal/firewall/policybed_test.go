package firewall_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// policyHead is the part of a file that describes the bed.
const policyHead = `uplinks:
  - {interface: wan0, description: one, ip: 100.64.0.2, gateway: 100.64.0.1, priority_group: 1}
  - {interface: wan1, description: two, ip: 100.64.1.2, gateway: 100.64.1.1, priority_group: 1}
  - {interface: wan2, description: three, ip: 100.64.2.2, gateway: 100.64.2.1, priority_group: 1}
downlinks: {lan: lan0, dmz: dmz0}
tests: {ips: [1.1.1.1]}
firewall: managed
`

// parsed reads a configuration of the bed.
func parsed(t *testing.T, rest string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("bed.conf", []byte(policyHead+rest))
	for _, p := range problems {
		t.Error(p.Render())
	}
	if cfg == nil {
		t.FailNow()
	}
	return cfg
}

// policyBed is a bed whose routes of policies, and whose rules, are made as the daemon makes them.
type policyBed struct {
	*bed
	observed routing.Observation
	now      routing.Situation
	table    firewall.Table
	have     routing.State // over IPv6
}

func newPolicyBed(t *testing.T, rest string) *policyBed {
	b := &policyBed{bed: newBed(t, parsed(t, rest))}
	for i := range b.cfg.Uplinks {
		b.observed.Links = append(b.observed.Links, routing.Link{
			Name: b.cfg.Uplinks[i].Interface, Up: true, Carrier: true,
			Addresses: []routing.Address{{Prefix: netip.PrefixFrom(b.address(i), 24)}},
		})
	}
	b.now = routing.Situation{Config: b.cfg, Paths: routing.Resolve(b.cfg, &b.observed)}
	b.well(0, 1, 2)
	return b
}

// well makes routes and rules as they are when these lines are well and the others are dead.
func (b *policyBed) well(lines ...int) {
	b.t.Helper()
	b.now.Reports = make([]health.Report, len(b.now.Paths))
	for i, p := range b.now.Paths {
		b.now.Reports[i].State = health.Down
		if slices.Contains(lines, p.Uplink) {
			b.now.Reports[i].State = health.Up
		}
	}
	selection := routing.Select(b.cfg, b.family, b.now.Paths, b.now.Reports, b.now.Previous)
	b.now.Previous = &selection
	if b.family == config.IPv6 {
		b.apply6(selection)
		b.rules(selection)
		return
	}
	var members []int
	for _, m := range selection.Members {
		members = append(members, m.Uplink)
	}
	b.selects(members...)
	want := routing.Want(b.cfg, &b.observed, b.now.Paths, []routing.Selection{selection})
	steps := []string{}
	for _, s := range b.cfg.Steers {
		if s.Policy != 0 {
			steps = append(steps, fmt.Sprintf("route flush table %d", s.Table))
		}
	}
	for _, r := range want.Routes {
		if r.Table >= config.FirstSteerTable {
			steps = append(steps, "route replace "+r.String())
		}
	}
	b.ip(b.router, steps...)
	b.rules(selection)
}

// rules brings the table to what it should be, in the smallest change.
func (b *policyBed) rules(selection routing.Selection) {
	b.t.Helper()
	next := firewall.Managed(b.cfg, b.turns(selection))
	if text := firewall.Update(b.table, next); text != "" {
		if err := loadNft(b.router, text); err != nil {
			b.t.Fatal(err)
		}
	}
	b.table = next
}

func (b *policyBed) turns(selection routing.Selection) []firewall.Turn {
	all := turns(b.cfg)
	for _, c := range routing.DealChoices(b.cfg, b.now.Paths, b.now.Reports, selection) {
		for _, m := range c.Members {
			all = append(all, firewall.Turn{Family: b.family, Policy: c.Policy, Uplink: m.Uplink, Weight: m.Weight})
		}
	}
	return all
}

// line connects and returns the line by which the internet host sees it.
func (b *policyBed) line(t *testing.T, from *netns.NS, local, remote string) int {
	t.Helper()
	c, err := dial(from, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return b.lineOf(c.seen.Addr())
}

// used counts the lines that connections in a row use.
func (b *policyBed) used(t *testing.T, count int, from *netns.NS, local, remote string) map[int]int {
	t.Helper()
	lines := map[int]int{}
	for range count {
		lines[b.line(t, from, local, remote)]++
	}
	return lines
}

// explained says which lines a connection may use, by what the daemon would say of it.
func (b *policyBed) explained(p config.Packet) []int {
	p.Protocol = 6
	var lines []int
	for _, m := range b.now.Explain(p).Lines {
		lines = append(lines, m.Uplink)
	}
	return lines
}
