package daemon_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/routing"
	"ftr/internal/sim"
	"ftr/internal/status"
)

// world is a simulated host with its lines, and the daemon's life on it.
type world struct {
	t       *testing.T
	cfg     *config.Config
	kernel  *sim.Kernel
	network *sim.Network
	chaos   *sim.Chaos
	logs    *logBook

	mu        sync.Mutex
	mails     []string
	snapshots []*status.Snapshot
	remember  []string

	restored, ready atomic.Int32
}

// logBook collects what is logged; it may be written concurrently.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), s)
}

// newWorld makes a host with a line for each uplink of a configuration, all well.
func newWorld(t *testing.T, uplinks string) *world {
	t.Helper()
	return newWorldOf(t, parse(t, uplinks))
}

func newWorldOf(t *testing.T, cfg *config.Config) *world {
	t.Helper()
	w := &world{t: t, cfg: cfg, logs: &logBook{}}
	var err error
	if w.kernel, w.network, w.chaos, err = sim.Demo(cfg, 1); err != nil {
		t.Fatal(err)
	}
	for _, u := range cfg.Uplinks {
		w.network.Set(u.Interface, sim.Condition{RTT: 10 * time.Millisecond, Jitter: time.Millisecond})
	}
	return w
}

// rest is what follows the uplinks in the tests' configurations.
const rest = `
downlinks: {lan: lan0}
tests:
  ips: [198.51.100.1, 198.51.100.2, 198.51.100.3, 198.51.100.4, 198.51.100.5, 198.51.100.6]
  required_successful: 4
  ping_retries: 3
  interval: 1
base_table: 1
base_priority: 20000
base_fwmark: 1
`

const threeStatic = `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, description: one, priority_group: 1}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, description: two, priority_group: 1, weight: 2}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, description: three, priority_group: 2}
`

// options are those of a daemon that reports to the world.
func (w *world) options(k daemon.Kernel) daemon.Options {
	return daemon.Options{
		Config: w.cfg, Kernel: k, Prober: w.network,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(w.logs), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Rand:   rand.New(rand.NewPCG(1, 2)),
		Remember: func(before []routing.Sysctl) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, s := range before {
				w.remember = append(w.remember, s.Key+"="+s.Value)
			}
			return nil
		},
		Notify: func(_ time.Time, _, body string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.mails = append(w.mails, body)
		},
		Publish: func(s *status.Snapshot) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.snapshots = append(w.snapshots, s)
		},
		Restored: func() { w.restored.Add(1) },
		Ready:    func() { w.ready.Add(1) },
	}
}

// run starts the daemon and returns what stops it and waits for its end.
func (w *world) run() (stop func()) { return w.runOn(w.kernel) }

func (w *world) runOn(k daemon.Kernel) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- daemon.New(w.options(k)).Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the daemon ended with: %v", err)
		}
	}
}

// until lets simulated time pass until a condition holds, and returns how much that was.
func (w *world) until(limit time.Duration, what string, condition func() bool) time.Duration {
	w.t.Helper()
	step := time.Millisecond
	for began := time.Now(); ; time.Sleep(step) {
		synctest.Wait()
		if condition() {
			return time.Since(began)
		}
		if time.Since(began) > time.Second {
			step = 20 * time.Millisecond
		}
		if time.Since(began) > limit {
			w.t.Fatalf("after %v still not: %s; default routes: %v", limit, what, w.defaults())
		}
	}
}

// have is what the simulated kernel holds.
func (w *world) have() routing.State {
	obs, err := w.kernel.Observe(context.Background(), routing.ScopeOf(w.cfg))
	if err != nil {
		w.t.Fatal(err)
	}
	return obs.Have
}

// defaults are the interfaces and weights of the default route that new connections take.
func (w *world) defaults() string {
	for _, r := range w.have().Routes {
		if r.Table == w.cfg.Numbers.DefaultTable && r.IsDefault() && r.Metric == 0 {
			var hops []string
			for _, h := range r.NextHops {
				hops = append(hops, fmt.Sprintf("%s*%d", h.Interface, h.Weight))
			}
			return strings.Join(hops, " ")
		}
	}
	return ""
}

// line is the way that the own table of an uplink leads.
func (w *world) line(uplink int) string {
	for _, r := range w.have().Routes {
		if r.Table == w.cfg.Uplinks[uplink].Table && r.IsDefault() && r.Type == routing.Unicast {
			return r.String()
		}
	}
	return ""
}

// agreed tells whether the kernel holds all that the daemon wants, and nothing of ours besides.
func (w *world) agreed() bool {
	obs, err := w.kernel.Observe(context.Background(), routing.ScopeOf(w.cfg))
	if err != nil {
		w.t.Fatal(err)
	}
	adopted := routing.Adopt(w.cfg, config.IPv4, obs.Have)
	if adopted == nil {
		return false
	}
	want := routing.Want(w.cfg, &obs, routing.Resolve(w.cfg, &obs), []routing.Selection{*adopted})
	obs.Have.Held = routing.Places{} // nobody else may have the place of one of ours
	obs.Have.Held.Write(w.cfg, routing.State{}, want)
	return len(routing.Plan(w.cfg, obs.Have, want)) == 0
}

func (w *world) mailCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mails)
}

// turns is how often the daemon published.
func (w *world) turns() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.snapshots)
}

func (w *world) lastMail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mails) == 0 {
		return ""
	}
	return w.mails[len(w.mails)-1]
}

func (w *world) silence(device string, silent bool) {
	c := w.network.Line(device)
	c.Silent = silent
	w.network.Set(device, c)
}

// must fails the test if playing an event did.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// applied counts the steps that touched a table.
func (w *world) applied(table uint32) int {
	n := 0
	for _, s := range w.kernel.Applied() {
		if s.Route != nil && s.Route.Table == table {
			n++
		}
	}
	return n
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func rulesOf(s routing.State) []routing.Rule {
	return slices.DeleteFunc(slices.Clone(s.Rules), func(r routing.Rule) bool { return r.Protocol != routing.RuleProtocol })
}

func (w *world) last() *status.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snapshots[len(w.snapshots)-1]
}
