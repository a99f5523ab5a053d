package health

import (
	"fmt"
	"time"
)

// silence says why a round found the path down; example "4 of 6 targets silent for 0.9 s". Where the
// kernel or a router said more than nothing, it is quoted: "6 of 6 targets silent: network is unreachable".
func (r *round) silence(now time.Time) string {
	text := fmt.Sprintf("%d of %d targets silent", r.count(silent), len(r.members))
	if len(r.members) == 1 {
		text = "the only target is silent"
	}
	for i := range r.members {
		if err := r.members[i].err; err != nil {
			return text + ": " + err.Error()
		}
	}
	text += " for " + span(now.Sub(r.since))
	if r.cause != "" {
		text += " (" + r.cause + ")"
	}
	return text
}

// life says why a round found the path up; example "the required 4 of 6 targets answer again, down
// for 12 s". A round decides with the last answer that was required, and waits for no others.
func (r *round) life(now time.Time, before verdict) string {
	text := fmt.Sprintf("the required %d of %d targets answer", r.count(answered), len(r.members))
	if len(r.members) == 1 {
		text = "the only target answers"
	}
	if before.state != Down {
		return text
	}
	return text + " again, down for " + span(now.Sub(before.since))
}

// span formats a duration for people: "0.9 s", "12 s", "3 min", "2 h 5 min".
func span(d time.Duration) string {
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		minutes := int(d.Minutes())
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	}
}
