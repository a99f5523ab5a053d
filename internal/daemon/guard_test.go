package daemon_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/firewall"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// guarded is a world whose daemon keeps a managed firewall.
func guarded(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, threeStatic)
	w.cfg = managedFile(t, threeStatic)
	return w
}

func managedFile(t *testing.T, uplinks string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("test.conf", []byte("uplinks:\n"+uplinks+rest+"firewall: managed\n"))
	if cfg == nil {
		t.Fatal(problems)
	}
	return cfg
}

// guard starts a daemon on the world's kernel and returns it with what stops it.
func (w *world) guard() (d *daemon.Daemon, stop func()) {
	opts := w.options(w.kernel)
	opts.Firewall = w.kernel
	return w.startWith(opts)
}

// dealt is the deal that the table holds, or "" if there is no table.
func (w *world) dealt() string {
	for _, o := range w.kernel.Firewall().Objects {
		if o.Name == "deal" {
			return strings.Join(o.Lines, "; ")
		}
	}
	return ""
}

const (
	firstGroup  = "numgen inc mod 3 vmap { 0 : goto steer2, 1 : goto steer1, 2 : goto steer2 }"
	secondGroup = "numgen inc mod 1 vmap { 0 : goto steer3 }"
)

// The table is there when the daemon is ready; failures within a group change routes alone, another group
// changes the deal.
func TestGuardFollowsTheGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		_, stop := w.guard()
		defer stop()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		if got := w.dealt(); got != firstGroup {
			t.Fatalf("the deal is %q", got)
		}
		w.until(5*time.Second, "the lines are judged", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		made := w.kernel.Firewall()
		w.must(w.kernel.SetCarrier("eth2", false))
		w.until(time.Second, "the other line carries all", func() bool { return w.defaults() == "eth1*1" })
		if !w.kernel.Firewall().Equal(made) {
			t.Error("the failure of a line changed the firewall")
		}
		if got := w.steered(); !slices.Equal(got, []string{"eth1", "eth1", "eth1"}) {
			t.Errorf("the turns lead to %v", got)
		}
		w.must(w.kernel.SetCarrier("eth1", false))
		w.until(time.Second, "the second group's deal", func() bool { return w.dealt() == secondGroup })
		w.must(w.kernel.SetCarrier("eth1", true))
		w.until(time.Minute, "the first group's deal", func() bool { return w.dealt() == firstGroup })
		if n := w.logs.count("was changed by another program"); n != 0 {
			t.Errorf("its own changes were taken for another's %d times", n)
		}
	})
}

// steered are the interfaces that the tables of the steers lead to.
func (w *world) steered() []string {
	var all []string
	for _, steer := range w.cfg.Steers {
		for _, r := range w.have().Routes {
			if r.Table == steer.Table && r.Metric == 0 {
				all = append(all, r.NextHops[0].Interface)
			}
		}
	}
	return all
}

// What another program does is put back at once and told; a fight is slowed, told, and over when it is over.
func TestGuardPutsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		_, stop := w.guard()
		defer stop()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		made := w.kernel.Firewall()
		whole := func() bool { return w.kernel.Firewall().Equal(made) }
		time.Sleep(time.Second)

		w.kernel.ChangeFirewall(func(t *firewall.Table) {
			i := slices.IndexFunc(t.Objects, func(o firewall.Object) bool { return o.Name == "restore" })
			t.Objects[i].Lines = []string{"drop"}
		}, false)
		if took := w.until(time.Second, "the chain is put back", whole); took > 10*time.Millisecond {
			t.Errorf("put back after %v", took)
		}
		if n := w.logs.count("the firewall table was changed by another program (chain restore): put back"); n != 1 {
			t.Errorf("told %d times", n)
		}
		w.kernel.FlushRuleset()
		w.until(time.Second, "the table is put back", whole)
		if n := w.logs.count("(it was removed): put back"); n != 1 {
			t.Errorf("told %d times that it was removed", n)
		}

		count := 0
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(200 * time.Millisecond) {
			if whole() {
				w.kernel.FlushRuleset()
				count++
			}
		}
		if count < 4 || count > 8 {
			t.Errorf("in a fight of 30 s the table was put back %d times", count)
		}
		if n := w.logs.count("another program changes it each time"); n != 1 {
			t.Errorf("the fight was told %d times", n)
		}
		warned := func() bool {
			return slices.ContainsFunc(w.last().Warnings, func(r routing.Warning) bool { return r.Code == "fight" })
		}
		if !warned() {
			t.Error("the status does not say that there is a fight")
		}
		w.until(15*time.Second, "the table is put back after the fight", whole)
		w.until(5*time.Minute, "the fight is over", func() bool { return !warned() })
	})
}

