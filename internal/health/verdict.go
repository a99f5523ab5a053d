package health

import "time"

// verdict is the judgement that stands.
type verdict struct {
	state  State
	since  time.Time
	reason string
	// interim: the reason speaks of the link, not of answers, and the next judgement replaces it
	// even where the state stays.
	interim bool
	// restored: known from before a restart, and not yet confirmed by anything since.
	restored bool
}

// say gives another reason for the state that stands, until the next judgement.
func (v *verdict) say(reason string) { v.reason, v.interim = reason, true }

// judge lets a new judgement stand. One that only confirms the state leaves time and reason as they
// were: they tell when and why the state was entered.
func (v *verdict) judge(now time.Time, state State, reason string, interim bool) {
	v.restored = false
	if v.state == state && !v.interim && !interim {
		return
	}
	if v.state != state {
		v.since = now
	}
	v.state, v.reason, v.interim, v.restored = state, reason, interim, false
}
