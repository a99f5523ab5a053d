package health

import (
	"slices"
	"time"

	"ftr/internal/config"
)

const (
	// granularity is G of RFC 6298, section 2.3: the least that the variance adds to the mean.
	granularity = 10 * time.Millisecond
	// deviations is K of RFC 6298, section 2.3, twice the 4 that is good for TCP: the delays of real lines
	// have long tails, and each answer that is only late costs a round.
	deviations = 8
	// firstDeviation is the part of the first measurement that is presumed to be its deviation: half of
	// what RFC 6298 presumes, as deviations is twice its K.
	firstDeviation = 4
	// ownSamples is how many answers of a target make its own estimate as good as the path's.
	ownSamples = 4
	// floorMemory is how many answers it takes to forget most of a shortest measurement.
	floorMemory = 512
	// queuedTimes the shortest round-trip time is more than lines vary by themselves.
	queuedTimes = 3
	// queueHalf is the time in which the longest delay that was seen is forgotten by half.
	queueHalf = 30 * time.Second
)

// estimator smooths round-trip times as RFC 6298, section 2, does for TCP. Each echo has an identity
// of its own, so an answer to a repeated attempt is as good a sample as any: what Karn's rule guards
// against, an answer that could belong to two attempts, cannot happen.
type estimator struct {
	srtt, rttvar time.Duration
	last         time.Duration // the latest measurement
	samples      int
	timedOut     bool // an answer was waited for in vain, for the whole time-out
}

// add takes one measurement into account.
func (e *estimator) add(rtt time.Duration) {
	if e.samples == 0 {
		e.srtt, e.rttvar = rtt, rtt/firstDeviation
	} else {
		e.rttvar += ((e.srtt - rtt).Abs() - e.rttvar) / 4
		e.srtt += (rtt - e.srtt) / 8
	}
	e.samples++
	e.last = rtt
}

// rto is how long an answer is waited for before it is missed. It means nothing before a sample.
func (e *estimator) rto(p Params) time.Duration {
	return min(max(e.srtt+max(granularity, deviations*e.rttvar), p.MinTimeout), p.Timeout)
}

// clock is the estimate of one target.
type clock struct {
	target config.Target
	estimator
}

// clocks hold the estimate of the path as a whole and those of its targets. Targets differ (one in
// the provider's own network, one overseas), so each is waited for by its own; the path's stands in
// for targets not yet known well, and is what is shown.
type clocks struct {
	path    estimator
	floor   time.Duration // the shortest measurement, slowly forgotten
	targets []clock
	delay   time.Duration // of the latest answers that came too late, the longest
	delayed time.Time     // when that was
}

// add takes the answer of a target into account.
func (c *clocks) add(target config.Target, rtt time.Duration) {
	c.path.add(rtt)
	c.of(target).add(rtt)
	if c.floor == 0 || rtt < c.floor {
		c.floor = rtt
	} else {
		c.floor += (rtt - c.floor) / floorMemory
	}
}

// queued tells whether answers take much longer than they can: a queue is in their way.
func (c *clocks) queued() bool { return c.path.srtt > queuedTimes*c.floor+granularity }

// deviation is how far a round-trip time is from the one before to the same target.
func (c *clocks) deviation(target config.Target, rtt time.Duration) (d time.Duration, known bool) {
	own := c.of(target)
	return (rtt - own.last).Abs(), own.samples > 0
}

// late notes an answer that came after it was missed: this line has queues of such a length.
func (c *clocks) late(now time.Time, rtt time.Duration) {
	if rtt >= c.queue(now) {
		c.delay, c.delayed = rtt+rtt/4, now
	}
}

// queue is how long answers have to be waited for because of delays not long ago.
func (c *clocks) queue(now time.Time) time.Duration {
	return c.delay >> min(uint(now.Sub(c.delayed)/queueHalf), 62)
}

// timedOut notes that the whole time-out passed without an answer of the target.
func (c *clocks) timedOut(target config.Target) { c.of(target).timedOut = true }

func (c *clocks) of(target config.Target) *estimator {
	for i := range c.targets {
		if c.targets[i].target == target {
			return &c.targets[i].estimator
		}
	}
	c.targets = append(c.targets, clock{target: target})
	return &c.targets[len(c.targets)-1].estimator
}

// rto is the wait for an answer of the target. One that never answered gets the ceiling, since it may
// be farther away than all others; after one full time-out it is taken for dead, and a dead target
// must not slow down the verdict over the others.
func (c *clocks) rto(target config.Target, p Params) time.Duration {
	own := c.of(target)
	switch {
	case c.path.samples == 0 || own.samples == 0 && !own.timedOut:
		return p.Timeout
	case own.samples == 0:
		return c.path.rto(p)
	case own.samples < ownSamples:
		// It may be farther away than others, but how much answers vary is known of the path.
		return (&estimator{srtt: max(own.srtt, c.path.srtt), rttvar: c.path.rttvar}).rto(p)
	default:
		return own.rto(p)
	}
}

// keep forgets the targets that are not listed.
func (c *clocks) keep(targets []config.Target) {
	c.targets = slices.DeleteFunc(c.targets, func(c clock) bool { return !slices.Contains(targets, c.target) })
}
