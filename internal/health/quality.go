package health

import (
	"fmt"
	"time"

	"ftr/internal/config"
)

const (
	// fewestForLoss is how many probes a loss is measured with before it can be too much: with it, chance
	// does not make half of a few probes out of a tenth of many.
	fewestForLoss = 30
	// fewestBursts is in how many bursts they must be lost: one burst is an outage, however short, and the
	// quorum's business.
	fewestBursts = 3
	// fewestForTime is the same for latency and jitter.
	fewestForTime = 3
)

// quality is what is thought of loss, latency and jitter.
type quality struct {
	measured measurement
	stale    bool // there are newer samples than measured
	bad      bool
	reason   string    // why it is bad
	until    time.Time // known from before a restart: it stays bad for so long
}

// measurement is what the window says.
type measurement struct {
	asked, lost     int // probes to targets that answered at least once
	recent          int // how many of the latest fewestForLoss of them were lost
	bursts          int // in how many bursts, each before an answer
	latency, jitter time.Duration
	times           int // samples behind latency and jitter
}

// lossy tells whether the loss is too much for a return.
func (m measurement) lossy(l config.Limit[int]) bool {
	return l.Leave > 0 && 100*m.lost > l.Return*m.asked
}

// dropsBad tells whether a line of bad quality is to be down.
func (m *Monitor) dropsBad() bool { return m.params.Quality.Action == config.ActionDown }

// measure judges the window, if there is something new in it.
func (m *Monitor) measure(now time.Time) {
	q := &m.quality
	if !q.stale {
		return
	}
	p := m.params.Quality
	q.stale = false
	q.measured = m.window.measure(now, p.Window, max(p.Window, 5*m.params.Interval), m.voters)
	if reason := q.measured.over(p); reason != "" && !m.full(now) {
		if !q.bad {
			q.reason = reason
		}
		q.bad = true
		return
	}
	q.bad = q.bad && (now.Before(q.until) || !q.measured.within(p))
}

// full tells whether the line is busy with traffic that is answered, and late because of it: what is
// lost then is lost to a full queue, which is not the line's fault and goes by itself.
func (m *Monitor) full(now time.Time) bool {
	return now.Sub(m.alive) < aliveGrace && m.clocks.queued()
}

// over says which limit is exceeded, or "".
func (m measurement) over(p config.Quality) string {
	enough := m.times >= fewestForTime
	switch {
	case p.Loss.Leave == 0 || m.asked < fewestForLoss || m.bursts < fewestBursts:
	case 100*m.recent >= p.Loss.Leave*fewestForLoss:
		return fmt.Sprintf("%d %% of %d round trips lost", 100*m.recent/fewestForLoss, fewestForLoss)
	case 100*m.lost >= p.Loss.Leave*m.asked:
		return fmt.Sprintf("%d %% of %d round trips lost within %s", 100*m.lost/m.asked, m.asked, span(p.Window))
	}
	switch {
	case p.Latency.Leave > 0 && enough && m.latency >= p.Latency.Leave:
		return fmt.Sprintf("round trips take %d ms, the limit is %d ms", m.latency.Milliseconds(), p.Latency.Leave.Milliseconds())
	case p.Jitter.Leave > 0 && enough && m.jitter >= p.Jitter.Leave:
		return fmt.Sprintf("round trips vary by %d ms, the limit is %d ms", m.jitter.Milliseconds(), p.Jitter.Leave.Milliseconds())
	}
	return ""
}

// within tells whether everything is well enough for a return.
func (m measurement) within(p config.Quality) bool {
	return m.times >= fewestForTime && !m.lossy(p.Loss) &&
		(p.Latency.Leave == 0 || m.latency <= p.Latency.Return) &&
		(p.Jitter.Leave == 0 || m.jitter <= p.Jitter.Return)
}

// outage is how many probes in a row nobody answers when the line was dead and not only lossy.
func (m *Monitor) outage() int {
	return max(12, min(18, len(m.params.Targets)*m.params.Retries))
}
