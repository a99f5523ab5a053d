package daemon_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/routing"
)

func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		w.until(time.Second, "both lines of the best group", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		if !w.agreed() || w.ready.Load() != 1 {
			t.Errorf("kernel agrees: %v, ready was said %d times", w.agreed(), w.ready.Load())
		}
		time.Sleep(time.Minute)
		if n := w.mailCount(); n != 0 {
			t.Errorf("%d mails without a change: %s", n, w.lastMail())
		}
		if w.logs.count("Initial default route uplinks: one, two") != 1 {
			t.Errorf("no initial line in the log:\n%s", w.logs.text.String())
		}
		if len(w.remember) == 0 || w.remember[0] != "net/ipv4/ip_forward=0" {
			t.Errorf("remembered sysctls: %v", w.remember)
		}
		before := len(w.kernel.Applied())
		stop()
		if w.defaults() != "eth1*1 eth2*2" || len(w.kernel.Applied()) != before {
			t.Errorf("stopping changed the kernel: %v", w.kernel.Applied()[before:])
		}
	})
}

// gatewayTimeout is longer than any gateway is asked for.
const gatewayTimeout = 10 * time.Second

func TestSilentFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(10 * time.Second)
		w.silence("eth2", true)
		took := w.until(3*time.Second, "eth2 is out", func() bool { return w.defaults() == "eth1*1" })
		t.Logf("silent failure was noticed after %v", took)
		if !strings.Contains(w.lastMail(), "Uplink two (eth2): ip 198.51.100.130, gateway 198.51.100.129, up --> down, routing --> standby (") {
			t.Errorf("mail: %s", w.lastMail())
		}
		if w.line(1) == "" {
			t.Error("the table of the silent line was emptied: its probes have no way")
		}
		w.silence("eth1", true)
		w.until(3*time.Second, "the next group", func() bool { return w.defaults() == "eth3*1" })
		w.silence("eth2", false)
		w.until(20*time.Second, "back to the best group", func() bool { return w.defaults() == "eth2*1" })
		w.silence("eth1", false)
		w.until(20*time.Second, "all is well", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		if w.restored.Load() != 2 {
			t.Errorf("waiting mail was kicked %d times, want 2", w.restored.Load())
		}
		if n := w.mailCount(); n != 4 {
			t.Errorf("%d mails, want one for each of 4 changes", n)
		}
		time.Sleep(gatewayTimeout)
		if one, two := w.logs.count("one: asked because the line is down: gateway"), w.logs.count("two: asked because the line is down: gateway"); one != 1 || two != 1 {
			t.Errorf("the gateways of the silent lines were asked %d and %d times, want once", one, two)
		}
	})
}

// What the kernel says is acted on at once, without a probe.
func TestCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		time.Sleep(5 * time.Second)
		w.must(w.kernel.SetCarrier("eth1", false))
		if took := w.until(time.Second, "eth1 is out", func() bool { return w.defaults() == "eth2*1" }); took > 10*time.Millisecond {
			t.Errorf("carrier loss was acted on after %v", took)
		}
		w.must(w.kernel.SetCarrier("eth1", true))
		w.until(20*time.Second, "eth1 is back", func() bool { return w.defaults() == "eth1*1 eth2*2" })

		w.must(w.kernel.SetUp("eth1", false))
		w.until(time.Second, "eth1 is out", func() bool { return w.defaults() == "eth2*1" })
		w.must(w.kernel.SetUp("eth1", true))
		w.until(20*time.Second, "eth1 is back, with its own table", func() bool {
			return w.defaults() == "eth1*1 eth2*2" && w.line(0) != "" && w.agreed()
		})

		w.must(w.kernel.RemoveLink("eth2"))
		w.until(time.Second, "eth2 is gone", func() bool { return w.defaults() == "eth1*1" })
		w.must(errors.Join(w.kernel.AddLink("eth2", false), w.kernel.SetUp("eth2", true), w.kernel.AddAddress("eth2",
			routing.Address{Prefix: prefix("198.51.100.130/24")})))
		w.until(20*time.Second, "eth2 was made anew", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
	})
}

