package health_test

import (
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// A line that is dead for 5 of each 25 s, for ever: it is held back longer and longer, and told as one story.
func TestFlapping(t *testing.T) {
	flapping := true
	n := network{rtt: constant(ms), cut: func(at time.Time) bool {
		return flapping && at.Sub(start)%(25*time.Second) > 20*time.Second
	}}
	w := newWorld(t, defaults(), &n, 1)
	var began time.Duration
	for range 3600 {
		w.run(time.Second)
		if r := w.monitor.Report(w.now); r.Flapping && began == 0 {
			began = w.now.Sub(start)
			if story := r.Story(w.now); r.Flaps != 3 || story != "flapping: 3 times down in 51 s" {
				t.Errorf("%q, %+v", story, r)
			}
		}
	}
	if began < 70*time.Second || began > 75*time.Second {
		t.Errorf("flapping began after %v", began)
	}
	// 1, 2, 4, 8 and 16 s fit into the 20 s that it is well; 32 s do not.
	if w.count(health.Down) != 6 {
		t.Errorf("down %d times in an hour: %v", w.count(health.Down), w.changes)
	}
	flapping = false
	w.run(5 * time.Second)
	r := w.monitor.Report(w.now)
	if r.State != health.Down && r.Flaps > 1 {
		t.Errorf("at once up: %+v", r)
	}
	w.run(70 * time.Minute)
	if r := w.monitor.Report(w.now); r.State != health.Up || r.Flapping || r.Flaps != 0 || r.Story(w.now) != "" || !r.FirstFlap.IsZero() {
		t.Errorf("calm for an hour: %+v", r)
	}
}

// The words of the story, and of what is held back.
func TestHeldBack(t *testing.T) {
	p := defaults()
	p.Damping.HoldDown, p.Damping.MaxHoldDown = 10*time.Second, 30*time.Second
	n := network{rtt: constant(ms)}
	w := newWorld(t, p, &n, 1)
	for i, want := range []string{
		"well again, held back for 10 s", "well again, held back for 20 s after 2 flaps", "well again, held back for 30 s after 3 flaps", "well again, held back for 30 s after 4 flaps",
	} {
		w.run(20 * time.Second)
		n.cut = after(0)
		w.run(3 * time.Second)
		n.cut = nil
		w.run(5 * time.Second)
		r := w.monitor.Report(w.now)
		left := r.HeldUntil.Sub(w.now)
		if r.State != health.Down || r.Reason != want || left < time.Second || left > 30*time.Second {
			t.Errorf("flap %d: %v left, %+v", i+1, left, r)
		}
		if i == 3 && !strings.Contains(r.Story(w.now), "flapping: 4 times down in 2 min, held back until 00:0") {
			t.Errorf("story %q", r.Story(w.now))
		}
		w.run(left + 2*time.Second)
		if r := w.monitor.Report(w.now); r.State != health.Up || !r.HeldUntil.IsZero() {
			t.Errorf("flap %d: %+v", i+1, r)
		}
	}
	far := health.Report{Flapping: true, Flaps: 5, FirstFlap: start, HeldUntil: start.Add(4 * time.Minute)}
	if got := far.Story(start.Add(90 * time.Second)); got != "flapping: 5 times down in 90 s, held back until 00:04" {
		t.Errorf("story %q", got)
	}
}

// A bad round while held back begins the waiting anew.
func TestHoldDownBeginsAnew(t *testing.T) {
	p := defaults()
	p.Damping.HoldDown = 10 * time.Second
	n := network{rtt: constant(ms), cut: func(at time.Time) bool {
		s := at.Sub(start)
		return s > 10*time.Second && s < 12*time.Second || s > 18*time.Second && s < 20*time.Second
	}}
	w := newWorld(t, p, &n, 1)
	w.run(time.Minute)
	if w.count(health.Up) != 2 || w.changes[2].At < 30*time.Second || w.changes[2].At > 32*time.Second {
		t.Errorf("%v", w.changes)
	}
	if r := w.monitor.Report(w.now); r.Flaps != 1 {
		t.Errorf("%d flaps", r.Flaps)
	}
}

func TestRiseAndFall(t *testing.T) {
	p := defaults()
	p.Damping = config.Damping{Rise: 5, Fall: 3, FlapMemory: time.Minute}
	w := newWorld(t, p, &network{rtt: constant(ms), cut: between(10*time.Second, 20*time.Second)}, 1)
	w.run(30 * time.Second)
	// Three rounds, 200 ms apart, and five of them back.
	if len(w.changes) != 3 || w.changes[1].At < 10480*ms || w.changes[1].At > 11600*ms || w.changes[2].At < 20800*ms || w.changes[2].At > 22500*ms {
		t.Errorf("%v", w.changes)
	}
	// A shorter cut than three rounds is none.
	w = newWorld(t, p, &network{rtt: constant(ms), cut: between(10*time.Second, 10300*ms)}, 1)
	w.run(30 * time.Second)
	if len(w.changes) != 1 {
		t.Errorf("a short cut: %v", w.changes)
	}
}

// bloat is a first-in first-out queue that fills at that speed, in seconds of delay a second.
func bloat(speed float64, most time.Duration) func(config.Target, time.Time) time.Duration {
	return func(_ config.Target, sent time.Time) time.Duration {
		since := max(sent.Sub(start)-10*time.Second, 0)
		return ms + min(time.Duration(speed*float64(since)), most)
	}
}

// The queue of a line fills from 1 to 450 ms within moments. The replies to the traffic that fills it
// keep coming, and are evidence enough that the line is not dead.
func TestBufferbloat(t *testing.T) {
	for name, speed := range map[string]float64{"slowly": 0.1, "as slow start": 1, "at once": 100} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(50) {
				w := newWorld(t, defaults(), &network{rtt: bloat(speed, 450*ms)}, seed)
				w.run(time.Duration(seed) * 20 * ms)
				for range 3000 {
					w.run(10 * ms)
					if w.now.After(start.Add(10 * time.Second)) {
						w.monitor.Alive(w.now)
					}
				}
				if w.count(health.Down) != 0 {
					t.Fatalf("seed %d: %v", seed, w.changes)
				}
				if r := w.monitor.Report(w.now); r.RTT < 300*ms || r.Loss != 0 {
					t.Errorf("the round-trip time was not learned: %+v", r)
				}
			}
		})
	}
}

// Where the delay jumps with no evidence at all, nobody can know that the line is not dead: the verdict
// is taken back with the first answers, it was no flap, and the next jump finds more patience.
func TestDelayJumpIsTakenBack(t *testing.T) {
	slow := func(at time.Duration) bool {
		return at > 10*time.Second && at < 13*time.Second || at > 40*time.Second && at < 43*time.Second
	}
	n := network{rtt: func(_ config.Target, sent time.Time) time.Duration {
		if slow(sent.Sub(start)) {
			return 450 * ms
		}
		return ms
	}}
	w := newWorld(t, defaults(), &n, 1)
	w.run(time.Minute)
	if len(w.changes) != 3 || w.changes[2].At-w.changes[1].At > 450*ms {
		t.Errorf("%v", w.changes)
	}
	if r := w.monitor.Report(w.now); r.Flaps != 0 || r.Loss != 0 {
		t.Errorf("%+v", r)
	}
}
