package daemon_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
)

// eightLines are lines of all types in three groups; one belongs to none.
const eightLines = `
uplinks:
- {interface: wan0, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1}
- {interface: ppp1, type: ppp, priority_group: 1, weight: 2}
- {interface: wan2, type: dhcp, priority_group: 1, weight: 3}
- {interface: wan3, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, priority_group: 1}
- {interface: ppp4, type: ppp, priority_group: 2}
- {interface: wan5, type: dhcp, priority_group: 2, weight: 5}
- {interface: wan6, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 3}
- {interface: wan7, type: dhcp}
downlinks: {lan: lan0}
tests:
  ips: [198.51.100.1, 198.51.100.2, 198.51.100.3]
  required_successful: 2
  hold_down: 250ms
  max_hold_down: 2s
  flap_memory: 5s
base_table: 1
base_priority: 20000
base_fwmark: 1
`

const (
	// flapsHere is how many flaps an ordinary test run makes; "make bench" makes 10,000.
	flapsHere = 400
	// leastWarm is how many come at least before the first look at what the program holds: the simulated
	// kernel remembers the steps of about 150.
	leastWarm = 200
	// lag is how long after the end of a brief silence what was asked in it may lead to a verdict.
	lag = 600 * time.Millisecond
	// instant is a flap so brief that the daemon may see nothing but its traces.
	instant = 10 * time.Millisecond
	// mistakeShare: one flap in so many may make a step fail, and one round of flaps as many as it breaks lines
	// in the middle of the loop's work.
	mistakeShare   = 1000
	mistakesAtOnce = 4
	// mostGrowth is what the heap may hold more after all flaps than after the first tenth, in bytes: ten
	// for each flap of 10,000.
	mostGrowth = 100_000
	// mostMore is the same for each of the collections of the loop.
	mostMore = 10
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number from 1", name, text)
	}
	return n
}

// Lines break and come back at random, of all types and in all ways, one or several at once. Each time
// the kernel holds exactly what it should, and in the end the program holds no more than in the beginning.
// FTR_FLAPS says how many, FTR_SEED which.
func TestFlaps(t *testing.T) {
	count, seed := number(t, "FTR_FLAPS", flapsHere), number(t, "FTR_SEED", 1)
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		goroutines, start := ours(), time.Now()
		f, stop := newFlapper(t, uint64(seed))
		f.settle(10*time.Second, "start")
		var warm holdings
		for f.flaps < count {
			f.round()
			if warm.sizes == nil && f.flaps >= max(leastWarm, count/10) {
				warm = f.holdings()
			}
		}
		end := f.holdings()
		t.Logf("%d flaps in %v of simulated time; longest until all was right: %v", f.flaps, time.Since(start).Round(time.Minute), f.longest)
		t.Logf("after %d flaps: %s", warm.flaps, warm)
		t.Logf("after %d flaps: %s", end.flaps, end)
		end.noMoreThan(t, warm)
		// Lines break while the loop is at work, too: a step that fails for that is tried again.
		mistakes := f.story.count(mistake)
		if mistakes > mistakesAtOnce+f.flaps/mistakeShare {
			t.Errorf("steps failed %d times in %d flaps:\n%s", mistakes, f.flaps, f.story.end())
		}
		if n := f.story.count(putBack); n > f.instants+mistakes {
			t.Errorf("%d repairs were told, but there were only %d flaps that are over at once:\n%s", n, f.instants, f.story.end())
		}
		for _, never := range []string{fight, voteless} {
			if n := f.story.count(never); n > 0 {
				t.Errorf("the daemon said %q %d times", never, n)
			}
		}
		stop()
		synctest.Wait()
		if n := ours(); n > goroutines { // those of the test before may be gone
			t.Errorf("%d goroutines after the daemon's end, %d before its start", n, goroutines)
		}
	})
}

