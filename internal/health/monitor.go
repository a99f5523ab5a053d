package health

import (
	"math/rand/v2"
	"slices"
	"time"

	"ftr/internal/config"
)

// Params say how a path is asked and judged: config.Uplink.Tests, with the targets of the path's family.
type Params = config.Tests

// Request asks the daemon to send one probe now and to report what came of it by Answer.
type Request struct {
	ID      uint64
	Target  config.Target
	Timeout time.Duration // how long the prober waits; longer than Monitor does, so that late answers are seen
	// Proven: the path has just answered all that it was asked, and nothing speaks against it, so that what leads
	// there (the interface, the address, the gateway as a neighbour) need not be looked at for this probe.
	Proven bool
}

// Monitor judges one path.
//
// Calm, it asks one target each Interval, in a shuffled order. A missing answer, an error or outside
// evidence is doubt, never a verdict: all targets are asked at once (a round), and the quorum decides
// as soon as it is reached or cannot be reached any more. A path that is down is asked in rounds too.
// How long an answer is waited for follows the measured round-trip times (RFC 6298); an answer that
// comes later still counts, and takes back a verdict that was made without it.
//
// Monitor is not safe for concurrent use. The time given to its methods never goes back.
type Monitor struct {
	params   Params
	usable   bool   // what the kernel says of the link
	problem  string // why it is not usable
	admin    string // who took the path out of service; empty: nobody
	verdict  verdict
	sentence *round // the round behind a verdict of down; late answers to it take the verdict back
	bad      int    // bad rounds in a row
	partly   bool   // the latest round was bad although somebody answered
	recovery recovery
	flaps    flaps
	quality  quality

	phase    float64  // as Stagger said
	rotation rotation // all targets; who is asked calmly, and who aside, is decided each time
	voters   voters
	clocks   clocks
	waking   waking
	window   window
	flight   flight
	lastID   uint64
	alive    time.Time // when traffic was last answered

	calm     time.Time // when the next calm probe is due; zero: not before a round has decided
	asked    time.Time // when the latest calm probe was sent, or the latest round was good
	wary     int       // calm probes that have to be answered before the next waits for the whole Interval
	aside    time.Time // when the next target that is not asked calmly is due; zero: there is none
	round    *round    // the latest round; after a verdict of down, late answers still count in it
	begin    time.Time // when the next round is due; zero: no reason for one
	evidence time.Time // the sending of the earliest probe that gave reason for the next round
	cause    string    // the outside evidence that gave reason for it, if any
	check    check     // what the next calm probe is to confirm; without a reason: nothing
	forgiven bool      // the last Poll was late and nothing was held against the path
}

// New returns a monitor whose verdict is Unknown. It asks nothing before SetLink says that the link
// is usable.
func New(p Params, rnd *rand.Rand, now time.Time) *Monitor {
	p.Targets = slices.Clone(p.Targets)
	return &Monitor{
		params:   p,
		rotation: newRotation(p.Targets, rnd),
		voters:   newVoters(p.Targets),
		verdict:  verdict{since: now, reason: "not asked yet", interim: true},
	}
}

// Stagger keeps the calm probes of many paths from being sent in step: with a phase from 0 to below 1 of
// its own, each path waits up to half an Interval less after a round, which all may have had together.
func (m *Monitor) Stagger(phase float64) { m.phase = phase }

// Update takes new parameters without losing the verdict: if they differ, all targets are asked at
// once, and the verdict stands until the new quorum has decided.
func (m *Monitor) Update(now time.Time, p Params) {
	if equal(m.params, p) {
		return
	}
	p.Targets = slices.Clone(p.Targets)
	if !slices.Equal(m.params.Targets, p.Targets) {
		m.rotation = newRotation(p.Targets, m.rotation.rnd)
		m.voters = m.voters.keep(p.Targets)
		m.clocks.keep(p.Targets)
		m.flight.keep(p.Targets)
		m.window.forget() // it knows the targets by their positions
	}
	m.params = p
	if m.active() {
		m.reset()
		m.suspect(now, now)
	}
}

