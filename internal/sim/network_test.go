package sim_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/sim"
)

var (
	own    = netip.MustParseAddr("192.0.2.2")
	target = netip.MustParseAddr("203.0.113.1")
	second = netip.MustParseAddr("203.0.113.2")
)

func TestProbe(t *testing.T) {
	cases := []struct {
		name    string
		event   func(t *testing.T, k *sim.Kernel, n *sim.Network)
		device  string
		source  netip.Addr
		answers bool
		is      error
		takes   time.Duration
	}{
		{"answer", nil, "w0", own, true, nil, 30 * time.Millisecond},
		{"silent line", func(_ *testing.T, _ *sim.Kernel, n *sim.Network) { n.Set("w0", sim.Condition{Silent: true}) }, "w0", own, false, context.DeadlineExceeded, time.Second},
		{"lossy line", func(_ *testing.T, _ *sim.Kernel, n *sim.Network) { n.Set("w0", sim.Condition{Loss: 1}) }, "w0", own, false, context.DeadlineExceeded, time.Second},
		{"line too slow", func(_ *testing.T, _ *sim.Kernel, n *sim.Network) { n.Set("w0", sim.Condition{RTT: 2 * time.Second}) }, "w0", own, false, context.DeadlineExceeded, time.Second},
		{"silent target", func(_ *testing.T, _ *sim.Kernel, n *sim.Network) {
			n.SetTarget("w0", target, sim.Condition{Silent: true})
		}, "w0", own, false, context.DeadlineExceeded, time.Second},
		{"another target silent", func(_ *testing.T, _ *sim.Kernel, n *sim.Network) {
			n.SetTarget("w0", second, sim.Condition{Silent: true})
		}, "w0", own, true, nil, 30 * time.Millisecond},
		{"no carrier", func(t *testing.T, k *sim.Kernel, _ *sim.Network) { must(t, k.SetCarrier("w0", false)) }, "w0", own, false, context.DeadlineExceeded, time.Second},
		{"link down", func(t *testing.T, k *sim.Kernel, _ *sim.Network) { must(t, k.SetUp("w0", false)) }, "w0", own, false, syscall.ENETDOWN, 0},
		{"no such interface", nil, "w9", own, false, syscall.ENODEV, 0},
		{"not our address", nil, "w0", target, false, syscall.EADDRNOTAVAIL, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := host(t)
				n := sim.NewNetwork(k, 1)
				n.Set("w0", sim.Condition{RTT: 30 * time.Millisecond})
				if c.event != nil {
					c.event(t, k, n)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				rtt, err := n.Probe(ctx, c.device, c.source, config.Echo(target), false)
				if (err == nil) != c.answers || !c.answers && !errors.Is(err, c.is) {
					t.Errorf("got %v, error %v", rtt, err)
				}
				if took := time.Since(began); took != c.takes || c.answers && rtt != took {
					t.Errorf("took %v, want %v; round-trip time %v", took, c.takes, rtt)
				}
				if errors.Is(err, context.DeadlineExceeded) && err.Error() != "no answer within 1s" {
					t.Errorf("said %q", err)
				}
			})
		})
	}
}

func TestProbeIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sim.NewNetwork(host(t), 1)
		n.Set("w0", sim.Condition{RTT: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := n.Probe(ctx, "w0", own, config.Echo(target), false); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
	})
}

// fates returns what becomes of 200 probes to each of two targets, asked in turn or at once.
func fates(t *testing.T, seed uint64, atOnce bool) map[netip.Addr][]string {
	got := map[netip.Addr][]string{target: make([]string, 200), second: make([]string, 200)}
	synctest.Test(t, func(t *testing.T) {
		n := sim.NewNetwork(host(t), seed)
		n.Set("w0", sim.Condition{Loss: 0.3, RTT: 20 * time.Millisecond, Jitter: 10 * time.Millisecond})
		ask := func(to netip.Addr) {
			for i := range got[to] {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				rtt, err := n.Probe(ctx, "w0", own, config.Echo(to), false)
				cancel()
				got[to][i] = fmt.Sprint(rtt, err)
				if err == nil && (rtt < 20*time.Millisecond || rtt > 30*time.Millisecond) {
					t.Errorf("round-trip time %v", rtt)
				}
			}
		}
		var both sync.WaitGroup
		both.Go(func() { ask(target) })
		if !atOnce {
			both.Wait()
		}
		both.Go(func() { ask(second) })
		both.Wait()
	})
	return got
}

func TestProbesFollowTheSeed(t *testing.T) {
	first := fates(t, 7, true)
	addr := cmp.Transformer("Addr", netip.Addr.String)
	if d := cmp.Diff(first, fates(t, 7, false), addr); d != "" {
		t.Errorf("same seed, other order (-first +second):\n%s", d)
	}
	if cmp.Equal(first[target], first[second]) || cmp.Equal(first[target], fates(t, 8, true)[target]) {
		t.Error("other targets or other seeds have the same fate")
	}
	lost := 0
	for _, f := range first[target] {
		if f != "" && f[:2] == "0s" {
			lost++
		}
	}
	if lost < 40 || lost > 80 {
		t.Errorf("%d of 200 lost with a loss of 0.3", lost)
	}
}
