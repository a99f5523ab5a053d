package health_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ftr/internal/config"
	"ftr/internal/health"
)

// anyParams draws parameters within the ranges that the configuration allows.
func anyParams(t *rapid.T) health.Params {
	n := rapid.IntRange(1, 12).Draw(t, "targets")
	p := defaults()
	p.Targets = targets(n)
	p.Required = rapid.IntRange(1, n).Draw(t, "required")
	p.Retries = rapid.IntRange(1, 5).Draw(t, "retries")
	p.Interval = time.Duration(rapid.IntRange(100, 10_000).Draw(t, "interval")) * ms
	p.Timeout = time.Duration(rapid.IntRange(200, 5_000).Draw(t, "timeout")) * ms
	p.MinTimeout = time.Duration(rapid.IntRange(1, 100).Draw(t, "min timeout")) * ms
	p.Damping.Rise = rapid.IntRange(1, 4).Draw(t, "rise")
	p.Damping.Fall = rapid.IntRange(1, 3).Draw(t, "fall")
	p.Damping.HoldDown = time.Duration(rapid.IntRange(0, 3000).Draw(t, "hold down")) * ms
	p.Damping.MaxHoldDown = p.Damping.HoldDown * time.Duration(rapid.IntRange(1, 3).Draw(t, "max hold down"))
	return p
}

// spread gives each target its own round-trip time of at most limit, with jitter around it.
func spread(t *rapid.T, list []config.Target, limit time.Duration) func(config.Target, time.Time) time.Duration {
	base := map[config.Target]time.Duration{}
	for _, target := range list {
		base[target] = time.Duration(rapid.Int64Range(int64(ms/10), int64(limit/2)).Draw(t, "rtt"))
	}
	jitter := rapid.Float64Range(0, 0.5).Draw(t, "jitter")
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "jitter seed"), 3))
	return func(target config.Target, _ time.Time) time.Duration {
		return base[target] + time.Duration(rnd.Float64()*jitter*float64(base[target]))
	}
}

// bound is the longest that a total outage may go unnoticed: the next calm probe, its wait, as many
// rounds as Fall says, and one in which some still answered. Attempts take twice the time-out. All waits
// are the ceiling's at worst.
func bound(p health.Params) time.Duration {
	return p.Interval + p.Timeout + time.Duration(p.Damping.Fall+1)*(max(2*p.Timeout, 200*ms)+200*ms)
}

func TestTotalOutageIsAlwaysDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyParams(t)
		cut := time.Duration(rapid.IntRange(0, 20_000).Draw(t, "cut")) * ms
		n := network{rtt: spread(t, p.Targets, p.Timeout), cut: after(cut)}
		w := newWorld(t, p, &n, rapid.Uint64().Draw(t, "seed"))
		w.run(cut)
		w.run(bound(p) + ms)
		if r := w.monitor.Report(w.now); r.State != health.Down {
			t.Fatalf("%v after the cut: %+v; %v", bound(p), r, w.changes)
		}
		w.run(10 * time.Second)
		if w.count(health.Down) != 1 || w.monitor.Report(w.now).State != health.Down {
			t.Fatalf("during the outage: %v", w.changes)
		}
	})
}

func TestAllAnswersAreNeverDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyParams(t)
		n := network{rtt: spread(t, p.Targets, p.Timeout)}
		w := newWorld(t, p, &n, rapid.Uint64().Draw(t, "seed"))
		w.run(time.Minute)
		if len(w.changes) != 1 || w.changes[0].State != health.Up || w.changes[0].At > p.Timeout {
			t.Fatalf("on a line that answers everything: %v", w.changes)
		}
		if r := w.monitor.Report(w.now); r.Loss != 0 {
			t.Fatalf("loss without loss: %+v", r)
		}
	})
}

// Whatever happens, in whatever order: no busy loop, no probe on an unusable link, probes and memory
// bounded, and the verdict is right in the end.
func TestAnythingGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyParams(t)
		dark, usable := false, true
		n := network{
			rtt:    spread(t, p.Targets, p.Timeout),
			lossIn: rapid.Float64Range(0, 0.9).Draw(t, "loss"),
			cut:    func(time.Time) bool { return dark },
		}
		w := newWorld(t, p, &n, rapid.Uint64().Draw(t, "seed"))
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				usable = !usable
				w.monitor.SetLink(w.now, usable, "no carrier")
			case 1:
				dark = !dark
			case 2:
				w.monitor.Doubt(w.now, "traffic without replies")
			case 3:
				p = anyParams(t)
				n.rtt = spread(t, p.Targets, p.Timeout)
				w.monitor.Update(w.now, p)
			}
			w.note()
			span := time.Duration(rapid.IntRange(0, 20_000).Draw(t, "span")) * ms
			probes, polls := w.probes, w.polls
			w.run(span)
			seconds := span.Seconds() + 1
			if got, most := float64(w.probes-probes), seconds*(5+1/p.Interval.Seconds()+5*float64(len(p.Targets)*p.Retries)); got > most {
				t.Fatalf("%v probes in %v, at most %v", got, span, most)
			}
			if got, most := float64(w.polls-polls), seconds*(15+2/p.Interval.Seconds()+15*float64(len(p.Targets)*p.Retries)); got > most {
				t.Fatalf("%v polls in %v, at most %v", got, span, most)
			}
			if !usable && w.probes != probes {
				t.Fatalf("%d probes on an unusable link", w.probes-probes)
			}
			for _, req := range w.sent {
				if !slices.Contains(p.Targets, req.Target) {
					t.Fatalf("asked %v, which is no target", req.Target)
				}
			}
			w.sent = w.sent[:0]
			if n := w.monitor.InFlight(); n > 2+int((p.Timeout.Seconds()+6)*(1/p.Interval.Seconds()+5*float64(len(p.Targets)*p.Retries))) {
				t.Fatalf("%d probes remembered", n)
			}
		}
		w.monitor.SetLink(w.now, true, "")
		dark, n.lossIn = false, 0
		w.run(20 * time.Second)
		if r := w.monitor.Report(w.now); r.State != health.Up || r.Doubt {
			t.Fatalf("well again for 20 s: %+v; %v", r, w.changes)
		}
	})
}

// A prober that never reports back must not make the monitor grow.
func TestSilentProber(t *testing.T) {
	m := health.New(defaults(), rand.New(rand.NewPCG(1, 1)), start)
	m.SetLink(start, true, "")
	for now := start; now.Before(start.Add(time.Hour)); now = m.Wake() {
		m.Poll(now)
		if m.InFlight() > 100 {
			t.Fatalf("%d probes remembered after %v", m.InFlight(), now.Sub(start))
		}
	}
	if r := m.Report(start.Add(time.Hour)); r.State != health.Down || r.Loss != 1 {
		t.Errorf("nobody ever answered: %+v", r)
	}
}

// With default settings two dead targets of six are no reason to leave a line.
func TestDeadTargets(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: wavy(1), dead: targets(2)}, 1)
	w.run(10 * time.Hour)
	if w.count(health.Down) != 0 || w.rounds < 3 {
		t.Errorf("%v, %d rounds", w.changes, w.rounds)
	}
	t.Logf("10 h: %.2f probes, %.2f polls a second; %d rounds", float64(w.probes)/36000, float64(w.polls)/36000, w.rounds)
}
