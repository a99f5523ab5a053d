package sim_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

func TestCount(t *testing.T) {
	k := sim.New()
	families := []config.Family{config.IPv4}
	must(t, k.SetEvidence(t.Context(), families, []string{"w0"}))
	for range 2 {
		k.Count(config.IPv4, "w0", health.Packets{Sent: 4, Replied: 3, Opened: 2, Accepted: 1})
		k.Count(config.IPv4, "w1", health.Packets{Sent: 1})
		k.Count(config.IPv6, "w0", health.Packets{Sent: 1})
	}
	got, err := k.Counters(t.Context(), firewall.EvidenceTable, families)
	must(t, err)
	want := map[config.Family]map[string]health.Packets{config.IPv4: {"w0": {Sent: 8, Replied: 6, Opened: 4, Accepted: 2}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("counters (-want +got):\n%s", d)
	}
}

func TestFlows(t *testing.T) {
	k := sim.New()
	k.AddFlows(config.IPv4, 0xab01, 2)
	k.AddFlows(config.IPv4, 0xab01, 3)
	k.AddFlows(config.IPv4, 2, 1)
	if n, err := k.Release(t.Context(), config.IPv4, 1, 0xff); n != 5 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if n := k.Flows(config.IPv4, 2); n != 1 {
		t.Errorf("%d flows of another mark are left", n)
	}
}

// Those who watch are told of each kind of event, and of equal ones at once only once.
func TestEventsTellMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := host(t)
		ctx, cancel := context.WithCancel(t.Context())
		var hints []routing.Hint
		done := make(chan error, 1)
		go func() { done <- k.Events(ctx, func(h routing.Hint) { hints = append(hints, h) }) }()
		synctest.Wait()
		gateway := netip.MustParseAddr("192.0.2.1")
		must(t, k.FailNeighbour("w0", gateway))
		synctest.Wait()
		must(t, k.SetEvidence(ctx, []config.Family{config.IPv4}, []string{"w0"}))
		k.FlushRuleset()
		k.FlushRuleset()
		synctest.Wait()
		if err := k.FailNeighbour("w9", gateway); err == nil {
			t.Error("a neighbour failed on a link that is not there")
		}
		cancel()
		<-done
		obs, err := k.Observe(t.Context(), routing.Scope{Interfaces: []string{"w0"}})
		must(t, err)
		want := []routing.Hint{{}, {Neighbour: gateway, Interface: obs.Links[0].Index}, {Ruleset: true}}
		hints = slices.Compact(hints) // how many of the same are told at once is a matter of scheduling
		if d := cmp.Diff(want, hints, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("hints (-want +got):\n%s", d)
		}
	})
}
