package daemon_test

import (
	"context"
	"fmt"
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
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/sim"
	"ftr/internal/status"
)

// flapper breaks and mends the lines of a simulated host at random. It knows what is true of each line,
// and holds the daemon and the kernel against that.
type flapper struct {
	*world
	daemon          *daemon.Daemon
	dice            *rand.Rand
	wires           []*wire
	story           story
	latest          atomic.Pointer[status.Snapshot]
	news            chan struct{}            // there is a newer snapshot
	flaps, instants int                      // instants are those that are over at once
	longest         map[string]time.Duration // until all was right, by what had happened
}

// wire is a line and what is wrong with it.
type wire struct {
	config.Uplink
	address routing.Address
	router  netip.Addr // that DHCP names
	renewed int
	trouble *trouble // nil: it is well
}

// trouble is a way to break a line, and to mend it.
type trouble struct {
	name        string
	spoil, mend func(f *flapper, w *wire) error
}

func troubles() []*trouble {
	return []*trouble{
		{"carrier", func(f *flapper, w *wire) error { return f.kernel.SetCarrier(w.Interface, false) },
			func(f *flapper, w *wire) error { return f.kernel.SetCarrier(w.Interface, true) }},
		{"silent", func(f *flapper, w *wire) error { f.silence(w.Interface, true); return nil },
			func(f *flapper, w *wire) error { f.silence(w.Interface, false); return nil }},
		{"down", func(f *flapper, w *wire) error { return f.kernel.SetUp(w.Interface, false) },
			func(f *flapper, w *wire) error { return f.appear(w, f.kernel.SetUp(w.Interface, true)) }},
		{"address", func(f *flapper, w *wire) error { return f.kernel.RemoveAddress(w.Interface, w.address.Prefix.Addr()) },
			func(f *flapper, w *wire) error { return f.appear(w, f.kernel.AddAddress(w.Interface, f.renew(w))) }},
		{"removed", func(f *flapper, w *wire) error { return f.kernel.RemoveLink(w.Interface) }, (*flapper).plug},
	}
}

// renew gives a line that is not static another address for next time.
func (f *flapper) renew(w *wire) routing.Address {
	if w.Type == config.Static || f.dice.IntN(4) == 0 {
		return w.address // the same again
	}
	w.renewed++
	b := w.address.Prefix.Addr().As4()
	b[3] = byte(2 + w.renewed%200)
	w.address.Prefix = netip.PrefixFrom(netip.AddrFrom4(b), w.address.Prefix.Bits())
	if w.Type == config.PPP { // with the same peer it would be a secondary address
		w.address.Peer = netip.AddrFrom4([4]byte{100, 96, byte(w.Index), byte(1 + w.renewed%2)})
	}
	return w.address
}

// plug makes the interface anew.
func (f *flapper) plug(w *wire) error {
	for _, err := range []error{
		f.kernel.AddLink(w.Interface, w.Type == config.PPP), f.kernel.SetUp(w.Interface, true),
		f.kernel.AddAddress(w.Interface, f.renew(w)),
	} {
		if err != nil {
			return err
		}
	}
	return f.appear(w, nil)
}

// appear does what a DHCP client does when its line is there.
func (f *flapper) appear(w *wire, err error) error {
	if err != nil || w.Type != config.DHCP {
		return err
	}
	f.kernel.SetLease(w.Interface, w.router)
	return f.kernel.Play(routing.Step{Op: routing.Replace, Route: &routing.Route{
		Family: config.IPv4, Table: 254, Type: routing.Unicast, Destination: prefix("0.0.0.0/0"), Protocol: 16,
		Metric: 100 + uint32(w.Index), NextHops: []routing.NextHop{{Interface: w.Interface, Gateway: w.router, Weight: 1}},
	}})
}

// reroute changes a line that works: another gateway, or another address and peer.
func (f *flapper) reroute(w *wire) error {
	switch w.Type {
	case config.DHCP:
		routers := []netip.Addr{w.address.Prefix.Masked().Addr().Next(), netip.AddrFrom4([4]byte{100, 64, byte(w.Index), 254})}
		w.router = routers[f.dice.IntN(2)]
		return f.appear(w, nil)
	case config.PPP:
		before := w.address.Prefix.Addr()
		if f.renew(w).Prefix.Addr() == before {
			return nil
		}
		if err := f.kernel.AddAddress(w.Interface, w.address); err != nil {
			return err
		}
		return f.kernel.RemoveAddress(w.Interface, before)
	case config.Static: // stays as it is configured
	}
	return nil
}

// What the daemon says of faults that are not the lines'.
const (
	putBack  = "put back what another program"
	fight    = "another program undoes"
	mistake  = "level=ERROR"
	voteless = "silent through all lines"
)

// story is the end of what the daemon said.
type story struct {
	mu     sync.Mutex
	lines  []string
	counts map[string]int // of the words above
}

func (s *story) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(p)
	if len(s.lines) == 60 {
		s.lines = slices.Delete(s.lines, 0, 1)
	}
	s.lines = append(s.lines, text)
	for _, words := range []string{putBack, fight, mistake, voteless} {
		if strings.Contains(text, words) {
			s.counts[words]++
		}
	}
	return len(p), nil
}

