package health_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/health"
)

// stepped returns a time as time.Now returns it after somebody set the wall clock forward by so many
// seconds: its monotonic reading is the same. There is no other way to make one, so it looks into
// time.Time, and fails where that has changed.
func stepped(t *testing.T, now time.Time, by time.Duration) time.Time {
	const nanosecondBits = 30
	after := now
	*(*uint64)(unsafe.Pointer(&after)) += uint64(by/time.Second) << nanosecondBits
	if after.Sub(now) != 0 || time.Duration(after.Unix()-now.Unix())*time.Second != by {
		t.Fatal("time.Time has another layout than this test knows")
	}
	return after
}

// story runs a monitor through a failure of its line and back, on a wall clock that is off by step at
// any time, and tells what it asked and judged.
func story(t *testing.T, step func(elapsed time.Duration) time.Duration) []string {
	began := time.Now()
	clock := func(elapsed time.Duration) time.Time { return stepped(t, began.Add(elapsed), step(elapsed)) }
	m := health.New(defaults(), rand.New(rand.NewPCG(1, 2)), clock(0))
	m.SetLink(clock(0), true, "")
	type due struct {
		id uint64
		at time.Duration
	}
	var waiting []due
	var told []string
	state, asked := health.Unknown, 0
	for at := time.Duration(0); at < 6*time.Minute; at += 5 * time.Millisecond {
		now := clock(at)
		for len(waiting) > 0 && waiting[0].at <= at {
			m.Answer(now, waiting[0].id, 10*time.Millisecond, nil)
			waiting = waiting[1:]
		}
		for _, r := range m.Poll(now) {
			asked++
			if at < 2*time.Minute || at > 3*time.Minute {
				waiting = append(waiting, due{r.ID, at + 10*time.Millisecond})
			}
		}
		if r := m.Report(now); r.State != state || at%(30*time.Second) == 0 {
			state = r.State
			told = append(told, fmt.Sprintf("%v: %s, %s for %v, %d flaps, %d probes", at, r.State, r.Reason, now.Sub(r.Since), r.Flaps, asked))
		}
	}
	return told
}

// Judging goes by the monotonic clock: whoever sets the wall clock changes no verdict and no pace.
func TestWallClockSteps(t *testing.T) {
	want := story(t, func(time.Duration) time.Duration { return 0 })
	if len(want) < 14 {
		t.Fatalf("the line did not fail and come back: %v", want)
	}
	for name, step := range map[string]time.Duration{"forward": 5 * time.Hour, "back": -5 * time.Hour} {
		got := story(t, func(elapsed time.Duration) time.Duration {
			switch { // while it is well, in the failure, and on the way up
			case elapsed < time.Minute:
				return 0
			case elapsed < 150*time.Second:
				return step
			case elapsed < 181*time.Second:
				return 2 * step
			default:
				return -step
			}
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the clock is set %s (-want +got):\n%s", name, diff)
		}
	}
}