// round breaks some lines at once, and mends them.
func (f *flapper) round() {
	broken := f.breakSome()
	brief := f.dice.IntN(5) == 0
	if brief {
		pause := time.Duration(f.dice.IntN(500)) * time.Millisecond // it is over before much is done
		if pause < instant {
			f.instants += len(broken)
		}
		time.Sleep(pause)
	} else {
		f.settle(3*time.Second, "broken")
		f.stays(time.Duration(f.dice.IntN(1000)) * time.Millisecond)
	}
	for _, w := range broken {
		mend := w.trouble.mend
		w.trouble = nil
		f.must(mend(f, w))
		if f.dice.IntN(4) == 0 {
			time.Sleep(time.Duration(f.dice.IntN(300)) * time.Millisecond)
		}
	}
	if brief {
		time.Sleep(lag)
	}
	f.settle(20*time.Second, "mended")
	f.stays(time.Duration(f.dice.IntN(1000)) * time.Millisecond)
}

// breakSome breaks mostly one line, sometimes several or all of them. A line that is only led another way
// is a flap that it must survive.
func (f *flapper) breakSome() (broken []*wire) {
	n := 1
	for n < len(f.wires) && f.dice.IntN(3) == 0 {
		n++
	}
	if f.dice.IntN(50) == 0 {
		n = len(f.wires)
	}
	kinds := troubles()
	for _, i := range f.dice.Perm(len(f.wires))[:n] {
		w := f.wires[i]
		f.flaps++
		f.kernel.AddFlows(config.IPv4, w.Mark, 10)
		if f.dice.IntN(8) == 0 {
			f.must(f.reroute(w))
			continue
		}
		w.trouble = kinds[f.dice.IntN(len(kinds))]
		f.must(w.trouble.spoil(f, w))
		broken = append(broken, w)
	}
	return broken
}

// holdings are what the program holds while nothing happens.
type holdings struct {
	flaps, goroutines int
	heap              uint64 // bytes that are reachable
	sizes             map[string]int
}

func (h holdings) String() string {
	return fmt.Sprintf("%d goroutines, heap %d bytes, %v", h.goroutines, h.heap, h.sizes)
}

// ours is how many goroutines are in this project's code. The runtime and the testing package start some
// when they like.
func ours() (count int) {
	text := make([]byte, 1<<20)
	n := runtime.Stack(text, true)
	for n == len(text) {
		text = make([]byte, 2*len(text))
		n = runtime.Stack(text, true)
	}
	for stack := range strings.SplitSeq(string(text[:n]), "\n\n") {
		if strings.Contains(stack, "\nftr/internal/") {
			count++
		}
	}
	return count
}

// holdings waits until all is calm and what was asked is answered or given up, and looks.
func (f *flapper) holdings() holdings {
	f.t.Helper()
	f.stays(time.Minute)
	h := holdings{flaps: f.flaps, goroutines: ours()}
	for range 100 { // a calm probe may be under way
		time.Sleep(7 * time.Millisecond)
		synctest.Wait()
		h.goroutines = min(h.goroutines, ours())
	}
	var err error
	h.sizes, err = f.daemon.Sizes(f.t.Context())
	f.must(err)
	var m runtime.MemStats
	for range 2 { // what has a finalizer goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	h.heap = m.HeapAlloc
	return h
}

// noMoreThan holds that nothing grew.
func (h holdings) noMoreThan(t *testing.T, warm holdings) {
	t.Helper()
	if warm.sizes == nil {
		t.Fatalf("%d flaps are too few to compare what the program holds", h.flaps)
	}
	if h.goroutines > warm.goroutines { // those of the test before may be gone
		t.Errorf("%d goroutines after %d flaps, %d after %d", h.goroutines, h.flaps, warm.goroutines, warm.flaps)
	}
	if h.heap > warm.heap+mostGrowth {
		t.Errorf("the heap grew from %d to %d bytes", warm.heap, h.heap)
	}
	for what, n := range h.sizes {
		if n > warm.sizes[what]+mostMore {
			t.Errorf("%s: %d after %d flaps, %d after %d", what, n, h.flaps, warm.sizes[what], warm.flaps)
		}
	}
}
