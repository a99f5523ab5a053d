package health

import (
	"math"
	"time"
)

const (
	// windowSize is how many probes are remembered: enough for ten seconds of rounds.
	windowSize = 256
	// lossSize is how many of the latest the loss that is shown is measured over: its resolution is 1 %.
	lossSize = 100
)

// window is a ring of the outcomes of the latest probes. Only judged probes enter: what is in flight
// is not lost. A late answer turns its loss back.
type window struct {
	ring  [windowSize]kept
	first time.Time // when the first of all was sent
	next  int       // where the next one goes
	used  int       // how many places hold one
	lost  int       // how many of the latest lossSize are lost
	tally []tally
}

// sample is the outcome of one probe.
type sample struct {
	id        uint64
	at        time.Time // when it was sent
	target    int       // its position in the parameters
	lost      bool
	timed     bool          // rtt and deviation measure the path
	steady    bool          // deviation is known
	rtt       time.Duration // meaningful only if it is not lost
	deviation time.Duration // of rtt from the one before to the same target
}

// kept is a sample as it is remembered, in half of the room: with hundreds of lines this is most of the
// memory that is used.
type kept struct {
	id                  uint64
	at                  time.Duration // since the first of all
	rtt, deviation      uint32        // µs
	target              uint16
	lost, timed, steady bool
}

func (w *window) keep(s sample) kept {
	return kept{
		id: s.id, at: s.at.Sub(w.first), rtt: micros(s.rtt), deviation: micros(s.deviation),
		target: uint16(s.target), lost: s.lost, timed: s.timed, steady: s.steady,
	}
}

// micros rounds a time to microseconds; more than an hour is an hour.
func micros(t time.Duration) uint32 {
	return uint32(min(t.Round(time.Microsecond), time.Hour) / time.Microsecond)
}

// tally counts the probes to one target.
type tally struct{ asked, lost int }

// add enters the outcome of a probe, over the oldest one where the ring is full.
func (w *window) add(s sample) {
	if w.first.IsZero() {
		w.first = s.at
	}
	w.ring[w.next] = w.keep(s)
	w.next = (w.next + 1) % windowSize
	w.used = min(w.used+1, windowSize)
	if s.lost {
		w.lost++
	}
	if w.used > lossSize && w.latest(lossSize).lost {
		w.lost--
	}
}

// latest returns the i-th sample from the latest, i from 0 to used-1.
func (w *window) latest(i int) *kept { return &w.ring[(w.next-1-i+2*windowSize)%windowSize] }

// age is how long ago a probe was sent.
func (w *window) age(now time.Time, s *kept) time.Duration { return now.Sub(w.first) - s.at }

// unlose turns the loss of a probe into an answer, if it is still remembered.
func (w *window) unlose(s sample) {
	for i := range w.used {
		if old := w.latest(i); old.id == s.id {
			if old.lost && i < lossSize {
				w.lost--
			}
			*old = w.keep(s)
			return
		}
	}
}

// forget empties the window.
func (w *window) forget() { w.used, w.lost = 0, 0 }

// silentFor returns how many of the latest probes were lost in a row.
func (w *window) silentFor() (n int) {
	for n < w.used && w.latest(n).lost {
		n++
	}
	return n
}

// loss is the share of lost probes among the latest, 0 to 1; NaN before the first outcome.
func (w *window) loss() float64 {
	if w.used == 0 {
		return math.NaN()
	}
	return float64(w.lost) / float64(min(w.used, lossSize))
}

// measure counts the losses of the time forLoss, and takes the means of the time forTimes, which
// is at least as long. Targets without vote, and those that never answered in that time, say nothing
// of the loss.
func (w *window) measure(now time.Time, forLoss, forTimes time.Duration, v voters) (m measurement) {
	w.tally = append(w.tally[:0], make([]tally, len(v.list))...)
	var latency, jitter time.Duration
	steady := 0
	for i := range w.used {
		s := w.latest(i)
		if w.age(now, s) > forTimes {
			break
		}
		if w.age(now, s) <= forLoss {
			w.tally[s.target].count(s.lost)
		}
		if s.lost || !s.timed {
			continue
		}
		latency += time.Duration(s.rtt) * time.Microsecond
		m.times++
		if s.steady {
			jitter += time.Duration(s.deviation) * time.Microsecond
			steady++
		}
	}
	m.latency, m.jitter = latency/time.Duration(max(m.times, 1)), jitter/time.Duration(max(steady, 1))
	for i, t := range w.tally {
		if v.lost(i) {
			w.tally[i] = tally{}
		} else if t.answers() {
			m.asked, m.lost = m.asked+t.asked, m.lost+t.lost
		}
	}
	if m.asked >= fewestForLoss {
		m.recent, m.bursts = w.recent(fewestForLoss)
	}
	return m
}

// recent counts the losses among the latest n probes, to targets that answer, and in how many bursts
// they came, with answers in between. There must be so many probes.
func (w *window) recent(n int) (lost, bursts int) {
	answers := false
	for i := 0; n > 0; i++ {
		s := w.latest(i)
		if !w.tally[s.target].answers() {
			continue
		}
		n--
		if s.lost {
			lost++
			if answers {
				bursts++
			}
		}
		answers = !s.lost
	}
	return lost, bursts
}

// answers tells whether the target answered at least once.
func (t tally) answers() bool { return t.lost < t.asked }

func (t *tally) count(lost bool) {
	t.asked++
	if lost {
		t.lost++
	}
}
