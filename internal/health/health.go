// Package health judges one path (an uplink in one address family) from the answers to its probes
// and from what the kernel says of its link.
//
// It does no I/O and reads no clock: every method takes the time. The daemon asks it what to send
// and when to ask again, and tells it what came back.
package health

import "time"

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

// Report is the judgement of a path with its reason, as shown, logged and mailed.
type Report struct {
	State  State
	Since  time.Time
	Reason string        // in words; example "4 of 6 targets silent for 0.9 s", "no carrier"
	RTT    time.Duration // smoothed round-trip time; meaningful only if HasRTT
	HasRTT bool
	Loss   float64 // share of the latest probes without answer, 0 to 1; NaN: nothing was asked yet
	Doubt  bool    // an answer is missing and all targets are being asked

	// Jitter is how much the round-trip time varies, smoothed; meaningful only if HasRTT.
	Jitter time.Duration
	// Degraded says which limit of quality is exceeded; empty: none. Example "loss 12 %, limit 10 %".
	Degraded string
	// WeightPercent is what the quality leaves of the configured weight, 1 to 100; 0 means 100.
	WeightPercent int
	// Flaps are the flaps that are remembered, of which each lengthens the hold-down.
	Flaps int
	// HeldUntil is when the hold-down of a path that is well again ends; zero: it is not held back.
	HeldUntil time.Time
}
