package health

import (
	"context"
	"errors"
	"net/netip"
	"time"
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
	r := newRound(now, m.evidence, m.cause, m.rotation.all())
	m.reset()
	m.round = r
	for i := range m.round.members {
		requests = append(requests, m.attempt(now, &m.round.members[i]))
	}
	return requests
}

// reset drops the round and all that is due.
func (m *Monitor) reset() {
	m.round, m.cause = nil, ""
	m.calm, m.begin, m.evidence = time.Time{}, time.Time{}, time.Time{}
}

// attempt sends one attempt of the round that is under way.
func (m *Monitor) attempt(now time.Time, to *member) Request {
	to.sent(now, m.clocks.rto(to.target, m.params.Timeout), m.params)
	return m.send(now, to.target, m.round)
}

// send notes a probe as in flight.
func (m *Monitor) send(now time.Time, target netip.Addr, r *round) Request {
	m.lastID++
	m.flight = append(m.flight, echo{
		id:     m.lastID,
		target: target,
		sent:   now,
		missed: now.Add(m.clocks.rto(target, m.params.Timeout)),
		gone:   now.Add(m.params.Timeout),
		round:  r,
	})
	return Request{ID: m.lastID, Target: target, Timeout: m.params.Timeout}
}

// hear takes an answer into account.
func (m *Monitor) hear(e echo, rtt time.Duration) {
	m.clocks.add(e.target, rtt)
	if e.lost {
		m.window.unlose(e.id)
	} else {
		m.window.add(e.id, false)
	}
	if m.round != nil {
		m.round.heard(e.target)
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
	m.window.add(e.id, true)
	if e.round == nil {
		m.suspect(now, e.sent)
	}
}

// decide lets the quorum of the round speak. After a verdict of down the round stays open for late
// answers: they prove that the verdict was wrong.
func (m *Monitor) decide(now time.Time) {
	r := m.round
	if r == nil || r.over && m.verdict.state != Down {
		return
	}
	switch {
	case r.count(answered) >= m.params.Required:
		r.over = true
		m.verdict.judge(now, Up, r.life(now, m.verdict), false)
		m.reset()
		m.round, m.calm = r, now.Add(m.params.Interval)
	case !r.over && len(r.members)-r.count(silent) < m.params.Required:
		r.over = true
		m.verdict.judge(now, Down, r.silence(now), false)
		m.begin = later(now, r.began.Add(max(roundGap, min(m.params.Interval, downInterval))))
		m.evidence = r.since
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
