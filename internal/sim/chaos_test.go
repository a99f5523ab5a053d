package sim_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// demoConfig has a line of each type.
func demoConfig() *config.Config {
	cfg := &config.Config{LAN: []string{"lan0", "lan1"}, DMZ: []string{"lan1", "dmz0"}}
	for i, u := range []config.Uplink{
		{Name: "fibre", Interface: "w0", Type: config.Static, Address: netip.MustParseAddr("192.0.2.2"), Gateway: netip.MustParseAddr("192.0.2.1")},
		{Name: "dsl", Interface: "ppp0", Type: config.PPP},
		{Name: "cable", Interface: "w1", Type: config.DHCP},
		{Name: "radio", Interface: "w2", Type: config.Static},
	} {
		u.Index, u.Table, u.Weight = i, uint32(1+i), 1
		cfg.Uplinks = append(cfg.Uplinks, u)
	}
	return cfg
}

var demoScope = routing.Scope{
	Families:   []config.Family{config.IPv4},
	Interfaces: []string{"w0", "ppp0", "w1", "w2", "lan0", "lan1", "dmz0"},
}

func look(t *testing.T, k *sim.Kernel) routing.Observation {
	t.Helper()
	obs, err := k.Observe(context.Background(), demoScope)
	must(t, err)
	return obs
}

// TestDemoStartsWell holds that every line of a demo can be used.
func TestDemoStartsWell(t *testing.T) {
	cfg := demoConfig()
	k, n, _, err := sim.Demo(cfg, 1)
	must(t, err)
	obs := look(t, k)
	if len(obs.Links) != len(demoScope.Interfaces) {
		t.Errorf("%d links", len(obs.Links))
	}
	for _, p := range routing.Resolve(cfg, &obs) {
		if !p.Usable() || !p.Gateway.IsValid() {
			t.Errorf("%s cannot be used: %s", p.Interface, p.Problem)
			continue
		}
		c := n.Line(p.Interface)
		if c.Silent || c.RTT <= 0 || c.Loss > 0.01 {
			t.Errorf("%s begins with %+v", p.Interface, c)
		}
	}
}

// play runs chaos and returns what it said, with the state of the host after each step.
func play(t *testing.T, seed uint64, steps int) (story []string, kinds map[string]int) {
	cfg := demoConfig()
	k, n, c, err := sim.Demo(cfg, seed)
	must(t, err)
	kinds = map[string]int{}
	for i := range steps {
		told, err := c.Step()
		must(t, err)
		obs := look(t, k)
		usable := 0
		for _, p := range routing.Resolve(cfg, &obs) {
			if p.Usable() && !n.Line(p.Interface).Silent {
				usable++
			}
		}
		kinds[fmt.Sprintf("%d lines", usable)]++
		for _, text := range told {
			_, what, _ := strings.Cut(text, ": ")
			kinds[strings.Join(strings.Fields(what)[:2], " ")]++
		}
		story = append(story, fmt.Sprint(i, told, usable))
	}
	return story, kinds
}

func TestChaos(t *testing.T) {
	first, kinds := play(t, 3, 2000)
	second, _ := play(t, 3, 2000)
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("the same seed tells another story (-first +second):\n%s", d)
	}
	if other, _ := play(t, 4, 2000); cmp.Equal(first, other) {
		t.Error("another seed tells the same story")
	}
	for _, kind := range []string{"goes silent:", "loses carrier:", "loses its", "slows down", "works again", "has its", "is back", "4 lines", "3 lines", "2 lines", "1 lines", "0 lines"} {
		if kinds[kind] < 5 {
			t.Errorf("%q happened %d times in 2000 steps: %v", kind, kinds[kind], kinds)
		}
	}
}

// TestChaosAlwaysMends holds that lines renew their addresses and are well again in the end.
func TestChaosAlwaysMends(t *testing.T) {
	cfg := demoConfig()
	k, _, c, err := sim.Demo(cfg, 5)
	must(t, err)
	addresses := map[string]bool{}
	for range 3000 {
		_, err := c.Step()
		must(t, err)
		if l, ok := func() (routing.Link, bool) { obs := look(t, k); return obs.Link("ppp0") }(); ok && len(l.Addresses) > 0 {
			addresses[l.Addresses[0].Prefix.String()] = true
			if !l.Addresses[0].Peer.IsValid() {
				t.Fatal("a PPP line without peer")
			}
		}
	}
	if len(addresses) < 10 {
		t.Errorf("the PPP line had only the addresses %v", addresses)
	}
}
