package daemon_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
)

// A table of neighbours that is full is told once, for as long as it is full again and again, and until it was not for
// a while, or has become larger.
func TestNeighboursFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		w.kernel.OverflowNeighbours(config.IPv4) // before the start
		stop := w.run()
		defer stop()
		w.until(time.Second, "start", w.agreed)
		time.Sleep(time.Minute)
		if ws := w.last().Warnings; len(ws) != 0 {
			t.Fatalf("what was before the start is told: %v", ws)
		}
		told := func() bool {
			ws := w.last().Warnings
			return len(ws) == 1 && ws[0].Code == "neighbours-full" && ws[0].Subject == "net.ipv4.neigh.default.gc_thresh3"
		}
		well := func() bool { return len(w.last().Warnings) == 0 }
		for range 4 {
			w.kernel.OverflowNeighbours(config.IPv4)
			w.until(11*time.Second, "told", told)
			time.Sleep(8 * time.Minute)
		}
		if !told() {
			t.Error("the warning went after 8 minutes")
		}
		w.until(3*time.Minute, "there was room for a while", well)
		if full, over := w.logs.count("ARP table is full: it holds 1024 hosts"), w.logs.count("has room again"); full != 1 || over != 1 {
			t.Errorf("logged %d times that it is full, and %d times that it is not", full, over)
		}
		w.kernel.OverflowNeighbours(config.IPv4)
		w.until(11*time.Second, "told again", told)
		w.kernel.SizeNeighbours(config.IPv4, 4096)
		w.until(11*time.Second, "it became larger", well)
	})
}