const pppBetween = `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, description: one, priority_group: 1}
- {interface: ppp0, type: ppp, description: dialled, priority_group: 1}
- {interface: eth2, type: dhcp, description: cable, priority_group: 1}
`

// A line whose address and peer come, change and go never disturbs the others.
func TestPPP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pppBetween)
		w.must(w.kernel.RemoveAddress("ppp0", prefix("100.64.1.2/32").Addr()))
		stop := w.run()
		defer stop()
		w.until(time.Second, "the others carry", func() bool { return w.defaults() == "eth1*1 eth2*1" && w.agreed() })
		others := func() int { return w.applied(w.cfg.Uplinks[0].Table) + w.applied(w.cfg.Uplinks[2].Table) }
		quiet := others()
		for _, at := range []string{"10.0.0.7", "10.0.0.8"} {
			a := routing.Address{Prefix: prefix(at + "/32"), Peer: prefix("10.0.0.1/32").Addr()}
			w.must(w.kernel.AddAddress("ppp0", a))
			w.until(20*time.Second, "ppp0 carries", func() bool { return w.defaults() == "eth1*1 ppp0*1 eth2*1" })
			if want := "via 10.0.0.1 dev ppp0 src " + at; !strings.Contains(w.line(1), want) {
				t.Errorf("table of ppp0: %s, want %s", w.line(1), want)
			}
			w.must(w.kernel.RemoveAddress("ppp0", a.Prefix.Addr()))
			w.until(time.Second, "ppp0 is out", func() bool { return w.defaults() == "eth1*1 eth2*1" })
		}
		if n := others(); n != quiet {
			t.Errorf("the tables of the other lines were written %d times because of ppp0", n-quiet)
		}
		if !strings.Contains(w.lastMail(), "Uplink dialled (ppp0): ip 10.0.0.8 --> none, gateway 10.0.0.1 --> none, up --> down, routing --> standby (no address)") {
			t.Errorf("mail: %s", w.lastMail())
		}
	})
}

// A new address on a line that works is no failure: it keeps its place while it is judged.
func TestRenumbering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pppBetween)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 ppp0*1 eth2*1" })
		time.Sleep(3 * time.Second)
		next := routing.Address{Prefix: prefix("10.0.0.9/32"), Peer: prefix("10.0.0.1/32").Addr()}
		w.must(errors.Join(w.kernel.AddAddress("ppp0", next), w.kernel.RemoveAddress("ppp0", prefix("100.64.1.2/32").Addr())))
		w.until(time.Second, "the new address", func() bool { return strings.Contains(w.line(1), "src 10.0.0.9") && w.agreed() })
		time.Sleep(3 * time.Second)
		if n := w.mailCount(); n != 1 || strings.Contains(w.lastMail(), "down") {
			t.Errorf("%d mails: %s", n, w.lastMail())
		}
	})
}

func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		w.silence("eth3", true)
		w.silence("eth2", true)
		w.until(3*time.Second, "eth1 is left", func() bool { return w.defaults() == "eth1*1" })
		w.silence("eth1", true)
		w.until(3*time.Second, "it is told", func() bool { return strings.Contains(w.lastMail(), "No uplink is well") })
		turns := w.turns()
		time.Sleep(time.Minute)
		if w.defaults() != "eth1*1" {
			t.Errorf("the last default route did not stay: %q", w.defaults())
		}
		if n := w.turns() - turns; n > 60*3*6*3*3 {
			t.Errorf("%d turns in a minute while all lines are down", n)
		}
		w.must(errors.Join(w.kernel.SetUp("eth1", false), w.kernel.SetUp("eth2", false), w.kernel.SetUp("eth3", false)))
		time.Sleep(3 * time.Second) // what was asked before is given up meanwhile
		turns = w.turns()
		time.Sleep(time.Minute)
		if n := w.turns() - turns; n > 20 {
			t.Errorf("%d turns in a minute while no line can be asked", n)
		}
		w.must(w.kernel.SetUp("eth2", true))
		w.silence("eth2", false)
		w.until(20*time.Second, "eth2 carries again", func() bool { return w.defaults() == "eth2*1" && w.agreed() })
	})
}

