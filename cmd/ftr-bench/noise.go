package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// noiseEvery is how often the probe wakes up.
const noiseEvery = 5 * time.Millisecond

// Noise is how late a thread that wants to wake up does so: nothing in this machine can be measured
// more exactly.
type Noise struct {
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
	Worst  time.Duration `json:"worst_ns"`
	Count  int           `json:"count"`
}

func (n Noise) String() string {
	return fmt.Sprintf("median %s, 99 %% %s, worst %s", round(n.Median), round(n.P99), round(n.Worst))
}

// round leaves three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// noiseProbe measures beside a phase.
type noiseProbe struct {
	stop chan struct{}
	done sync.WaitGroup
	late []time.Duration
}

func startNoise() *noiseProbe {
	p := &noiseProbe{stop: make(chan struct{})}
	p.done.Go(p.run)
	return p
}

// run sleeps in the kernel itself, on a thread of its own: Go's timers would add their own lateness.
func (p *noiseProbe) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exactTimers()
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		start := time.Now()
		pause := unix.NsecToTimespec(int64(noiseEvery))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil); err != nil {
			continue // a signal; this one does not count
		}
		p.late = append(p.late, max(0, time.Since(start)-noiseEvery))
	}
}

// exactTimers makes the kernel wake this thread when it is due, not 50 µs later (prctl(2)).
func exactTimers() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// end returns what was measured.
func (p *noiseProbe) end() Noise {
	close(p.stop)
	p.done.Wait()
	slices.Sort(p.late)
	n := Noise{Count: len(p.late)}
	if n.Count > 0 {
		n.Median, n.P99, n.Worst = p.late[n.Count/2], p.late[n.Count*99/100], p.late[n.Count-1]
	}
	return n
}