// Connections that were there before the table are given to their lines at the start, whatever mark an earlier run gave
// them, and again where a reload
// gives the lines other marks.
func TestGuardMarksConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		d, stop := w.guard()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		lines := func(marks ...uint32) map[netip.Addr]uint32 {
			m := map[netip.Addr]uint32{}
			for i, a := range []string{"192.0.2.2", "198.51.100.130", "203.0.113.2"} {
				m[netip.MustParseAddr(a)] = marks[i]
			}
			return m
		}
		mask := w.cfg.Numbers.Mask
		want := []sim.Marking{{Family: config.IPv4, To: firewall.Marking{Mask: mask, Lines: lines(1, 2, 3), Again: true}}}
		if diff := cmp.Diff(want, w.kernel.Markings(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		uplinks := strings.SplitAfter(threeStatic, "\n")
		slices.Reverse(uplinks)
		w.must(d.Reload(t.Context(), managedFile(t, strings.Join(uplinks, ""))))
		w.until(time.Second, "marked again", func() bool { return len(w.kernel.Markings()) == 2 })
		want = append(want, sim.Marking{Family: config.IPv4, To: firewall.Marking{Mask: mask, Lines: lines(3, 2, 1), Moved: map[uint32]uint32{1: 3, 3: 1}}})
		if diff := cmp.Diff(want, w.kernel.Markings(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		w.kernel.ChangeFirewall(func(t *firewall.Table) { t.Objects[len(t.Objects)-1].Lines = nil }, false)
		w.until(time.Second, "what began while a chain was empty is looked for", func() bool { return len(w.kernel.Markings()) == 3 })
		want = append(want, sim.Marking{Family: config.IPv4, To: firewall.Marking{Mask: mask, Lines: lines(3, 2, 1)}})
		if diff := cmp.Diff(want, w.kernel.Markings(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		stop()
		_, stop = w.guard() // a restart finds the table
		w.until(5*time.Second, "ready again", func() bool { return w.ready.Load() == 2 })
		n := len(w.kernel.Markings())
		if n != 3 && w.logs.count("brought up to date") == 0 {
			t.Errorf("a restart marked connections: %d", n)
		}
		stop()
		w.kernel.ChangeFirewall(func(t *firewall.Table) { t.Objects[len(t.Objects)-1].Lines = nil }, false)
		_, stop = w.guard() // a restart finds the table changed
		defer stop()
		w.until(5*time.Second, "ready with the table put back", func() bool { return w.ready.Load() == 3 })
		w.until(time.Second, "what began while nothing ran is looked for", func() bool { return len(w.kernel.Markings()) > n })
	})
}

// A reload to a manual firewall removes the table, one back makes it, and a start with a manual firewall
// removes what an earlier run left.
func TestGuardSwitches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		managed, manual := w.cfg, parse(t, threeStatic)
		d, stop := w.guard()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		made := w.kernel.Firewall()
		for range 2 {
			w.must(d.Reload(t.Context(), manual))
			w.until(time.Second, "the table is gone", func() bool { return len(w.kernel.Firewall().Objects) == 0 })
			w.must(d.Reload(t.Context(), managed))
			w.until(time.Second, "the table is there", func() bool { return w.kernel.Firewall().Equal(made) })
		}
		stop()
		w.cfg = manual
		_, stop = w.guard()
		defer stop()
		w.until(5*time.Second, "ready with a manual firewall", func() bool { return w.ready.Load() == 2 })
		w.until(time.Second, "the table of the run before is gone", func() bool { return len(w.kernel.Firewall().Objects) == 0 })
	})
}