// What others delete or change is put back.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		time.Sleep(time.Second)
		for _, r := range rulesOf(w.have()) {
			w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Rule: &r}))
		}
		w.until(100*time.Millisecond, "the rules are back", w.agreed)
		for _, r := range w.have().Routes {
			w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Route: &r}))
		}
		w.until(100*time.Millisecond, "the routes are back", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		for key, step := range map[string]string{
			"net/ipv4/conf/eth1/rp_filter":       "sysctl -w net/ipv4/conf/eth1/rp_filter=2",
			"net/ipv4/fib_multipath_hash_policy": "sysctl -w net/ipv4/fib_multipath_hash_policy=1",
		} {
			w.must(w.kernel.Play(routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: key, Value: "0"}}))
			w.until(1010*time.Millisecond, key+" is back", w.agreed)
			if w.logs.count("put back what another program removed or changed: "+step) != 1 {
				t.Errorf("it was not told that %s was changed", key)
			}
		}
	})
}

// What the kernel does not tell of is put back within a second also when it is spoilt again right after.
func TestDriftAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		time.Sleep(time.Second)
		for range 3 {
			w.must(w.kernel.Play(routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: "net/ipv4/fib_multipath_hash_policy", Value: "0"}}))
			w.until(1010*time.Millisecond, "the hash policy is back", w.agreed)
		}
	})
}

func TestFailingStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		for range 40 {
			w.kernel.FailNext(errors.New("no buffer space available"))
		}
		stop := w.run()
		defer stop()
		w.until(20*time.Second, "it agrees at last", w.agreed)
		if n := w.logs.count("the kernel agrees again"); n != 1 {
			t.Errorf("the end of the trouble was logged %d times", n)
		}
		if w.ready.Load() != 1 {
			t.Errorf("ready was said %d times", w.ready.Load())
		}
	})
}

// blind is a kernel that cannot be read for a while.
type blind struct {
	daemon.Kernel
	trouble atomic.Bool
	looks   atomic.Int32
}

func (b *blind) Observe(ctx context.Context, s routing.Scope) (routing.Observation, error) {
	if len(s.Interfaces) > 0 { // not only sysctls
		b.looks.Add(1)
	}
	if b.trouble.Load() {
		return routing.Observation{}, errors.New("no buffer space available")
	}
	return b.Kernel.Observe(ctx, s)
}

func TestUnreadableKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		k := &blind{Kernel: w.kernel}
		k.trouble.Store(true)
		stop := w.runOn(k)
		time.Sleep(59 * time.Second)
		if n := w.logs.count("read the kernel's state: no buffer space available"); n != 1 {
			t.Errorf("the same failure was logged %d times", n)
		}
		if n := k.looks.Load(); n > 30 {
			t.Errorf("%d looks in a minute", n)
		}
		k.trouble.Store(false)
		w.until(20*time.Second, "it can be read again", w.agreed)
		k.trouble.Store(true)
		w.silence("eth2", true)
		time.Sleep(5 * time.Second)
		k.trouble.Store(false)
		w.until(20*time.Second, "eth2 is out, late", func() bool { return w.defaults() == "eth1*1" })
		stop()
	})
}

// deaf is a kernel that does not report changes.
type deaf struct{ daemon.Kernel }

func (deaf) Events(context.Context, func(routing.Hint)) error { return errors.New("permission denied") }

func TestWatchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		err := daemon.New(w.options(deaf{w.kernel})).Run(t.Context())
		if err == nil || err.Error() != "watch the kernel: permission denied" {
			t.Errorf("error %v", err)
		}
	})
}

// What is to go may be all that a packet has: it waits until everything that is wanted exists.
func TestFailedStepKeepsOldState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		old := routing.Rule{Family: config.IPv4, Priority: 20010, Table: 6, SuppressPrefixLength: routing.NoSuppress, Protocol: routing.RuleProtocol}
		w.must(w.kernel.Play(routing.Step{Op: routing.Add, Rule: &old}))
		w.kernel.FailNext(errors.New("no buffer space available"))
		stop := w.run()
		defer stop()
		synctest.Wait()
		if !slices.Contains(w.have().Rules, old) {
			t.Error("the old rule was deleted although a step had failed")
		}
		w.until(2*time.Second, "the next try", func() bool { return w.agreed() && !slices.Contains(w.have().Rules, old) })
	})
}
