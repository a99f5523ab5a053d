package health_test

import (
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// Answers that waited for the gateway's link-layer address measure nothing: neither is the line slow nor is
// the next failure noticed later.
func TestWaking(t *testing.T) {
	const (
		breaks, returns = 30 * time.Second, 33 * time.Second
		found           = returns + 1010*ms // when the gateway's address is known
		again           = 45 * time.Second
	)
	breakings := map[string]func(w *world, n *network){
		"carrier": func(w *world, _ *network) {
			w.monitor.SetLink(w.now, false, "no carrier")
			w.run(returns - breaks)
			w.monitor.SetLink(w.now, true, "")
		},
		"silent": func(w *world, n *network) {
			n.cut = between(breaks, returns)
			w.run(returns - breaks)
		},
	}
	for name, breaking := range breakings {
		for seed := range uint64(20) {
			n := network{rtt: func(_ config.Target, sent time.Time) time.Duration {
				if at := sent.Sub(start); at >= returns && at < found {
					return found - at
				}
				return ms
			}}
			p := defaults()
			p.Quality.Latency = config.Limit[time.Duration]{Leave: 50 * ms, Return: 20 * ms}
			w := newWorld(t, p, &n, seed)
			w.run(breaks)
			breaking(w, &n)
			w.run(again - returns)
			if r := w.monitor.Report(w.now); r.State != health.Up || r.RTT > 2*ms || r.Degraded != "" {
				t.Errorf("%s, seed %d: after %v: %+v", name, seed, again, r)
			}
			n.cut = after(again)
			w.run(2 * time.Second)
			if last := w.changes[len(w.changes)-1]; last.State != health.Down || last.At-again > 1200*ms {
				t.Errorf("%s, seed %d: broken again at %v: %v", name, seed, again, last)
			}
		}
	}
}
