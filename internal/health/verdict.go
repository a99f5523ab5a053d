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
}

// judge lets a new judgement stand. One that only confirms the state leaves time and reason as they
// were: they tell when and why the state was entered.
func (v *verdict) judge(now time.Time, state State, reason string, interim bool) {
	if v.state == state && !v.interim && !interim {
		return
	}
	if v.state != state {
		v.since = now
	}
	v.state, v.reason, v.interim = state, reason, interim
}
