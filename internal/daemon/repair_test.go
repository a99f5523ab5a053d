package daemon_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/routing"
)

// Five equal repairs in ten seconds are a fight: it is slowed and told, and ends when the other stops.
func TestFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		rule := rulesOf(w.have())[1]
		fight := func(span time.Duration) (repairs int) {
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				synctest.Wait()
				if w.agreed() {
					repairs++
					w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Rule: &rule}))
				}
			}
			return repairs
		}
		if n := fight(4 * time.Second); n != 6 {
			t.Errorf("repaired %d times in 4 s, want 5 and what was there at first", n)
		}
		if n := fight(time.Minute); n < 5 || n > 7 {
			t.Errorf("repaired %d times in a minute of fighting, want once in 10 s", n)
		}
		if w.logs.count("another program undoes this each time") == 0 {
			t.Error("the fight was not told")
		}
		w.until(11*time.Second, "the other has stopped", w.agreed)
		time.Sleep(30 * time.Second)
		w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Rule: &rule}))
		w.until(50*time.Millisecond, "peace: repaired at once", w.agreed)
		if len(w.last().Warnings) != 0 {
			t.Errorf("warnings stay: %v", w.last().Warnings)
		}
	})
}

// Lines that flap make the same changes again and again; that is no fight.
func TestFlappingIsNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		for range 8 {
			w.must(w.kernel.SetCarrier("eth1", false))
			w.until(100*time.Millisecond, "out", func() bool { return w.defaults() == "eth2*1" })
			w.must(w.kernel.SetCarrier("eth1", true))
			w.until(10*time.Minute, "in", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		}
		if w.logs.count("put back what another program") != 0 || w.logs.count("another program undoes") != 0 {
			t.Error("flapping was taken for another program's work")
		}
	})
}

func TestRepairIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		rule := rulesOf(w.have())[1]
		w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Rule: &rule}))
		w.until(50*time.Millisecond, "it is back", w.agreed)
		if w.logs.count("put back what another program removed or changed: ip rule add from 192.0.2.2 lookup 1 priority 20000 protocol 117") != 1 {
			t.Errorf("log:\n%s", w.logs.text.String())
		}
	})
}

// A line that comes and goes undoes what we did, and we do it again: that is no repair, and no fight.
func TestComingAndGoingIsNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		spare := routing.Address{Prefix: prefix("203.0.113.2/24")}
		for range 8 { // of a line that carries nothing, so that no other route changes with it
			w.must(w.kernel.SetUp("eth3", false))
			time.Sleep(100 * time.Millisecond)
			w.must(w.kernel.SetUp("eth3", true))
			w.until(50*time.Millisecond, "the route is back", func() bool { return w.line(2) != "" })
			w.must(w.kernel.RemoveAddress("eth3", spare.Prefix.Addr()))
			w.until(50*time.Millisecond, "the rule is gone", w.agreed)
			w.must(w.kernel.AddAddress("eth3", spare))
			w.until(50*time.Millisecond, "the rule is back", w.agreed)
		}
		for _, words := range []string{putBack, fight} {
			if n := w.logs.count(words); n > 0 {
				t.Errorf("%q was said %d times", words, n)
			}
		}
	})
}
