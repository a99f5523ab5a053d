package daemon_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/daemon"
)

// lessWeight are two lines of one group that get less weight where they are slow, and a spare.
const lessWeight = `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, description: one, priority_group: 1, tests: {quality: {latency: 200ms, action: weight, weight: 20}}}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, description: two, priority_group: 1, weight: 2, tests: {quality: {latency: 200ms, action: weight, weight: 20}}}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, description: three, priority_group: 2}
`

// delay makes a line slow, or quick again, step by step: a jump would be taken for silence at first.
func (w *world) delay(device string, rtt time.Duration) {
	c := w.network.Line(device)
	for c.RTT != rtt {
		c.RTT = min(rtt, c.RTT*3/2)
		w.network.Set(device, c)
		time.Sleep(3 * time.Second)
	}
}

// Bad quality with action weight takes shares from a line; the routes carry them, a restart keeps them.
func TestDegradedWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lessWeight)
		stop := w.run()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(10 * time.Second)
		w.delay("eth2", 300*time.Millisecond)
		w.until(time.Minute, "eth2 has less", func() bool { return w.defaults() == "eth1*5 eth2*2" })
		time.Sleep(time.Second)
		if u := w.last().Uplinks[1]; u.Weight != 2 || u.Configured != 2 || u.Health.WeightPercent != 20 {
			t.Errorf("snapshot: weight %d of %d, %d %%", u.Weight, u.Configured, u.Health.WeightPercent)
		}
		for _, want := range []string{"up, routing\n", "up, routing, weight 100 % --> 20 %: 29 % of the new connections (round trips take "} {
			if !strings.Contains(w.lastMail(), want) {
				t.Errorf("mail has no %q: %s", want, w.lastMail())
			}
		}
		if n := w.mailCount(); n != 1 {
			t.Errorf("%d mails, want one: %v", n, w.mails)
		}

		var known []daemon.Known
		for _, u := range w.last().Uplinks {
			known = append(known, daemon.Known{Interface: u.Interface, Index: u.Index, Family: u.Family, Address: u.Address, Report: u.Health})
		}
		stop()
		before := len(w.kernel.Applied())
		opts := w.options(w.kernel)
		opts.Known = known
		_, stop = w.startWith(opts)
		defer stop()
		time.Sleep(30 * time.Second)
		if steps := w.kernel.Applied()[before:]; len(steps) != 0 {
			t.Errorf("the restart changed the kernel: %v", steps)
		}

		w.delay("eth1", 300*time.Millisecond)
		w.until(time.Minute, "both are slow: the shares are as configured", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		w.delay("eth2", 10*time.Millisecond)
		w.until(time.Minute, "eth1 has less", func() bool { return w.defaults() == "eth1*1 eth2*10" })
		w.delay("eth1", 10*time.Millisecond)
		w.until(time.Minute, "all is well", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		if w.logs.count("put back what another program") != 0 {
			t.Error("a change of weights was taken for another program's work")
		}
	})
}
