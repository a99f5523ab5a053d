package daemon_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/health"
)

// flapUntilHeld lets lines fail until they are held back for long though they are well again.
func (w *world) flapUntilHeld(devices ...string) {
	w.t.Helper()
	silence := func(silent bool) {
		for _, d := range devices {
			w.silence(d, silent)
		}
	}
	all := func(holds func(health.Report) bool) func() bool {
		return func() bool {
			return !slices.ContainsFunc(devices, func(d string) bool { return !holds(w.stateOf(d)) })
		}
	}
	down := all(func(r health.Report) bool { return r.State == health.Down })
	up := all(func(r health.Report) bool { return r.State == health.Up })
	held := all(func(r health.Report) bool { return !r.HeldUntil.IsZero() })
	for range 5 {
		silence(true)
		w.until(15*time.Second, "down", down)
		silence(false)
		w.until(time.Minute, "up again", up)
	}
	silence(true)
	w.until(15*time.Second, "down", down)
	silence(false)
	w.until(5*time.Second, "held back", held)
	time.Sleep(10 * time.Second)
}

func (w *world) stateOf(device string) health.Report {
	for _, u := range w.last().Uplinks {
		if u.Interface == device {
			return u.Health
		}
	}
	return health.Report{}
}

// Lines that are well again, and held back for having failed often, carry when the last other one fails: both, in the
// same moment. While another one is well they wait.
func TestRelief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		w.flapUntilHeld("eth1", "eth2")
		if got := w.defaults(); got != "eth3*1" {
			t.Fatalf("while two are held back, %s carries", got)
		}
		w.silence("eth3", true)
		took := w.until(3*time.Second, "those that are well carry", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		if took > 1200*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		if r := w.stateOf("eth1"); r.State != health.Up || r.Flaps < 5 {
			t.Errorf("eth1: %+v", r)
		}
		// Its flaps are remembered.
		w.silence("eth3", false)
		w.until(2*time.Minute, "the third is well", func() bool { return w.stateOf("eth3").State == health.Up })
		w.silence("eth1", true)
		w.until(15*time.Second, "down", func() bool { return w.stateOf("eth1").State == health.Down })
		w.silence("eth1", false)
		time.Sleep(20 * time.Second)
		if r := w.stateOf("eth1"); r.HeldUntil.IsZero() {
			t.Errorf("eth1 is not held back though eth2 is well: %+v", r)
		}
	})
}

// What goes by a reload was the last line that carried.
func TestReliefAtReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		d, stop := w.start()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		w.flapUntilHeld("eth1", "eth2")
		w.reload(d, threeStatic[:len(threeStatic)-len("- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, description: three, priority_group: 2}\n")])
		w.until(time.Second, "those that are well carry", func() bool { return w.defaults() == "eth1*1 eth2*2" })
	})
}
