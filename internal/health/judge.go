package health

import (
	"cmp"
	"context"
	"errors"
	"time"

	"ftr/internal/config"
)

const (
	// downInterval is the longest time from one round to the next while the path is down and was not
	// so for long: a line that comes back is noticed within it also where calm rounds are a minute apart.
	downInterval = time.Second
	// patientInterval is the same for a path that is down for long, if its Interval is longer than that.
	patientInterval = 5 * time.Second
	// roundGap is the shortest time from the beginning of one round to that of the next, whatever
	// raises doubts and however often.
	roundGap = 200 * time.Millisecond
	// stall is how late Poll may come before the lateness is taken for our own: answers may then wait
	// unread, and nothing is missed until they had this much time to be told.
	stall = 20 * time.Millisecond
	// silences times MinTimeout is how long at least all must have been silent before a verdict, from
	// the earliest evidence on: the noise of machines and glitches of lines are shorter.
	silences = 5
	// waryProbes is how many calm probes follow a loss at a quicker pace, of waryInterval: enough to see
	// soon whether it was the only one.
	waryProbes   = 4
	waryInterval = 250 * time.Millisecond
	// proofLasts is how long after its sending an answered probe proves that the gateway is reached: as long as
	// the kernel waits for a proof before it asks the gateway itself (delay_first_probe_time in arp(7)).
	proofLasts = 5 * time.Second
	// mostSlack bounds slack: less than any time from one calm probe to the next.
	mostSlack = 20 * time.Millisecond
)

// suspect asks for a round because of a probe sent at since, as soon as the gap from the last round
// allows. A round that is under way is answer enough.
func (m *Monitor) suspect(now, since time.Time) {
	if m.asking() {
		return
	}
	at := now
	if m.round != nil {
		at = later(now, m.round.began.Add(roundGap))
	}
	m.begin, m.evidence = earlier(m.begin, at), earlier(m.evidence, since)
}

// start begins a round and sends its first attempts.
func (m *Monitor) start(now time.Time) (requests []Request) {
	r := newRound(now, m.evidence, m.cause, m.voters.among(m.rotation.all()))
	if m.verdict.state != Down {
		r.wait(r.since.Add(silences * m.params.MinTimeout))
	}
	m.reset()
	m.round = r
	for i := range m.round.members {
		requests = append(requests, m.attempt(now, &m.round.members[i]))
	}
	m.decide(now) // where nobody has a vote
	return requests
}

// reset drops the round and all that is due.
func (m *Monitor) reset() {
	m.round, m.cause, m.check = nil, "", check{}
	m.calm, m.begin, m.evidence = time.Time{}, time.Time{}, time.Time{}
}

// check is outside evidence that one probe is to confirm before it is a doubt.
type check struct {
	reason string
	since  time.Time // when what it speaks of began
	asked  time.Time // when it was told
}

// ask sends the next calm probe.
func (m *Monitor) ask(now time.Time) []Request {
	m.calm, m.asked = now.Add(m.calmInterval(now)), now
	for range 2 * len(m.params.Targets) { // so many hold each of them at least once
		if t := m.rotation.take(); m.voters.calm(t) {
			proven := m.proven(now, t)
			r := m.send(now, t, nil, false)
			r.Proven = proven
			return []Request{r}
		}
	}
	return nil
}

// proven tells whether all that was asked last was answered, the target's own latest probe too, which may
// have had another way, and there is no doubt of any kind.
func (m *Monitor) proven(now time.Time, target config.Target) bool {
	doubt := m.verdict.state != Up || m.wary > 0 || m.check.reason != "" || !m.begin.IsZero()
	if own := m.voters.of(target); doubt || own.misses > 0 || own.heardAt.IsZero() || m.flight.pending() {
		return false
	}
	latest := m.window.latest(0)
	return m.window.used > 0 && !latest.lost && m.window.age(now, latest) <= proofLasts
}

// slack is how much too early a calm probe may be sent where something else is to be done now: paths whose probes
// are nearly due at the same time soon send them together, and waking up costs more than a probe.
func (m *Monitor) slack() time.Duration { return min(m.params.Interval/50, mostSlack) }

// calmInterval is the time to the next calm probe: shorter while there is reason to look closely.
func (m *Monitor) calmInterval(now time.Time) time.Duration {
	interval := m.params.Interval
	switch {
	case m.verdict.state == Down:
		return min(interval, m.recovery.interval(now))
	case m.wary > 0:
		return min(interval, waryInterval)
	case m.quality.bad:
		return min(interval, downInterval)
	}
	return interval
}

// retries is how many attempts each target gets in the round. Where the path is down and nobody
// answers, one: the next round comes soon.
func (m *Monitor) retries() int {
	if m.verdict.state == Down && m.recovery.first.IsZero() && m.round.count(answered) == 0 {
		return 1
	}
	return m.params.Retries
}

