package sim_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// The behaviour of the simulated kernel towards routes and rules is held to that of a real one in
// internal/kernel/contract_test.go. Here is what only the simulation has.

var scope = routing.Scope{
	Families: []config.Family{config.IPv4}, Interfaces: []string{"w0", "w1"}, Tables: []uint32{7},
	Sysctls: []string{"net/ipv4/conf/w0/rp_filter"},
}

func prefix(s string) routing.Address { return routing.Address{Prefix: netip.MustParsePrefix(s)} }

func route(table uint32, device, gateway string) routing.Route {
	return routing.Route{
		Family: config.IPv4, Table: table, Type: routing.Unicast, Destination: netip.MustParsePrefix("0.0.0.0/0"),
		Protocol: routing.RouteProtocol,
		NextHops: []routing.NextHop{{Interface: device, Gateway: netip.MustParseAddr(gateway), Weight: 1}},
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// host is a kernel with one line.
func host(t *testing.T) *sim.Kernel {
	t.Helper()
	k := sim.New()
	must(t, k.AddLink("w0", false), k.SetUp("w0", true), k.AddAddress("w0", prefix("192.0.2.2/24")))
	return k
}

func TestFailNext(t *testing.T) {
	k, ctx := host(t), context.Background()
	r := route(7, "w0", "192.0.2.1")
	step := routing.Step{Op: routing.Replace, Route: &r}
	k.FailNext(syscall.ENOBUFS)
	k.FailNext(nil)
	k.FailNext(syscall.EBUSY)
	if err := k.Apply(ctx, step); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("first: got error %v", err)
	}
	obs, err := k.Observe(ctx, scope)
	must(t, err)
	if len(obs.Have.Routes) != 0 {
		t.Errorf("a step that failed made %v", obs.Have.Routes)
	}
	must(t, k.Apply(ctx, step))
	if err := k.Apply(ctx, step); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("third: got error %v", err)
	}
	if d := cmp.Diff([]string{step.String()}, words(k.Applied())); d != "" {
		t.Errorf("applied (-want +got):\n%s", d)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := k.Apply(ended, step); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got error %v", err)
	}
	if _, err := k.Observe(ended, scope); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: got error %v", err)
	}
}

func words(steps []routing.Step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, s.String())
	}
	return all
}

// TestObservationIsACopy holds that what was observed does not change with the kernel.
func TestObservationIsACopy(t *testing.T) {
	k, ctx := host(t), context.Background()
	r := route(7, "w0", "192.0.2.1")
	must(t, k.Apply(ctx, routing.Step{Op: routing.Replace, Route: &r}))
	obs, err := k.Observe(ctx, scope)
	must(t, err)
	obs.Have.Routes[0].NextHops[0].Weight = 9
	obs.Links[0].Addresses[0] = prefix("198.51.100.1/24")
	r.NextHops[0].Weight = 8
	again, err := k.Observe(ctx, scope)
	must(t, err)
	if w := again.Have.Routes[0].NextHops[0].Weight; w != 1 {
		t.Errorf("weight became %d", w)
	}
	if a := again.Links[0].Addresses[0]; a != prefix("192.0.2.2/24") {
		t.Errorf("address became %v", a)
	}
}

func TestSysctlsAndLeases(t *testing.T) {
	k, ctx := host(t), context.Background()
	key := scope.Sysctls[0]
	must(t, k.Apply(ctx, routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: key, Value: "2"}}))
	if err := k.Apply(ctx, routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: "net/ipv4/nothing", Value: "2"}}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("unknown sysctl: got error %v", err)
	}
	k.SetLease("w0", netip.MustParseAddr("192.0.2.1"))
	k.SetLease("w9", netip.MustParseAddr("192.0.2.9"))
	obs, err := k.Observe(ctx, scope)
	must(t, err)
	if d := cmp.Diff([]routing.Sysctl{{Key: key, Value: "2"}}, obs.Have.Sysctls); d != "" {
		t.Errorf("sysctls (-want +got):\n%s", d)
	}
	if len(obs.Leases) != 1 || obs.Leases["w0"].String() != "192.0.2.1" {
		t.Errorf("leases: %v", obs.Leases)
	}
	k.SetLease("w0", netip.Addr{})
	must(t, k.RemoveLink("w0"))
	if obs, err = k.Observe(ctx, scope); err != nil || len(obs.Leases)+len(obs.Have.Sysctls)+len(obs.Links) != 0 {
		t.Errorf("after the link was removed: %+v, %v", obs, err)
	}
}

func TestEventsOfNothing(t *testing.T) {
	k := host(t)
	for name, err := range map[string]error{
		"missing link":        k.SetUp("w9", true),
		"link of that name":   k.AddLink("w0", false),
		"same address":        k.AddAddress("w0", prefix("192.0.2.2/24")),
		"address not there":   k.RemoveAddress("w0", netip.MustParseAddr("192.0.2.9")),
		"missing link's plug": k.SetCarrier("w9", true),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := host(t)
		ctx, cancel := context.WithCancel(t.Context())
		hints, done := 0, make(chan error, 1)
		go func() { done <- k.Watch(ctx, func() { hints++ }) }()
		expect := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if hints != want {
				t.Errorf("%d hints after %s, want %d", hints, what, want)
			}
		}
		expect("the start", 1)
		must(t, k.SetCarrier("w0", false))
		expect("an event", 2)
		r := route(7, "w0", "192.0.2.1")
		must(t, k.Apply(ctx, routing.Step{Op: routing.Replace, Route: &r}))
		expect("our own change", 2)
		must(t, k.Play(routing.Step{Op: routing.Delete, Route: &r}))
		expect("a change by others", 3)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
		must(t, k.SetCarrier("w0", true))
		expect("the end", 3)
	})
}

// TestConcurrency is for the race detector.
func TestConcurrency(t *testing.T) {
	k := host(t)
	n := sim.NewNetwork(k, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var watch, work sync.WaitGroup
	watch.Go(func() { _ = k.Watch(ctx, func() {}) })
	for range 4 {
		work.Go(func() {
			for i := range 50 {
				r := route(7, "w0", "192.0.2.1")
				errs := []error{
					k.Apply(ctx, routing.Step{Op: routing.Replace, Route: &r}),
					k.Play(routing.Step{Op: routing.Delete, Route: &r}),
					k.SetCarrier("w0", i%2 == 0),
				}
				_, err := k.Observe(ctx, scope)
				n.Set("w0", sim.Condition{})
				if err := errors.Join(append(errs, err)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	cancel()
	watch.Wait()
}
