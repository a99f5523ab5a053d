package health

import (
	"time"

	"ftr/internal/config"
)

// askAgain is how often a member is asked beyond its attempts while the round has to wait for it.
const askAgain = 200 * time.Millisecond

// round asks all targets at once, each up to a number of attempts, until the quorum is reached or
// cannot be reached any more.
type round struct {
	began   time.Time
	since   time.Time // when the earliest probe was sent that gave reason for the round
	cause   string    // the outside evidence that gave reason for it, if any
	members []member
	over    bool // decided: nothing more is sent
	good    bool // the quorum answered
}

// member is one target in a round.
type member struct {
	target   config.Target
	answer   answer
	mute     bool      // it has lost its vote
	attempts int       // how many were sent
	first    time.Time // when the first of them was
	last     time.Time // when the last of them was
	next     time.Time // when the next attempt is due or, after the last one, when it is silent
	hold     time.Time // it is not silent before
	err      error     // why it is silent, where there is more to say than that no answer came
}

// answer says what is known of a member.
type answer uint8

const (
	asked answer = iota
	answered
	silent
)

// newRound makes a round whose first attempts are due now.
func newRound(now, since time.Time, cause string, targets []config.Target) *round {
	r := &round{began: now, since: since, cause: cause, members: make([]member, len(targets))}
	for i, t := range targets {
		r.members[i] = member{target: t, next: now}
	}
	return r
}

// expire silences the members whose last attempt was missed, and returns the targets to which
// another attempt is due. The caller sends it and says so by sent.
func (r *round) expire(now time.Time, retries int) (due []*member) {
	for i := range r.members {
		m := &r.members[i]
		switch {
		case m.answer != asked || m.mute || now.Before(m.next):
		case m.attempts < retries:
			due = append(due, m)
		case now.Before(m.hold) && now.Sub(m.last) >= askAgain:
			due = append(due, m)
		case now.Before(m.hold):
			m.next = earlier(m.hold, m.last.Add(askAgain))
		default:
			m.answer = silent
		}
	}
	return due
}

// sent notes an attempt. The next one follows after the round-trip time-out rto; where that is long,
// sooner, so that all attempts together never take more than two time-outs. Each is waited for in
// full all the same, and the last with more patience.
func (m *member) sent(now time.Time, rto, patience time.Duration, p Params) {
	m.attempts++
	m.last = now
	if m.attempts == 1 {
		m.first = now
	}
	wait := patience
	if m.attempts < p.Retries {
		wait = min(rto, p.Timeout/time.Duration(p.Retries))
	}
	m.next = now.Add(wait)
}

// wait keeps the members that are still asked from being silent before that time. Attempts that are to
// be sent sooner are sent all the same.
func (r *round) wait(until time.Time) {
	for i := range r.members {
		if m := &r.members[i]; m.answer == asked {
			m.hold = later(m.hold, until)
		}
	}
}

// stretch waits longer for all members, as something was learned about the line.
func (r *round) stretch(patience func(config.Target) time.Duration) {
	for i := range r.members {
		if m := &r.members[i]; m.answer == asked && m.attempts > 0 {
			m.hold = later(m.hold, m.last.Add(patience(m.target)))
		}
	}
}

// vote says who has a vote.
func (r *round) vote(has func(config.Target) bool) {
	for i := range r.members {
		r.members[i].mute = !has(r.members[i].target)
	}
}

// voters returns how many members have a vote.
func (r *round) voters() (n int) {
	for i := range r.members {
		if !r.members[i].mute {
			n++
		}
	}
	return n
}

// heard notes an answer of the target, late or not.
func (r *round) heard(target config.Target) {
	if m := r.member(target); m != nil {
		m.answer, m.err = answered, nil
	}
}

// failed notes that asking the target is of no use now: the kernel or a router said why. An answer
// that was heard stays heard.
func (r *round) failed(target config.Target, err error) {
	if m := r.member(target); m != nil && m.answer == asked {
		m.answer, m.err = silent, err
	}
}

func (r *round) member(target config.Target) *member {
	for i := range r.members {
		if r.members[i].target == target {
			return &r.members[i]
		}
	}
	return nil
}

// count returns how many members with a vote gave that answer.
func (r *round) count(a answer) (n int) {
	for i := range r.members {
		if r.members[i].answer == a && !r.members[i].mute {
			n++
		}
	}
	return n
}

// postpone moves what is due by now.
func (r *round) postpone(now, until time.Time) {
	for i := range r.members {
		if m := &r.members[i]; m.attempts > 0 && !now.Before(m.next) {
			m.next = until
		}
	}
}

// wake is when the next member is due; zero: never.
func (r *round) wake() (at time.Time) {
	if r.over {
		return at
	}
	for i := range r.members {
		if m := &r.members[i]; m.answer == asked && !m.mute {
			at = earlier(at, m.next)
		}
	}
	return at
}
