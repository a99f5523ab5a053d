// Package health judges one path (an uplink in one address family) from the answers to its probes
// and from what the kernel says of its link.
//
// It does no I/O and reads no clock: every method takes the time. The daemon asks it what to send
// and when to ask again, and tells it what came back.
package health

import (
	"fmt"
	"time"
)

// State is a judgement. Unknown is the zero value: neither up nor down.
type State uint8

// The states.
const (
	Unknown State = iota
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (s State) String() string { return [...]string{"unknown", "up", "down"}[s] }

// Report is the judgement of a path with its reason, as shown, logged, mailed and kept for a restart.
type Report struct {
	State  State
	Since  time.Time
	Reason string        // in words; example "4 of 6 targets silent for 0.9 s", "no carrier"
	RTT    time.Duration // smoothed round-trip time; meaningful only if HasRTT
	HasRTT bool
	Jitter time.Duration // mean difference of a round-trip time from the one before, over the window
	Loss   float64       // share of the latest probes without answer, 0 to 1; NaN: nothing was asked yet
	Doubt  bool          // an answer is missing and all targets are being asked
	Admin  bool          // taken out of service by a person
	// Partly: in the latest round some targets answered and too many others did not. They may be the ones
	// that fail: whoever has other paths asks them through those now, before the verdict.
	Partly bool

	// Degraded says which limit of quality a path that is up exceeds; empty: none. Example "round trips
	// take 412 ms, the limit is 400 ms".
	Degraded string
	// WeightPercent is what the quality leaves of the configured weight, 1 to 100; 0 means 100.
	WeightPercent int

	Flaps     int       // how often it went down, as far as not forgotten
	FirstFlap time.Time // when the first of them was; zero: none
	Flapping  bool      // so often that its going down and up is one story, told at its beginning and end
	HeldUntil time.Time // well again, but not up before; zero: not so
}

// Story tells of a flapping line what is worth telling once, and is empty for others; example
// "flapping: 5 times down in 2 min, held back until 18:40".
func (r Report) Story(now time.Time) string {
	if !r.Flapping {
		return ""
	}
	text := fmt.Sprintf("flapping: %d times down in %s", r.Flaps, span(now.Sub(r.FirstFlap)))
	if r.HeldUntil.After(now) {
		text += ", held back until " + r.HeldUntil.Format(clockOf(r.HeldUntil.Sub(now)))
	}
	return text
}

// clockOf returns the form of a time that is so far away: seconds matter only where it is near.
func clockOf(away time.Duration) string {
	if away < 2*time.Minute {
		return "15:04:05"
	}
	return "15:04"
}
