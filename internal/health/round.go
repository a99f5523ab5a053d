package health

import (
	"net/netip"
	"time"
)

// round asks all targets at once, each up to a number of attempts, until the quorum is reached or
// cannot be reached any more.
type round struct {
	began   time.Time
	since   time.Time // when the earliest probe was sent that gave reason for the round
	cause   string    // the outside evidence that gave reason for it, if any
	members []member
	over    bool // decided: nothing more is sent
}

// member is one target in a round.
type member struct {
	target   netip.Addr
	answer   answer
	attempts int       // how many were sent
	next     time.Time // when the next attempt is due or, after the last one, when it is silent
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
func newRound(now, since time.Time, cause string, targets []netip.Addr) *round {
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
		case m.answer != asked || now.Before(m.next):
		case m.attempts < retries:
			due = append(due, m)
		default:
			m.answer = silent
		}
	}
	return due
}

// sent notes an attempt. The next one follows after the round-trip time-out; where that is long,
// sooner, so that all attempts together never take more than two time-outs. Each is waited for in
// full all the same.
func (m *member) sent(now time.Time, rto time.Duration, p Params) {
	m.attempts++
	if m.attempts < p.Retries {
		rto = min(rto, p.Timeout/time.Duration(p.Retries))
	}
	m.next = now.Add(rto)
}

// heard notes an answer of the target, late or not.
func (r *round) heard(target netip.Addr) {
	if m := r.member(target); m != nil {
		m.answer, m.err = answered, nil
	}
}

// failed notes that asking the target is of no use now: the kernel or a router said why. An answer
// that was heard stays heard.
func (r *round) failed(target netip.Addr, err error) {
	if m := r.member(target); m != nil && m.answer == asked {
		m.answer, m.err = silent, err
	}
}

func (r *round) member(target netip.Addr) *member {
	for i := range r.members {
		if r.members[i].target == target {
			return &r.members[i]
		}
	}
	return nil
}

// count returns how many members gave that answer.
func (r *round) count(a answer) (n int) {
	for i := range r.members {
		if r.members[i].answer == a {
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
		if r.members[i].answer == asked {
			at = earlier(at, r.members[i].next)
		}
	}
	return at
}
