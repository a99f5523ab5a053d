package health_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// The figures that are promised, with default settings, on many simulated lines.

const seeds = 100

// wavy gives each target its own distance, with jitter.
func wavy(seed uint64) func(config.Target, time.Time) time.Duration {
	rnd := rand.New(rand.NewPCG(seed, 4))
	return func(target config.Target, _ time.Time) time.Duration {
		return time.Duration(10+20*int(target.Address.As4()[3]))*ms + time.Duration(rnd.ExpFloat64()*float64(5*ms))
	}
}

// 10 % loss in one direction for half an hour is no reason to leave a line: 100 times.
func TestLossIsNoOutage(t *testing.T) {
	for name, set := range map[string]func(*network){
		"on the way out":  func(n *network) { n.lossOut = 0.1 },
		"on the way back": func(n *network) { n.lossIn = 0.1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probes, rounds := 0, 0
			for seed := range uint64(seeds / 2) {
				n := network{rtt: wavy(seed)}
				set(&n)
				w := newWorld(t, defaults(), &n, seed)
				w.run(30 * time.Minute)
				if w.count(health.Down) != 0 {
					t.Errorf("seed %d: %v", seed, w.changes)
				}
				probes, rounds = probes+w.probes, rounds+w.rounds
			}
			if rounds < seeds/2*100 {
				t.Errorf("only %d rounds of doubt: the test tests nothing", rounds)
			}
			t.Logf("%d half hours: %.2f probes a second, %d rounds", seeds/2, float64(probes)/(seeds/2)/1800, rounds)
		})
	}
}

// 40 % loss in each direction is one, and the line does not come back while it lasts.
func TestHeavyLossIsOutage(t *testing.T) {
	const lasts = time.Minute
	var down, up []time.Duration
	for seed := range uint64(seeds) {
		n := network{rtt: wavy(seed)}
		w := newWorld(t, defaults(), &n, seed)
		w.run(30 * time.Second)
		n.lossOut, n.lossIn = 0.4, 0.4
		w.run(lasts)
		if w.count(health.Down) != 1 || w.count(health.Up) != 1 {
			t.Errorf("seed %d, with 64 %% of the round trips lost: %v", seed, w.changes)
			continue
		}
		down = append(down, w.changes[1].At-30*time.Second)
		n.lossOut, n.lossIn = 0, 0
		w.run(30 * time.Second)
		if w.count(health.Up) != 2 {
			t.Errorf("seed %d, well again: %v, %+v", seed, w.changes, w.monitor.Report(w.now))
			continue
		}
		up = append(up, w.changes[2].At-30*time.Second-lasts)
	}
	slices.Sort(down)
	slices.Sort(up)
	if len(down) == 0 || down[len(down)-1] > 10*time.Second {
		t.Fatalf("down after %v", down)
	}
	t.Logf("down after: median %v, worst %v", down[len(down)/2], down[len(down)-1])
	t.Logf("up after it ends: median %v, worst %v", up[len(up)/2], up[len(up)-1])
	if up[len(up)-1] > 25*time.Second {
		t.Errorf("up again only after %v", up[len(up)-1])
	}
}

