package health_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// A quality that changes at 30 s and is well again at 90 s.
func TestQuality(t *testing.T) {
	noisy := func(at time.Time) bool { s := at.Sub(start); return s > 30*time.Second && s < 90*time.Second }
	rnd := rand.New(rand.NewPCG(1, 7))
	rtts := map[string]func(config.Target, time.Time) time.Duration{
		"latency": func(_ config.Target, at time.Time) time.Duration {
			if noisy(at) {
				return 300 * ms
			}
			return 20 * ms
		},
		"jitter": func(_ config.Target, at time.Time) time.Duration {
			if noisy(at) {
				return 20*ms + time.Duration(rnd.IntN(150))*ms
			}
			return 20 * ms
		},
		"loss": constant(20 * ms),
	}
	reasons := map[string]string{"latency": "round trips take ", "jitter": "round trips vary by ", "loss": " round trips lost"}
	for what, rtt := range rtts {
		for _, action := range []config.Action{config.ActionDown, config.ActionWeight} {
			for _, interval := range []time.Duration{time.Second, 4 * time.Second} {
				p := defaults()
				p.Interval, p.Quality.Action = interval, action
				p.Required = 1 // so that the quorum has nothing to say
				switch what {
				case "latency":
					p.Quality.Latency = config.Limit[time.Duration]{Leave: 200 * ms, Return: 100 * ms}
				case "jitter":
					p.Quality.Jitter = config.Limit[time.Duration]{Leave: 25 * ms, Return: 15 * ms}
				}
				n := network{rtt: rtt}
				w := newWorld(t, p, &n, 1)
				w.run(30 * time.Second)
				if what == "loss" {
					n.lossOut, n.lossIn = 0.4, 0.4
				}
				w.run(50 * time.Second)
				r := w.monitor.Report(w.now)
				switch {
				case action == config.ActionDown && (r.State != health.Down || r.Degraded != "" || r.WeightPercent != 100):
					t.Errorf("%s, %v, down: %+v; %v", what, interval, r, w.changes)
				case action == config.ActionWeight && (r.State != health.Up || r.WeightPercent != 25 || !strings.Contains(r.Degraded, reasons[what])):
					t.Errorf("%s, %v, weight: %+v; %v", what, interval, r, w.changes)
				}
				if last := w.changes[len(w.changes)-1]; action == config.ActionDown && !strings.Contains(last.Reason, reasons[what]) {
					t.Errorf("%s: %v", what, w.changes)
				}
				w.run(10 * time.Second)
				n.lossOut, n.lossIn = 0, 0
				w.run(70 * time.Second)
				if r := w.monitor.Report(w.now); r.State != health.Up || r.Degraded != "" || r.WeightPercent != 100 {
					t.Errorf("%s, %v, well again: %+v", what, interval, r)
				}
				if w.count(health.Down) > 2 {
					t.Errorf("%s, %v: %v", what, interval, w.changes)
				}
			}
		}
	}
}

// Between the two values nothing changes.
func TestQualityHasTwoThresholds(t *testing.T) {
	delay := 20 * ms
	p := defaults()
	p.Quality.Action = config.ActionWeight
	p.Quality.Latency = config.Limit[time.Duration]{Leave: 200 * ms, Return: 100 * ms}
	n := network{rtt: func(config.Target, time.Time) time.Duration { return delay }}
	w := newWorld(t, p, &n, 1)
	for i, step := range []struct {
		delay    time.Duration
		degraded bool
	}{{20 * ms, false}, {130 * ms, false}, {250 * ms, true}, {130 * ms, true}, {50 * ms, false}, {130 * ms, false}} {
		delay = step.delay
		w.run(30 * time.Second)
		if r := w.monitor.Report(w.now); (r.Degraded != "") != step.degraded || r.State != health.Up {
			t.Errorf("step %d, %v: %+v", i, step.delay, r)
		}
	}
	if w.count(health.Down) != 0 {
		t.Errorf("%v", w.changes)
	}
}

// A line that was bad before a restart is so after it, until it was well for a whole window.
func TestQualityIsRestored(t *testing.T) {
	p := defaults()
	p.Quality.Latency = config.Limit[time.Duration]{Leave: 200 * ms, Return: 100 * ms}
	known := health.Report{State: health.Up, Since: start, Reason: "6 of 6 targets answer", Degraded: "round trips take 250 ms, the limit is 200 ms", WeightPercent: 25}
	for _, tt := range []struct {
		name    string
		action  config.Action
		rtt     time.Duration
		percent []int // after 0.2 s, 5 s and 20 s
	}{
		{"still bad", config.ActionWeight, 250 * ms, []int{25, 25, 25}},
		{"between the values", config.ActionWeight, 150 * ms, []int{25, 25, 25}},
		{"well by now", config.ActionWeight, 20 * ms, []int{25, 25, 100}},
		{"another action by now", config.ActionDown, 20 * ms, []int{100, 100, 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.Quality.Action = tt.action
			w := newWorld(t, p, &network{rtt: constant(tt.rtt)}, 1)
			w.monitor.Restore(start, known)
			for i, after := range []time.Duration{200 * ms, 5 * time.Second, 20 * time.Second} {
				w.run(start.Add(after).Sub(w.now))
				r := w.monitor.Report(w.now)
				if r.State != health.Up || r.WeightPercent != tt.percent[i] || (r.Degraded != "") != (tt.percent[i] != 100) {
					t.Errorf("after %v: %+v, want %d %% of the weight", after, r, tt.percent[i])
				}
			}
		})
	}
}

// Loss that is not to be judged is not.
func TestLossNotJudged(t *testing.T) {
	p := defaults()
	p.Required, p.Quality.Loss = 1, config.Limit[int]{}
	n := network{rtt: constant(ms), lossIn: 0.5}
	w := newWorld(t, p, &n, 1)
	w.run(10 * time.Minute)
	if w.count(health.Down) != 0 {
		t.Errorf("%v", w.changes)
	}
	// And one of six targets is enough to come back from an outage.
	n.cut = between(w.now.Sub(start), w.now.Sub(start)+5*time.Second)
	w.run(20 * time.Second)
	if w.count(health.Down) != 1 || w.count(health.Up) != 2 {
		t.Errorf("after an outage: %v", w.changes)
	}
}

// A glitch, shorter than a verdict, is neither an outage nor loss.
func TestGlitches(t *testing.T) {
	for i := range 100 {
		n := network{rtt: constant(ms), cut: func(at time.Time) bool {
			s := at.Sub(start) + time.Duration(i)*10*ms
			return s%(7*time.Second) < 90*ms
		}}
		w := newWorld(t, defaults(), &n, uint64(i))
		w.run(5 * time.Minute)
		if w.count(health.Down) != 0 {
			t.Fatalf("%v", w.changes)
		}
	}
}
