package health_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ftr/internal/health"
)

func TestAdmin(t *testing.T) {
	n := network{rtt: constant(ms)}
	w := newWorld(t, defaults(), &n, 1)
	w.run(10 * time.Second)
	w.monitor.SetAdmin(w.now, true, "anna")
	w.monitor.SetAdmin(w.now, true, "bert")
	probes := w.probes
	w.run(time.Minute)
	r := w.monitor.Report(w.now)
	if r.State != health.Down || r.Reason != "taken out of service by anna" || !r.Admin || r.Flaps != 0 || w.probes != probes {
		t.Errorf("out of service: %+v, %d probes", r, w.probes-probes)
	}
	// What the link does meanwhile is known afterwards.
	w.monitor.SetLink(w.now, false, "no carrier")
	w.monitor.SetLink(w.now, true, "")
	w.monitor.Alive(w.now)
	if r := w.monitor.Report(w.now); r.Reason != "taken out of service by anna" {
		t.Errorf("the link spoke: %+v", r)
	}
	w.monitor.SetAdmin(w.now, false, "anna")
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Reason != "back in service, no answer yet" || r.Admin {
		t.Errorf("back in service: %+v", r)
	}
	w.run(10 * ms)
	if r := w.monitor.Report(w.now); r.State != health.Up || r.Flaps != 0 {
		t.Errorf("10 ms later: %+v", r)
	}

	w.monitor.SetAdmin(w.now, true, "")
	w.monitor.SetLink(w.now, false, "no carrier")
	if r := w.monitor.Report(w.now); r.Reason != "taken out of service by the administrator" {
		t.Errorf("by nobody: %+v", r)
	}
	w.monitor.SetAdmin(w.now, false, "")
	w.monitor.SetAdmin(w.now, false, "")
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Reason != "no carrier" {
		t.Errorf("back in service without carrier: %+v", r)
	}
	// Also after a silent time the first good round is enough.
	n.cut = after(0)
	w.monitor.SetLink(w.now, true, "")
	w.run(10 * time.Second)
	n.cut = nil
	w.run(1100 * ms)
	if r := w.monitor.Report(w.now); r.State != health.Up {
		t.Errorf("silent at first: %+v", r)
	}
}

// restored is a world whose monitor was given a report from before a restart.
func restored(t *testing.T, r health.Report, n *network) *world {
	n.rnd = rand.New(rand.NewPCG(1, 2))
	w := &world{t: t, now: start, network: n, monitor: health.New(defaults(), rand.New(rand.NewPCG(1, 1)), start)}
	w.monitor.Restore(start, r)
	w.note()
	w.monitor.SetLink(start, true, "")
	w.note()
	return w
}

func TestRestore(t *testing.T) {
	before := start.Add(-time.Hour)
	up := health.Report{State: health.Up, Since: before, Reason: "the required 4 of 6 targets answer", Flaps: 1, FirstFlap: before}

	w := restored(t, up, &network{rtt: constant(ms)})
	if r := w.monitor.Report(start); r.State != health.Up || !r.Since.Equal(before) || r.Reason != up.Reason || r.Flaps != 1 || !r.Doubt {
		t.Errorf("adopted: %+v", r)
	}
	w.run(time.Second)
	if r := w.monitor.Report(w.now); w.rounds != 1 || r.State != health.Up || !r.Since.Equal(before) || r.Doubt {
		t.Errorf("confirmed by %d rounds: %+v", w.rounds, r)
	}

	w = restored(t, up, &network{rtt: constant(ms), cut: after(0)})
	w.run(5 * time.Second)
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Flaps != 2 || !r.FirstFlap.Equal(before) {
		t.Errorf("dead meanwhile: %+v", r)
	}

	down := health.Report{State: health.Down, Since: before, Reason: "6 of 6 targets silent for 0.1 s", Flaps: 4, FirstFlap: before, Flapping: true, HeldUntil: start.Add(5 * time.Second)}
	w = restored(t, down, &network{rtt: constant(ms)})
	if r := w.monitor.Report(start); r.State != health.Down || r.Reason != down.Reason || !r.Flapping || !r.HeldUntil.Equal(down.HeldUntil) {
		t.Errorf("adopted: %+v", r)
	}
	w.run(10 * time.Second)
	if len(w.changes) != 2 || w.changes[1].At < 5*time.Second || w.changes[1].At > 5500*ms {
		t.Errorf("held back as before: %v", w.changes)
	}

	down.HeldUntil, down.Flaps = time.Time{}, 2
	w = restored(t, down, &network{rtt: constant(ms)})
	w.run(10 * time.Second)
	if len(w.changes) != 2 || w.changes[1].At < 2*time.Second || w.changes[1].At > 2500*ms {
		t.Errorf("held back as after two flaps: %v", w.changes)
	}

	for _, r := range []health.Report{{}, {State: health.Down, Admin: true}} {
		if w := restored(t, r, &network{rtt: constant(ms)}); len(w.changes) != 0 {
			t.Errorf("%+v was adopted: %v", r, w.changes)
		}
	}
}

// A carrier that comes and goes is damped as silence is.
func TestCarrierFlaps(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: constant(ms)}, 1)
	w.run(10 * time.Second)
	for range 20 {
		w.monitor.SetLink(w.now, false, "no carrier")
		w.note()
		w.run(100 * ms)
		w.monitor.SetLink(w.now, true, "")
		w.run(1500 * ms)
	}
	// Well for 1.5 s each time: enough after the first flap only.
	if w.count(health.Down) != 2 {
		t.Errorf("%v", w.changes)
	}
}

// While replies come, half of the calm probes are saved, not more.
func TestAliveSavesProbes(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: constant(ms)}, 1)
	w.run(time.Minute)
	w.probes = 0
	for range 10_000 {
		w.run(10 * ms)
		w.monitor.Alive(w.now)
	}
	if w.probes < 49 || w.probes > 51 {
		t.Errorf("%d probes in 100 s of traffic", w.probes)
	}
	w.probes = 0
	w.run(100 * time.Second)
	if w.probes < 99 || w.probes > 101 {
		t.Errorf("%d probes in 100 s without traffic", w.probes)
	}
}

// Replies to something else delay a verdict, but do not prevent it: in the long run the targets decide.
func TestAliveIsNoAlibi(t *testing.T) {
	n := network{rtt: constant(ms), cut: after(10 * time.Second)}
	w := newWorld(t, defaults(), &n, 1)
	for range 2500 {
		w.run(10 * ms)
		w.monitor.Alive(w.now)
	}
	if len(w.changes) != 2 || w.changes[1].At > 22500*ms {
		t.Errorf("%v", w.changes)
	}
}
