package health

import (
	"net/netip"
	"time"
)

const (
	// minRTO keeps the scheduling noise of a busy router and the queue of a line that starts to fill
	// from looking like loss. It bounds the speed of a verdict: a silent line with Retries 3 is down
	// after one calm wait and three of these.
	minRTO = 100 * time.Millisecond
	// granularity is G of RFC 6298, section 2.3: the least that the variance adds to the mean.
	granularity = 10 * time.Millisecond
	// ownSamples is how many answers of a target make its own estimate as good as the path's.
	ownSamples = 4
)

// estimator smooths round-trip times as RFC 6298, section 2, does for TCP. Each echo has an identity
// of its own, so an answer to a repeated attempt is as good a sample as any: what Karn's rule guards
// against, an answer that could belong to two attempts, cannot happen.
type estimator struct {
	srtt, rttvar time.Duration
	samples      int
	timedOut     bool // an answer was waited for in vain, for the whole time-out
}

// add takes one measurement into account.
func (e *estimator) add(rtt time.Duration) {
	if e.samples == 0 {
		e.srtt, e.rttvar = rtt, rtt/2
	} else {
		e.rttvar += ((e.srtt - rtt).Abs() - e.rttvar) / 4
		e.srtt += (rtt - e.srtt) / 8
	}
	e.samples++
}

// rto is how long an answer is waited for before it is missed. It means nothing before a sample.
func (e *estimator) rto(ceiling time.Duration) time.Duration {
	return min(max(e.srtt+max(granularity, 4*e.rttvar), minRTO), ceiling)
}

// clocks hold the estimate of the path as a whole and those of its targets. Targets differ (one in
// the provider's own network, one overseas), so each is waited for by its own; the path's stands in
// for targets not yet known well, and is what is shown.
type clocks struct {
	path    estimator
	targets map[netip.Addr]*estimator
}

// add takes the answer of a target into account.
func (c *clocks) add(target netip.Addr, rtt time.Duration) {
	c.path.add(rtt)
	c.of(target).add(rtt)
}

// timedOut notes that the whole time-out passed without an answer of the target.
func (c *clocks) timedOut(target netip.Addr) { c.of(target).timedOut = true }

func (c *clocks) of(target netip.Addr) *estimator {
	if c.targets == nil {
		c.targets = map[netip.Addr]*estimator{}
	}
	if c.targets[target] == nil {
		c.targets[target] = &estimator{}
	}
	return c.targets[target]
}

// rto is the wait for an answer of the target. One that never answered gets the ceiling, since it may
// be farther away than all others; after one full time-out it is taken for dead, and a dead target
// must not slow down the verdict over the others.
func (c *clocks) rto(target netip.Addr, ceiling time.Duration) time.Duration {
	own := c.of(target)
	switch {
	case c.path.samples == 0 || own.samples == 0 && !own.timedOut:
		return ceiling
	case own.samples == 0:
		return c.path.rto(ceiling)
	case own.samples < ownSamples:
		return max(own.rto(ceiling), c.path.rto(ceiling))
	default:
		return own.rto(ceiling)
	}
}

// keep forgets the targets that are not listed.
func (c *clocks) keep(targets []netip.Addr) {
	kept := make(map[netip.Addr]*estimator, len(targets))
	for _, t := range targets {
		if e := c.targets[t]; e != nil {
			kept[t] = e
		}
	}
	c.targets = kept
}