func equal(p, q Params) bool {
	if !slices.Equal(p.Targets, q.Targets) {
		return false
	}
	p.Targets, q.Targets = nil, nil
	return p.Required == q.Required && p.Retries == q.Retries && p.Interval == q.Interval && p.Timeout == q.Timeout &&
		p.MinTimeout == q.MinTimeout && p.Damping == q.Damping && p.Quality == q.Quality
}

// Doubt takes outside evidence against the path, such as traffic without replies or a failed
// neighbour: all targets are asked at once. Only what they answer becomes a verdict; the reason is
// quoted in it.
func (m *Monitor) Doubt(now time.Time, reason string) {
	if m.active() && !m.asking() {
		m.suspect(now, now)
		m.cause = reason
	}
}

// Check takes outside evidence that is too weak for a doubt but comes early, such as one packet without
// a reply since a while: one target is asked at once, and only if it does not answer in time all are.
// since is when the silence began.
func (m *Monitor) Check(now, since time.Time, reason string) {
	if m.active() && !m.asking() && m.begin.IsZero() && m.check.reason == "" && !m.calm.IsZero() {
		m.check = check{reason, since, now}
		m.calm = now
	}
}

// Poll judges what is overdue and returns the probes to send now. Answers that are already known are
// best told before it is called.
func (m *Monitor) Poll(now time.Time) []Request {
	if !m.active() {
		return nil
	}
	m.forgive(now)
	for _, e := range m.flight.expire(now) {
		m.miss(now, e)
	}
	var requests []Request
	if m.asking() {
		for _, member := range m.round.expire(now, m.retries()) {
			requests = append(requests, m.attempt(now, member))
		}
		m.decide(now)
	}
	m.settle(now)
	switch {
	case due(m.begin, now) && !m.asking():
		requests = append(requests, m.start(now)...)
	case due(m.calm, now.Add(m.slack())) && !m.asking():
		requests = append(requests, m.ask(now)...)
	}
	return append(requests, m.askAside(now)...)
}

// Wake returns when Poll must be called at the latest; zero: not before another method was called.
// It is never in the past right after Poll; after other methods it may be, and means at once.
func (m *Monitor) Wake() time.Time {
	if !m.active() {
		return time.Time{}
	}
	at := earlier(m.flight.wake(), m.aside)
	if m.asking() {
		return earlier(at, m.round.wake())
	}
	if m.recovery.waits(m.verdict.state) && !m.recovery.waited {
		at = earlier(at, m.recovery.until)
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
		m.hear(now, e, rtt)
	default:
		m.fail(now, e, err)
	}
	m.decide(now)
	m.settle(now)
}

// State is that of the Report.
func (m *Monitor) State() State { return m.verdict.state }

// Partly is that of the Report.
func (m *Monitor) Partly() bool { return m.partly }

// Report returns the judgement and the measurements behind it.
func (m *Monitor) Report(now time.Time) Report {
	r := Report{
		State:  m.verdict.state,
		Since:  m.verdict.since,
		Reason: m.verdict.reason,
		RTT:    m.clocks.path.srtt,
		HasRTT: m.clocks.path.samples > 0,
		Jitter: m.quality.measured.jitter,
		Loss:   m.window.loss(),
		Doubt:  m.verdict.state == Up && (m.asking() || !m.begin.IsZero() || m.check.reason != ""),
		Admin:  m.admin != "",
		Partly: m.partly,

		WeightPercent: 100,
	}
	if m.quality.bad && r.State == Up {
		r.Degraded = m.quality.reason
		if !m.dropsBad() {
			r.WeightPercent = m.params.Quality.WeightPercent
		}
	}
	faded := m.flaps
	faded.fade(now, m.params.Damping.FlapMemory)
	r.Flaps, r.FirstFlap, r.Flapping = faded.count, faded.first, faded.flapping
	if r.State == Down && !m.recovery.first.IsZero() {
		r.HeldUntil = m.recovery.until
	}
	return r
}

// active tells whether the path is asked at all.
func (m *Monitor) active() bool { return m.usable && m.admin == "" }

// asking tells whether a round is undecided.
func (m *Monitor) asking() bool { return m.round != nil && !m.round.over }

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
