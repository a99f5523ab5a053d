package daemon_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/sim"
	"ftr/internal/status"
)

// answer makes the i-th target answer through all lines, or none.
func (w *world) answer(i int, answers bool) {
	for _, u := range w.cfg.Uplinks {
		c := sim.Condition{RTT: 10 * time.Millisecond, Silent: !answers}
		w.network.SetTarget(u.Interface, u.Tests.Targets[i].Address, c)
	}
}

// Targets that fall silent through all lines, one after another, take no line out; when the last of them
// has, all lines are down, and the default route is the one that it was.
func TestTargetsDieOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(20 * time.Second)
		for i := range 5 {
			w.answer(i, false)
			time.Sleep(time.Minute)
		}
		if n := w.mailCount(); n != 0 || w.logs.count("is silent through all lines: it has no vote until it answers") != 5 {
			t.Errorf("%d mails, the last: %s\nlog:\n%s", n, w.lastMail(), w.logs.text.String())
		}
		w.answer(5, false)
		w.stays("eth1*1 eth2*2")
	})
}

// stays wants that all lines are found down and that this is told once, and what carries then; after all
// targets answer again all is as before.
func (w *world) stays(defaults string) {
	w.t.Helper()
	w.until(5*time.Second, "all lines are down", func() bool { return strings.Contains(w.lastMail(), "No uplink is well") })
	mails := w.mailCount()
	time.Sleep(10 * time.Minute)
	if w.defaults() != defaults || !w.agreed() {
		w.t.Errorf("new connections use %q, want what was used before", w.defaults())
	}
	if n := w.mailCount() - mails; n != 0 {
		w.t.Errorf("it is told %d times more, the last time: %s", n, w.lastMail())
	}
	if v := status.NewView(w.last(), "", time.Now()); v.State != status.Failed || !strings.Contains(v.Selections[0].Text, "No uplink is well. New connections stay with") {
		w.t.Errorf("the status says: %s %s", v.Summary, v.Selections[0].Text)
	}
	if line := status.Line(w.last()); !strings.HasPrefix(line, "0 of 3 uplinks up; down: one (") || !strings.HasSuffix(line, "the last default route stays") {
		w.t.Errorf("the line for service managers: %s", line)
	}
	for i := range w.cfg.Uplinks[0].Tests.Targets {
		w.answer(i, true)
	}
	// They are asked every 5 s at least, and held back for a moment.
	w.until(20*time.Second, "all is well", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.last().Uplinks[2].Health.State == health.Up })
}

// What silences all at once takes the lines one after another. The line that was found out last does not
// inherit everything.
func TestTargetsDieAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(20 * time.Second)
		for i := range w.cfg.Uplinks[0].Tests.Targets {
			w.answer(i, false)
		}
		w.stays("eth1*1 eth2*2")
	})
}

// Where the lines died long before the last one did, its default route stays.
func TestLinesDieSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		for _, device := range []string{"eth1", "eth2", "eth3"} {
			time.Sleep(20 * time.Second)
			w.silence(device, true)
		}
		w.until(5*time.Second, "all lines are down", func() bool { return strings.Contains(w.lastMail(), "No uplink is well") })
		time.Sleep(time.Minute)
		if w.defaults() != "eth3*1" {
			t.Errorf("new connections use %q, want the last line that was well", w.defaults())
		}
	})
}

// A line that was taken out by hand does not come back because the others die.
func TestLinesDieDuringMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		d, stop := w.start()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(20 * time.Second)
		w.must(d.SetMode(t.Context(), map[string]status.Mode{"eth1": status.ForcedDown}))
		w.until(time.Second, "eth1 is out", func() bool { return w.defaults() == "eth2*1" })
		w.silence("eth2", true)
		w.silence("eth3", true)
		w.until(5*time.Second, "all lines are down", func() bool { return strings.Contains(w.lastMail(), "No uplink is well") })
		time.Sleep(time.Minute)
		if got := w.defaults(); got == "" || strings.Contains(got, "eth1") {
			t.Errorf("new connections use %q", got)
		}
	})
}

// The connections of a line that has another address are released: they would hang. Those of other lines
// are left alone.
func TestRenumberingReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pppBetween)
		opts := w.options(w.kernel)
		opts.Flows = w.kernel
		_, stop := w.startWith(opts)
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 ppp0*1 eth2*1" })
		for _, u := range w.cfg.Uplinks {
			w.kernel.AddFlows(config.IPv4, u.Mark, 10)
		}
		flows := func() (counts [3]int) {
			for i, u := range w.cfg.Uplinks {
				counts[i] = w.kernel.Flows(config.IPv4, u.Mark)
			}
			return counts
		}
		time.Sleep(time.Minute)
		if got := flows(); got != [3]int{10, 10, 10} {
			t.Fatalf("released without a reason: %v", got)
		}
		peer := prefix("10.0.0.1/32").Addr()
		w.must(w.kernel.AddAddress("ppp0", routing.Address{Prefix: prefix("10.0.0.9/32"), Peer: peer}))
		w.must(w.kernel.RemoveAddress("ppp0", prefix("100.64.1.2/32").Addr()))
		w.until(time.Second, "the connections of ppp0 are released", func() bool { return flows() == [3]int{10, 0, 10} })
		if w.logs.count("dialled: its connections were released: it has another address") != 1 {
			t.Errorf("log:\n%s", w.logs.text.String())
		}
	})
}