// How long a line can be dead before it is known: idle, and from a doubt that traffic raises.
func TestDetectionTime(t *testing.T) {
	const runs = 60
	tests := map[string]struct {
		rtt, interval, idle, doubt time.Duration
	}{
		"1 ms":                       {ms, time.Second, 1200 * ms, 121 * ms},
		"1 ms, metered":              {ms, 4 * time.Second, 4500 * ms, 121 * ms},
		"1 ms, a file with a minute": {ms, time.Minute, 61 * time.Second, 121 * ms},
		"20 ms":                      {20 * ms, time.Second, 1200 * ms, 200 * ms},
		"50 ms":                      {50 * ms, time.Second, 1300 * ms, 300 * ms},
		"200 ms":                     {200 * ms, time.Second, 2100 * ms, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := defaults()
			p.Interval = tt.interval
			var idle, doubt []time.Duration
			for i := range runs {
				// Long enough for the estimates to have settled, whatever the interval.
				cut := 40*tt.interval + time.Duration(i)*tt.interval/runs
				for _, told := range []bool{false, true} {
					w := newWorld(t, p, &network{rtt: constant(tt.rtt), cut: after(cut)}, uint64(i))
					w.run(cut)
					if told {
						w.run(tt.rtt)
						w.monitor.Doubt(w.now, "traffic without replies")
					}
					w.run(tt.interval + 5*time.Second)
					if len(w.changes) != 2 || w.changes[1].State != health.Down {
						t.Fatalf("cut at %v: %v", cut, w.changes)
					}
					if told {
						doubt = append(doubt, w.changes[1].At-cut-tt.rtt)
					} else {
						idle = append(idle, w.changes[1].At-cut)
					}
				}
			}
			slices.Sort(idle)
			slices.Sort(doubt)
			t.Logf("idle: median %v, worst %v; from doubt to down: median %v, worst %v", idle[runs/2], idle[runs-1], doubt[runs/2], doubt[runs-1])
			if idle[runs-1] > tt.idle || doubt[runs*9/10] > tt.doubt {
				t.Errorf("want at most %v and, for nine of ten, %v", tt.idle, tt.doubt)
			}
		})
	}
}

// While all is calm, there is one echo each interval, and nothing else.
func TestCalmProbes(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 4 * time.Second} {
		p := defaults()
		p.Interval = interval
		w := newWorld(t, p, &network{rtt: constant(20 * ms)}, 1)
		w.run(time.Minute)
		w.probes = 0
		w.run(1000 * interval)
		if w.probes < 999 || w.probes > 1001 {
			t.Errorf("%d probes in 1000 intervals of %v", w.probes, interval)
		}
	}
}

// Back up after the end of a first outage.
func TestReturnTime(t *testing.T) {
	for name, interval := range map[string]time.Duration{"default": time.Second, "metered": 4 * time.Second, "a minute": time.Minute} {
		for _, lasts := range []time.Duration{1500 * ms, 5 * time.Second, 50 * time.Second, 10 * time.Minute} {
			p := defaults()
			p.Interval = interval
			var all []time.Duration
			for seed := range uint64(20) {
				cut := 2*interval + time.Duration(seed)*50*ms
				w := newWorld(t, p, &network{rtt: constant(ms), cut: between(cut, cut+interval+lasts)}, seed)
				w.run(cut + interval + lasts + 20*time.Second)
				if w.count(health.Up) != 2 {
					t.Fatalf("%s, %v: %v; %+v", name, lasts, w.changes, w.monitor.Report(w.now))
				}
				all = append(all, w.changes[2].At-cut-interval-lasts)
			}
			slices.Sort(all)
			t.Logf("%s, down for %v: median %v, worst %v", name, lasts, all[10], all[19])
			most := 3 * time.Second
			if interval > time.Second && lasts > time.Minute {
				most = 7 * time.Second
			}
			if all[19] > most {
				t.Errorf("%s, down for %v: up again after %v", name, lasts, all[19])
			}
		}
	}
}

// Pauses of this machine, of 50 ms each, and jitter must not look like outages.
func TestPausesAreNoOutage(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		n := network{lossIn: 0.1, rtt: func(config.Target, time.Time) time.Duration {
			rtt := ms + time.Duration(rnd.ExpFloat64()*float64(ms))
			if rnd.IntN(20) == 0 {
				rtt += time.Duration(rnd.IntN(50)) * ms // somebody else's machine was busy
			}
			return rtt
		}}
		w := newWorld(t, defaults(), &n, seed)
		for range 6000 {
			w.run(time.Duration(rnd.IntN(200)) * ms)
			w.pause(50 * ms)
		}
		if w.count(health.Down) != 0 {
			t.Errorf("seed %d: %v", seed, w.changes)
		}
	}
}
