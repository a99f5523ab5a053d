package health

import (
	"slices"
	"time"

	"ftr/internal/config"
)

// forgetAfter is how long after its time-out a probe is remembered if the prober never reports back:
// a prober always does, so this only bounds the memory.
const forgetAfter = time.Second

// echo is a probe that was sent and whose prober has not reported back.
type echo struct {
	id     uint64
	target config.Target
	sent   time.Time
	missed time.Time // when it counts as lost, by the measured round-trip time
	gone   time.Time // when the prober must have given up
	round  *round    // the round that sent it; nil: a calm one
	lost   bool      // missed has passed
	aside  bool      // to a target whose silence is no news
}

// flight holds the probes in flight in the order of their sending.
type flight []echo

// take removes and returns the probe of that id.
func (f *flight) take(id uint64) (echo, bool) {
	i, ok := slices.BinarySearchFunc(*f, id, func(e echo, id uint64) int {
		return int(int64(e.id - id))
	})
	if !ok {
		return echo{}, false
	}
	e := (*f)[i]
	*f = slices.Delete(*f, i, i+1)
	return e, true
}

// expire marks what is missed by now, returns it, and forgets what nobody will report on any more.
func (f *flight) expire(now time.Time) (missed []echo) {
	*f = slices.DeleteFunc(*f, func(e echo) bool { return e.lost && !now.Before(e.gone.Add(forgetAfter)) })
	for i := range *f {
		if e := &(*f)[i]; !e.lost && !now.Before(e.missed) {
			e.lost = true
			missed = append(missed, *e)
		}
	}
	return missed
}

// postpone moves what would be missed by now.
func (f flight) postpone(now, until time.Time) {
	for i := range f {
		if !f[i].lost && !now.Before(f[i].missed) {
			f[i].missed = until
		}
	}
}

// wake is when the next probe is missed; zero: never.
func (f flight) wake() (at time.Time) {
	for i := range f {
		if !f[i].lost {
			at = earlier(at, f[i].missed)
		}
	}
	return at
}

// pending tells whether there are probes whose silence would be news and that may still be answered in time.
func (f flight) pending() bool {
	return slices.ContainsFunc(f, func(e echo) bool { return !e.lost && !e.aside })
}

// keep forgets the probes to targets that are not listed.
func (f *flight) keep(targets []config.Target) {
	*f = slices.DeleteFunc(*f, func(e echo) bool { return !slices.Contains(targets, e.target) })
}

// earlier returns the earlier of two times of which the zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
