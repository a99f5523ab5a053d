package health

import (
	"fmt"
	"time"
)

// silence says why a round found the path down; example "4 of 6 targets silent for 0.9 s". Where the
// kernel or a router said more than nothing, it is quoted: "6 of 6 targets silent: network is unreachable".
func (r *round) silence(now time.Time) string {
	text := fmt.Sprintf("%d of %d targets silent", r.count(silent), r.voters())
	if r.voters() == 1 {
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
func (r *round) life(now time.Time, before verdict, required int) string {
	text := fmt.Sprintf("the required %d of %d targets answer", min(required, r.voters()), r.voters())
	if r.voters() == 1 {
		text = "the only target answers"
	}
	if before.state != Down {
		return text
	}
	return text + " again, down for " + span(now.Sub(before.since))
}

// lateness says why a verdict of down is taken back.
func (r *round) lateness(now time.Time) string {
	return fmt.Sprintf("%d of %d targets answer, only later than known of the line: it was slow for %s, not dead",
		r.count(answered), r.voters(), span(now.Sub(r.since)))
}

// heldBack says why a path that is well is not up yet.
func heldBack(hold time.Duration, flaps int) string {
	text := "well again, held back for " + span(hold)
	if flaps > 1 {
		text += fmt.Sprintf(" after %d flaps", flaps)
	}
	return text
}

// span formats a duration for people: "40 ms", "0.9 s", "12 s", "3 min", "2 h 5 min".
func span(d time.Duration) string {
	switch {
	case d > 0 && d < 95*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
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