func (s *story) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[words]
}

func (s *story) end() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "")
}

// newFlapper makes the host and starts the daemon on it.
func newFlapper(t *testing.T, seed uint64) (f *flapper, stop func()) {
	cfg, problems := config.Parse("test", []byte(eightLines))
	if cfg == nil {
		t.Fatal(problems)
	}
	f = &flapper{
		world: &world{t: t, cfg: cfg}, dice: rand.New(rand.NewPCG(seed, 4)), news: make(chan struct{}, 1),
		longest: map[string]time.Duration{}, story: story{counts: map[string]int{}},
	}
	var err error
	f.kernel, f.network, _, err = sim.Demo(cfg, seed)
	f.must(err)
	obs, err := f.kernel.Observe(t.Context(), routing.ScopeOf(cfg))
	f.must(err)
	for _, u := range cfg.Uplinks {
		f.network.Set(u.Interface, sim.Condition{RTT: 10 * time.Millisecond, Jitter: time.Millisecond})
		link, _ := obs.Link(u.Interface)
		f.wires = append(f.wires, &wire{Uplink: u, address: link.Addresses[0], router: link.Addresses[0].Prefix.Masked().Addr().Next()})
	}
	f.daemon = daemon.New(daemon.Options{
		Config: cfg, Kernel: f.kernel, Prober: f.network, Flows: f.kernel, Rand: rand.New(rand.NewPCG(seed, 5)),
		Logger: slog.New(slog.NewTextHandler(&f.story, nil)),
		Publish: func(s *status.Snapshot) {
			f.latest.Store(s)
			select {
			case f.news <- struct{}{}:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.daemon.Run(ctx) }()
	return f, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the daemon ended with: %v", err)
		}
	}
}

// settle lets simulated time pass until everything is as the truth wants it.
func (f *flapper) settle(limit time.Duration, what string) {
	f.t.Helper()
	began := time.Now()
	over := time.After(limit)
	for {
		synctest.Wait()
		wrong := f.wrong()
		if wrong == "" {
			break
		}
		select {
		case <-f.news:
		case <-over:
			f.t.Fatalf("flap %d: %v after %s still: %s\nlines: %s\n%s", f.flaps, limit, what, wrong, f, f.story.end())
		}
	}
	f.longest[what] = max(f.longest[what], time.Since(began))
}

// stays holds that everything still is as it should be.
func (f *flapper) stays(pause time.Duration) {
	f.t.Helper()
	time.Sleep(pause)
	synctest.Wait()
	if wrong := f.wrong(); wrong != "" {
		f.t.Fatalf("flap %d: %v later, though nothing happened: %s\nlines: %s\n%s", f.flaps, pause, wrong, f, f.story.end())
	}
}

// String says what is wrong with the lines.
func (f *flapper) String() string {
	var list []string
	for _, w := range f.wires {
		if w.trouble != nil {
			list = append(list, w.Interface+" "+w.trouble.name)
		}
	}
	return strings.Join(list, ", ")
}

// wrong says what is not yet as the truth wants it; empty: nothing.
func (f *flapper) wrong() string {
	last := f.latest.Load()
	if last == nil {
		return "no snapshot"
	}
	for i, w := range f.wires {
		want := health.Up
		if w.trouble != nil {
			want = health.Down
		}
		if got := last.Uplinks[i].Health; got.State != want {
			return fmt.Sprintf("%s is %s (%s), want %s", w.Interface, got.State, got.Reason, want)
		}
	}
	obs, err := f.kernel.Observe(context.Background(), routing.ScopeOf(f.cfg))
	f.must(err)
	want := routing.Want(f.cfg, &obs, routing.Resolve(f.cfg, &obs), []routing.Selection{f.selection(last)})
	if steps := routing.Plan(f.cfg, obs.Have, want); len(steps) > 0 {
		return fmt.Sprintf("the kernel lacks %v", steps)
	}
	return f.kept()
}

// kept says whose connections the kernel still has though the line is dead and others are not.
func (f *flapper) kept() string {
	if !slices.ContainsFunc(f.wires, func(w *wire) bool { return w.Grouped && w.trouble == nil }) {
		return ""
	}
	for _, w := range f.wires {
		if n := f.kernel.Flows(config.IPv4, w.Mark); w.trouble != nil && n > 0 {
			return fmt.Sprintf("%d connections of %s were not released", n, w.Interface)
		}
	}
	return ""
}

// selection is the one that should be: the lines of the best group that are well, and those of last time
// where none is.
func (f *flapper) selection(last *status.Snapshot) routing.Selection {
	s := routing.Selection{Family: config.IPv4}
	best := 0
	for _, w := range f.wires {
		if !w.Grouped || w.trouble != nil || len(s.Members) > 0 && w.Group > best {
			continue
		}
		if w.Group < best {
			s.Members = nil
		}
		best = w.Group
		s.Members = append(s.Members, routing.Member{Uplink: w.Index, Weight: w.Weight})
	}
	if len(s.Members) > 0 {
		return s
	}
	s.Kept = true
	for i, u := range last.Uplinks {
		if u.Routing {
			s.Members = append(s.Members, routing.Member{Uplink: i, Weight: u.Weight})
		}
	}
	return s
}
