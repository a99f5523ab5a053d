package kernel_test

import (
	"context"
	"errors"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/sim"
)

// flowWorld is a kernel that tracks and counts.
type flowWorld interface {
	Release(ctx context.Context, family config.Family, mark, mask uint32) (int, error)
	SetEvidence(ctx context.Context, families []config.Family, interfaces []string) error
	RemoveEvidence(ctx context.Context) error
	SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error)
	Counters(ctx context.Context, table string, families []config.Family) (map[config.Family]map[string]health.Packets, error)

	AddFlows(f config.Family, mark uint32, count int)
	FlushRuleset()
}

var (
	_ flowWorld = (*realWorld)(nil)
	_ flowWorld = (*sim.Kernel)(nil)
)

func (w *realWorld) AddFlows(f config.Family, mark uint32, count int) { w.flows(f, count, mark) }
func (w *realWorld) FlushRuleset()                                    { w.run("!nft flush ruleset") }

// TestFlowsAlike holds the real and the simulated kernel to the same story.
func TestFlowsAlike(t *testing.T) {
	private := newRealWorld(t, "alike")
	private.tracking()
	for name, w := range map[string]flowWorld{"real": private, "sim": sim.New()} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			ended, cancel := context.WithCancel(ctx)
			cancel()
			w.AddFlows(config.IPv4, 1, 3)
			w.AddFlows(config.IPv6, 2, 4)
			release := func(f config.Family, mark, mask uint32, want int) {
				t.Helper()
				if n, err := w.Release(ctx, f, mark, mask); n != want || err != nil {
					t.Errorf("released %d %s connections with mark %#x/%#x (%v), want %d", n, f, mark, mask, err, want)
				}
			}
			if _, err := w.Release(ctx, config.IPv4, 0, 0); err == nil {
				t.Error("a filter that matches everything was accepted")
			}
			if _, err := w.Release(ended, config.IPv4, 1, 0xff); !errors.Is(err, context.Canceled) {
				t.Errorf("release with an ended context: %v", err)
			}
			release(config.IPv6, 1, 0xff, 0)
			release(config.IPv4, 1, 0xff, 3)
			release(config.IPv4, 1, 0xff, 0)
			release(config.IPv6, 2, 0xffffffff, 4)

			gone := func(families ...config.Family) {
				t.Helper()
				if _, err := w.Counters(ctx, firewall.EvidenceTable, families); !errors.Is(err, firewall.ErrNoEvidence) {
					t.Errorf("counters of %v: %v", families, err)
				}
			}
			set := func(families []config.Family, interfaces ...string) {
				t.Helper()
				if err := w.SetEvidence(ctx, families, interfaces); err != nil {
					t.Fatal(err)
				}
				got, err := w.Counters(ctx, firewall.EvidenceTable, families)
				for _, f := range families {
					want := map[string]health.Packets{}
					for _, name := range interfaces {
						want[name] = health.Packets{}
					}
					if diff := gocmp.Diff(want, got[f]); diff != "" || err != nil {
						t.Errorf("%s (-want +got): %v\n%s", f, err, diff)
					}
				}
			}
			gone(config.IPv4)
			set(both[:1], "w0", "w1")
			gone(both...)
			set(both, "w1")
			set(both[:1], "w1")
			gone(config.IPv6)
			set(both, "w1")
			w.FlushRuleset()
			gone(config.IPv4)
			gone(config.IPv6)
			set(both, "w0")
			for range 2 {
				if err := w.RemoveEvidence(ctx); err != nil {
					t.Error(err)
				}
				gone(config.IPv4)
			}
			table := firewall.Table{Objects: []firewall.Object{
				{Kind: firewall.Counter, Name: "sending-ip-w0"}, {Kind: firewall.Counter, Name: "replying-ip-w1"}, {Kind: firewall.Counter, Name: "others"},
			}}
			if _, err := w.SetFirewall(ctx, table); err != nil {
				t.Fatal(err)
			}
			got, err := w.Counters(ctx, firewall.ManagedTable, both[:1])
			if diff := gocmp.Diff(map[config.Family]map[string]health.Packets{config.IPv4: {"w0": {}, "w1": {}}}, got); diff != "" || err != nil {
				t.Errorf("counters of a managed firewall (-want +got): %v\n%s", err, diff)
			}
			gone(config.IPv4)
			w.FlushRuleset()
			if _, err := w.Counters(ctx, firewall.ManagedTable, both[:1]); !errors.Is(err, firewall.ErrNoEvidence) {
				t.Errorf("counters of no managed firewall: %v", err)
			}
			if _, err := w.Counters(ended, firewall.EvidenceTable, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("counters with an ended context: %v", err)
			}
		})
	}
}
