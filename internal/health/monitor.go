package health

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// downInterval is the longest time from one round to the next while the path is down: a line that
	// comes back is noticed within it also where calm rounds are a minute apart.
	downInterval = time.Second
	// roundGap is the shortest time from the beginning of one round to that of the next, whatever
	// raises doubts and however often.
	roundGap = 200 * time.Millisecond
	// stall is how late Poll may come before the lateness is taken for our own: answers may then wait
	// unread, and nothing is missed until they had this much time to be told.
	stall = 50 * time.Millisecond
)

// Params say how a path is asked. All ranges are those that config.Parse has checked.
type Params struct {
	Targets  []netip.Addr  // whom to ask, all of the path's family
	Required int           // the quorum: how many must answer for the path to be up, 1 to len(Targets)
	Retries  int           // attempts per target in a round before it counts as silent, from 1
	Interval time.Duration // from one calm probe to the next, above 0
	Timeout  time.Duration // the longest wait for one answer, above 0
}

func (p Params) equal(q Params) bool {
	return slices.Equal(p.Targets, q.Targets) && p.Required == q.Required && p.Retries == q.Retries &&
		p.Interval == q.Interval && p.Timeout == q.Timeout
}

// Request asks the daemon to send one probe now and to report what came of it by Answer.
type Request struct {
	ID      uint64
	Target  netip.Addr
	Timeout time.Duration // how long the prober waits; longer than Monitor does, so that late answers are seen
}

// Monitor judges one path.
//
// Calm, it asks one target each Interval, in a shuffled order. A missing answer, an error or outside
// evidence is doubt, never a verdict: all targets are asked at once (a round), and the quorum decides
// as soon as it is reached or cannot be reached any more. A path that is down is asked in rounds, at
// least once a second. How long an answer is waited for follows the measured round-trip times
// (RFC 6298); an answer that comes later still counts.
//
// Monitor is not safe for concurrent use. The time given to its methods never goes back.
type Monitor struct {
	params   Params
	usable   bool // what the kernel says of the link
	verdict  verdict
	rotation rotation
	clocks   clocks
	window   window
	flight   flight
	lastID   uint64

	calm     time.Time // when the next calm probe is due; zero: not before a round has decided
	round    *round    // the latest round; after a verdict of down, late answers still count in it
	begin    time.Time // when the next round is due; zero: no reason for one
	evidence time.Time // the sending of the earliest probe that gave reason for the next round
	cause    string    // the outside evidence that gave reason for it, if any
	forgiven bool      // the last Poll was late and nothing was held against the path
}

// New returns a monitor whose verdict is Unknown. It asks nothing before SetLink says that the link
// is usable.
func New(p Params, rnd *rand.Rand, now time.Time) *Monitor {
	p.Targets = slices.Clone(p.Targets)
	return &Monitor{
		params:   p,
		rotation: newRotation(p.Targets, rnd),
		verdict:  verdict{since: now, reason: "not asked yet", interim: true},
	}
}

// SetLink tells what the kernel says of the link. Not usable is Down at once, for that reason
// ("no carrier", "no address"), and nothing is asked; what was in flight is forgotten. Usable again
// asks all targets at once; until the quorum answers, a path that was down stays down. Repeating
// what is known changes nothing.
func (m *Monitor) SetLink(now time.Time, usable bool, reason string) {
	switch {
	case !usable:
		m.usable = false
		m.flight = nil
		m.reset()
		m.verdict.judge(now, Down, reason, true)
	case !m.usable:
		m.usable = true
		if m.verdict.state == Down {
			m.verdict.judge(now, Down, "link is back, no answer yet", true)
		}
		m.suspect(now, now)
	}
}

// Doubt takes outside evidence against the path, such as traffic without replies or a failed
// neighbour: all targets are asked at once. Only what they answer becomes a verdict; the reason is
// quoted in it.
func (m *Monitor) Doubt(now time.Time, reason string) {
	if m.usable && !m.asking() {
		m.suspect(now, now)
		m.cause = reason
	}
}

// Update takes new parameters without losing the verdict: if they differ, all targets are asked at
// once, and the verdict stands until the new quorum has decided.
func (m *Monitor) Update(now time.Time, p Params) {
	if m.params.equal(p) {
		return
	}
	p.Targets = slices.Clone(p.Targets)
	m.params = p
	m.rotation = newRotation(p.Targets, m.rotation.rnd)
	m.clocks.keep(p.Targets)
	m.flight.keep(p.Targets)
	if m.usable {
		m.reset()
		m.suspect(now, now)
	}
}

// Poll judges what is overdue and returns the probes to send now. Answers that are already known are
// best told before it is called.
func (m *Monitor) Poll(now time.Time) []Request {
	if !m.usable {
		return nil
	}
	m.forgive(now)
	for _, e := range m.flight.expire(now) {
		m.miss(now, e)
	}
	var requests []Request
	if m.asking() {
		for _, member := range m.round.expire(now, m.params.Retries) {
			requests = append(requests, m.attempt(now, member))
		}
		m.decide(now)
	}
	switch {
	case due(m.begin, now) && !m.asking():
		requests = append(requests, m.start(now)...)
	case due(m.calm, now) && !m.asking():
		m.calm = now.Add(m.params.Interval)
		requests = append(requests, m.send(now, m.rotation.take(), nil))
	}
	return requests
}

// Wake returns when Poll must be called at the latest; zero: not before another method was called.
// It is never in the past right after Poll; after other methods it may be, and means at once.
func (m *Monitor) Wake() time.Time {
	if !m.usable {
		return time.Time{}
	}
	at := m.flight.wake()
	if m.asking() {
		return earlier(at, m.round.wake())
	}
	return earlier(earlier(at, m.calm), m.begin)
}

// Answer tells what came of a probe: its round-trip time, or why there is none. An error that says
// more than that the time is over (the kernel cannot send, a router says unreachable) silences the
// target for the round; any answer counts, however late. Unknown ids are ignored.
func (m *Monitor) Answer(now time.Time, id uint64, rtt time.Duration, err error) {
	e, ok := m.flight.take(id)
	switch {
	case !ok:
		return
	case err == nil:
		m.hear(e, rtt)
	default:
		m.fail(now, e, err)
	}
	m.decide(now)
}

// Report returns the judgement and the measurements behind it.
func (m *Monitor) Report(time.Time) Report {
	return Report{
		State:  m.verdict.state,
		Since:  m.verdict.since,
		Reason: m.verdict.reason,
		RTT:    m.clocks.path.srtt,
		HasRTT: m.clocks.path.samples > 0,
		Loss:   m.window.loss(),
		Doubt:  m.verdict.state == Up && (m.asking() || !m.begin.IsZero()),
	}
}

// asking tells whether a round is undecided.
func (m *Monitor) asking() bool { return m.round != nil && !m.round.over }

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
