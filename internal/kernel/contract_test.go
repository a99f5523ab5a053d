package kernel_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// contractCase is one story and what it leaves behind, in any kernel.
type contractCase struct {
	name   string
	acts   []act
	routes []routing.Route
	rules  []routing.Rule
	// golden: the same story told with ip(8) must leave exactly the same, also as shown by ip(8).
	golden bool
}

func TestContract(t *testing.T) {
	for _, c := range contractCases() {
		t.Run(c.name, func(t *testing.T) {
			private := newRealWorld(t, "real")
			var inReal, inSim routing.Observation
			t.Run("real", func(t *testing.T) { inReal = c.run(t, private) })
			t.Run("sim", func(t *testing.T) { inSim = c.run(t, sim.New()) })
			// The kernel updates the operational state of a link a moment after the link.
			d := gocmp.Diff(inReal, inSim, equal...)
			for deadline := time.Now().Add(patience); d != "" && time.Now().Before(deadline); d = gocmp.Diff(inReal, inSim, equal...) {
				inReal = besides(observe(t, private))
			}
			if d != "" {
				t.Errorf("links and defaults (-real +sim):\n%s", d)
			}
			if c.golden {
				t.Run("ip", func(t *testing.T) {
					ip := &byCommand{newRealWorld(t, "ip")}
					c.run(t, ip)
					d := "not compared"
					for deadline := time.Now().Add(patience); d != "" && time.Now().Before(deadline); {
						d = gocmp.Diff(strings.Split(ip.json(t), "\n"), strings.Split(private.json(t), "\n"))
					}
					if d != "" {
						t.Errorf("ip(8) shows something else when it made the same (-ip +ours):\n%s", d)
					}
				})
			}
		})
	}
}

// byCommand applies steps by running the commands that they print.
type byCommand struct{ *realWorld }

func (w *byCommand) Apply(_ context.Context, s routing.Step) error { return w.Play(s) }

// run plays the story and holds it to what it should leave.
func (c contractCase) run(t *testing.T, w world) routing.Observation {
	t.Helper()
	for i, a := range c.acts {
		if err := a(w); err != nil {
			t.Fatalf("act %d: %v", i, err)
		}
	}
	obs := observe(t, w)
	got := obs.Have
	want := routing.State{Routes: c.routes, Rules: c.rules, Sysctls: got.Sysctls}
	got.Rules = slices.DeleteFunc(got.Rules, func(r routing.Rule) bool { return r.Protocol == 2 })
	if d := gocmp.Diff(sorted(want), sorted(got), equal...); d != "" {
		t.Errorf("observed (-want +got):\n%s", d)
	}
	return besides(obs)
}

// besides returns what must be the same in all kernels besides routes and rules.
func besides(obs routing.Observation) routing.Observation {
	for i := range obs.Links {
		obs.Links[i].Index = 0
		// A tunnel has a carrier while a process holds it, which none does here.
		obs.Links[i].Carrier = obs.Links[i].Carrier && !obs.Links[i].PointToPoint
	}
	return routing.Observation{Links: obs.Links, Defaults: obs.Defaults, Have: routing.State{Sysctls: obs.Have.Sysctls}}
}

var equal = gocmp.Options{
	cmpopts.EquateEmpty(),
	gocmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	gocmp.Transformer("Route", func(r routing.Route) string { return fmt.Sprintf("%s %v other=%v", r.Family, r, r.Other) }),
}

// sorted puts routes into an order of ours; that of rules is the kernel's and counts.
func sorted(s routing.State) routing.State {
	s.Routes = slices.Clone(s.Routes)
	slices.SortFunc(s.Routes, func(a, b routing.Route) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Metric, b.Metric),
			strings.Compare(a.String(), b.String()))
	})
	return s
}

func observe(t *testing.T, w world) routing.Observation {
	t.Helper()
	obs, err := w.Observe(context.Background(), routing.Scope{
		Families:   []config.Family{config.IPv4, config.IPv6},
		Interfaces: []string{"w0", "w1", "ppp0"},
		Tables:     []uint32{1001, 1002},
		Sysctls:    []string{"net/ipv4/ip_forward", "net/ipv4/conf/w0/rp_filter", "net/ipv4/conf/w9/rp_filter"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return obs
}
