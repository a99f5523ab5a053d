package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
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

// stray is what "ip route replace default via ... table TABLE proto static" makes.
func (w *world) stray(table, metric uint32) routing.Route {
	return routing.Route{
		Family: config.IPv4, Table: table, Type: routing.Unicast, Destination: prefix("0.0.0.0/0"), Metric: metric, Protocol: 4,
		NextHops: []routing.NextHop{{Interface: "eth3", Gateway: w.cfg.Uplinks[2].Gateway, Weight: 1}},
	}
}

// What replaces a route of ours is replaced again, whoever wrote it; that is told, and may be a fight.
func TestReplacedRouteIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		time.Sleep(20 * time.Second)
		for _, place := range []struct{ table, metric uint32 }{{1, 0}, {2, 0}, {4, 0}, {4, 1}, {1, 1<<32 - 1}} {
			r := w.stray(place.table, place.metric)
			w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &r}))
			w.until(50*time.Millisecond, "ours is back: "+r.String(), func() bool {
				return w.agreed() && w.defaults() == "eth1*1 eth2*2" && w.line(0) != "" && w.line(1) != ""
			})
		}
		if n := w.logs.count("put back what another program removed or changed: ip route replace "); n != 5 {
			t.Errorf("%d repairs were told, want 5", n)
		}
		if w.logs.count("is not ours") != 0 {
			t.Error("what is put back at once is reported as another's too")
		}
		for range 4 {
			r := w.stray(1, 0)
			w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &r}))
			time.Sleep(100 * time.Millisecond)
		}
		r := w.stray(1, 0)
		w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &r}))
		time.Sleep(time.Second)
		if w.logs.count("another program undoes this each time") == 0 || w.agreed() {
			t.Error("this is no fight")
		}
		w.until(11*time.Second, "the other has stopped", w.agreed)
	})
}

// What stood where ours belongs before the start stays, and is told. Once it is gone the place is ours.
func TestForeignRouteStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		r := w.stray(1, 0)
		w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &r}))
		there := func() bool {
			return slices.ContainsFunc(w.have().Routes, r.Equal)
		}
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		w.must(w.kernel.SetCarrier("eth2", false))
		w.until(time.Second, "something else is written", func() bool { return w.defaults() == "eth1*1" })
		time.Sleep(30 * time.Second)
		if !there() || w.logs.count("which is not ours and stands where ours belongs") != 1 {
			t.Errorf("there: %v; log:\n%s", there(), w.logs.text.String())
		}
		w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Route: &r}))
		w.until(time.Second, "ours is written", func() bool { return strings.Contains(w.line(0), "via 192.0.2.1") })
		w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &r}))
		w.until(time.Second, "ours is put back", func() bool { return strings.Contains(w.line(0), "via 192.0.2.1") && !there() })
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