// attempt sends one attempt of the round that is under way.
func (m *Monitor) attempt(now time.Time, to *member) Request {
	to.sent(now, m.clocks.rto(to.target, m.params), m.patience(now, to.target), m.params)
	return m.send(now, to.target, m.round, false)
}

// patience is how long the last attempt of a round is waited for: a verdict hangs on it, so the noise
// of machines and the queues that this line is known for are given more time than a doubt needs.
func (m *Monitor) patience(now time.Time, target config.Target) time.Duration {
	wait := max(m.clocks.rto(target, m.params)+m.params.MinTimeout, m.clocks.queue(now))
	return min(wait, m.params.Timeout)
}

// send notes a probe as in flight.
func (m *Monitor) send(now time.Time, target config.Target, r *round, aside bool) Request {
	m.lastID++
	m.flight = append(m.flight, echo{
		id:     m.lastID,
		target: target,
		sent:   now,
		missed: now.Add(m.clocks.rto(target, m.params)),
		gone:   now.Add(m.params.Timeout),
		round:  r,
		aside:  aside,
	})
	return Request{ID: m.lastID, Target: target, Timeout: m.params.Timeout}
}

// hear takes an answer into account.
func (m *Monitor) hear(now time.Time, e echo, rtt time.Duration) {
	deviation, known := m.clocks.deviation(e.target, rtt)
	timed := !m.waking.heard(now, e.sent)
	if timed || !known { // of a target of which nothing is known, even that is something
		m.clocks.add(e.target, rtt)
	}
	revived := m.voters.heard(e)
	if e.aside {
		return
	}
	if revived && !e.lost && m.window.silentFor() >= m.outage() {
		m.window.forget() // it was no loss, but an outage, and that is over
		m.quality = quality{}
	}
	s := sample{id: e.id, at: e.sent, target: m.voters.index(e.target), timed: timed, rtt: rtt, deviation: deviation, steady: known}
	if !e.lost {
		m.window.add(s)
	} else if m.window.unlose(s); timed {
		m.clocks.late(now, rtt)
	}
	m.quality.stale = true
	m.recovery.count(false)
	if e.round == nil && !e.lost {
		m.wary = max(m.wary-1, 0)
	}
	if !e.sent.Before(m.check.asked) {
		m.check = check{}
	}
	if m.round == nil {
		return
	}
	m.round.heard(e.target)
	if e.lost && m.asking() {
		m.round.stretch(func(t config.Target) time.Duration { return m.patience(now, t) })
	}
}

// fail takes the prober's error into account.
func (m *Monitor) fail(now time.Time, e echo, err error) {
	if !e.lost {
		m.miss(now, e)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		m.clocks.timedOut(e.target)
	case e.round != nil && e.round == m.round:
		m.round.failed(e.target, err)
	}
}

// miss takes a lost probe into account. In a round, the attempts that follow speak for the target;
// a calm probe is followed by a round.
func (m *Monitor) miss(now time.Time, e echo) {
	known := m.voters.missed(e)
	if e.aside {
		return
	}
	m.window.add(sample{id: e.id, at: e.sent, target: m.voters.index(e.target), lost: true})
	m.quality.stale = true
	if !known {
		m.wary = waryProbes
		m.recovery.count(true)
	}
	if e.round == nil {
		m.suspect(now, earlier(e.sent, m.check.since))
		m.cause, m.check = cmp.Or(m.cause, m.check.reason), check{}
	}
}

// decide lets the quorum of the round speak. After a verdict of down the round stays open for late
// answers: they prove that the verdict was wrong.
func (m *Monitor) decide(now time.Time) {
	r := m.round
	if r == nil {
		return
	}
	required := min(m.params.Required, r.voters())
	reached := r.count(answered) >= required
	switch {
	case required == 0 && !r.over:
		r.over = true
		m.schedule(now)
	case required == 0, r.over && (r.good || !reached):
	case r.over && m.sentence == r:
		m.takeBack(now, r.lateness(now))
	case reached:
		m.goodRound(now, r)
	case !r.over && r.voters()-r.count(silent) < required:
		m.badRound(now, r)
	}
}

// forgive gives answers the time to be told when Poll comes late, once in a row: a program that was
// not scheduled must not take its own absence for the line's.
func (m *Monitor) forgive(now time.Time) {
	wake := m.Wake()
	m.forgiven = !m.forgiven && !wake.IsZero() && now.Sub(wake) > stall
	if !m.forgiven {
		return
	}
	m.flight.postpone(now, now.Add(stall))
	if m.asking() {
		m.round.postpone(now, now.Add(stall))
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
