package health_test

import (
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// latest is what is known of the latest probe to each target.
type latest []struct {
	target   config.Target
	sent     time.Time
	answered bool // since then
}

// of returns the place of a target.
func (l *latest) of(t config.Target) int {
	for i := range *l {
		if (*l)[i].target == t {
			return i
		}
	}
	*l = append(*l, make(latest, 1)...)
	(*l)[len(*l)-1].target = t
	return len(*l) - 1
}

// heard notes an answer.
func (w *world) heard(r reply) {
	if r.err == nil {
		w.latest[w.latest.of(r.target)].answered = true
	}
}

// prove holds a request to what it says of the path, in all that is simulated.
func (w *world) prove(req health.Request, before health.Report) {
	own, recent := w.latest.of(req.Target), false
	for _, l := range w.latest {
		recent = recent || l.answered && w.now.Sub(l.sent) <= 5*time.Second
	}
	if req.Proven && (before.State != health.Up || before.Doubt || !recent || !w.latest[own].answered) {
		w.t.Fatalf("at %v: %v is taken for proven: %+v, %+v", w.now.Sub(start), req.Target, before, w.latest)
	}
	w.latest[own].sent, w.latest[own].answered = w.now, false
}

// A probe is proven where all before it were answered, and only there.
func TestProven(t *testing.T) {
	slow := defaults()
	slow.Interval = time.Minute
	metered := defaults()
	metered.Interval = 4 * time.Second
	tests := map[string]struct {
		params   health.Params
		network  network
		run      time.Duration
		unproven func(probes int) bool
	}{
		"well":                      {defaults(), network{rtt: constant(20 * ms)}, time.Hour, func(n int) bool { return n == 6 }},
		"metered":                   {metered, network{rtt: constant(20 * ms)}, time.Hour, func(n int) bool { return n == 6 }},
		"too seldom":                {slow, network{rtt: constant(20 * ms)}, time.Hour, func(n int) bool { return n == 65 }},
		"answers later than probes": {defaults(), network{rtt: constant(1200 * ms)}, time.Hour, func(n int) bool { return n > 3600 }},
		// Each of the targets that are silent is asked a few times, and then aside.
		"two of six dead": {defaults(), network{rtt: constant(ms), dead: targets(2)}, time.Hour, func(n int) bool { return n > 720 && n < 800 }},
		"one loss in two": {defaults(), network{rtt: constant(ms), lossOut: 0.5}, time.Hour, func(n int) bool { return n > 3600 }},
		// The first one after the cut cannot know of it.
		"cut, and back": {defaults(), network{rtt: constant(ms), cut: between(10*time.Second, 22*time.Second)}, time.Minute, func(n int) bool { return n > 40 && n < 120 }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.params, &tt.network, 1)
			w.run(tt.run)
			n := 0
			for _, r := range w.sent {
				if !r.Proven {
					n++
				}
			}
			if !tt.unproven(n) {
				t.Errorf("%d of %d probes were not proven", n, len(w.sent))
			}
		})
	}
}

// Traffic without replies is a doubt: who is asked because of it is not proven.
func TestCheckIsNotProven(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: constant(20 * ms)}, 1)
	w.run(10*time.Second + 500*ms)
	before := len(w.sent)
	w.monitor.Check(w.now, w.now.Add(-60*ms), "3 packets sent, no reply")
	w.run(time.Millisecond)
	if len(w.sent) != before+1 || w.sent[before].Proven {
		t.Errorf("sent %+v", w.sent[before:])
	}
	w.run(2 * time.Second)
	if len(w.sent) < before+2 || !w.sent[len(w.sent)-1].Proven {
		t.Errorf("after the answer: %+v", w.sent[before:])
	}
}