// Marks that lines had are followed through reloads and a restart, those of lines that are gone too, and for as long
// as it fails.
func TestGuardFollowsMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		d, stop := w.guard()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		uplinks := strings.SplitAfter(threeStatic, "\n")
		moved := func(file string) map[uint32]uint32 {
			t.Helper()
			n := len(w.kernel.Markings())
			w.must(d.Reload(t.Context(), managedFile(t, file)))
			w.until(10*time.Second, "marked", func() bool { return len(w.kernel.Markings()) > n })
			return w.kernel.Markings()[n].To.Moved
		}
		if diff := cmp.Diff(map[uint32]uint32{1: 0, 2: 1, 3: 2}, moved(uplinks[1]+uplinks[2])); diff != "" {
			t.Errorf("the first of three was removed (-want +got)\n%s", diff)
		}
		w.kernel.FailMarking(errors.New("no buffer space available"))
		w.kernel.FailMarking(errors.New("no buffer space available"))
		if diff := cmp.Diff(map[uint32]uint32{1: 2, 2: 1}, moved(uplinks[2]+uplinks[1])); diff != "" {
			t.Errorf("two were exchanged (-want +got)\n%s", diff)
		}
		if n := w.logs.count("not all connections that were there before could be given"); n != 1 {
			t.Errorf("a failure was told %d times", n)
		}
		stop()
		w.cfg = managedFile(t, uplinks[1])
		n := len(w.kernel.Markings())
		options := w.options(w.kernel)
		options.Firewall = w.kernel
		options.Known = []daemon.Known{
			{Interface: "eth3", Family: config.IPv4, Mark: 1}, {Interface: "eth2", Family: config.IPv4, Mark: 2},
		}
		_, stop = w.startWith(options)
		defer stop()
		w.until(10*time.Second, "marked after the restart", func() bool { return len(w.kernel.Markings()) > n })
		to := w.kernel.Markings()[n].To
		if diff := cmp.Diff(map[uint32]uint32{1: 0, 2: 1}, to.Moved); diff != "" || !to.Again {
			t.Errorf("a restart with another file: again %v (-want +got)\n%s", to.Again, diff)
		}
	})
}

// Where the table is made and what follows fails, connections get their marks all the same.
func TestGuardMarksLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		options := w.options(w.kernel)
		options.Firewall = &halfway{Kernel: w.kernel}
		_, stop := w.startWith(options)
		defer stop()
		w.until(5*time.Second, "the table is made, and connections are marked", func() bool { return len(w.kernel.Markings()) == 1 })
		if !w.kernel.Markings()[0].To.Again {
			t.Error("marks of an earlier run are kept")
		}
		if w.logs.count("the firewall table is set up") != 1 {
			t.Error("it is not told that the table is set up")
		}
	})
}

// halfway makes the table, and fails then, once.
type halfway struct {
	*sim.Kernel
	failed atomic.Bool
}

func (h *halfway) SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	drift, err := h.Kernel.SetFirewall(ctx, want)
	if err == nil && !h.failed.Swap(true) {
		err = errors.New("nft was killed")
	}
	return drift, err
}

// Rules and routes of a policy that was removed stay while the table that leads to them does, however long nft takes.
func TestGuardIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		with := managedFile(t, threeStatic)
		withPolicy, problems := config.Parse("test.conf", []byte("uplinks:\n"+threeStatic+rest+"firewall: managed\npolicies: [{name: p, destination: 203.0.113.0/24, uplinks: three, last_resort: block}]\n"))
		if withPolicy == nil {
			t.Fatal(problems)
		}
		w.cfg = withPolicy
		slow := &slowTable{Kernel: w.kernel}
		options := w.options(w.kernel)
		options.Firewall = slow
		d, stop := w.startWith(options)
		defer stop()
		w.until(5*time.Second, "ready", func() bool { return w.ready.Load() == 1 })
		steer, ok := withPolicy.Steer(1, config.NoUplink)
		led := func() bool {
			return slices.ContainsFunc(rulesOf(w.have()), func(r routing.Rule) bool { return r.Table == steer.Table })
		}
		if !ok || !led() {
			t.Fatal("nothing leads to the policy's table")
		}
		slow.takes.Store(int64(9 * time.Second))
		began := time.Now()
		reloaded := make(chan error)
		go func() { reloaded <- d.Reload(t.Context(), with) }()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if !led() {
			t.Error("the rule is gone before the table that needs it")
		}
		w.must(d.Ping(t.Context()))
		w.must(<-reloaded)
		if took := time.Since(began); took < 9*time.Second {
			t.Errorf("the reload was done after %s, the firewall was not", took)
		}
		w.until(2*time.Second, "the rule is gone", func() bool { return !led() })
	})
}

// slowTable takes its time to set the table.
type slowTable struct {
	*sim.Kernel
	takes atomic.Int64
}

func (s *slowTable) SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	select {
	case <-time.After(time.Duration(s.takes.Load())):
	case <-ctx.Done():
	}
	return s.Kernel.SetFirewall(ctx, want)
}
