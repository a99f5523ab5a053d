package config

import "time"

// Tests says how a line is asked and judged.
type Tests struct {
	Targets    []Target      // tests.ips and tests.targets, without repetitions; shuffled by the prober
	Required   int           // tests.required_successful: targets that must answer, 1 to len(Targets)
	Retries    int           // tests.ping_retries: attempts per target before it counts as silent, from 1
	Interval   time.Duration // from one calm probe to the next
	Timeout    time.Duration // the longest wait for one answer
	MinTimeout time.Duration // the shortest: the wait follows the round-trip time between the two
	Damping    Damping
	Quality    Quality
}

// Damping keeps a line that comes and goes from taking its connections along each time.
type Damping struct {
	Rise        int           // good rounds in a row before a line that was down is up again, from 1
	Fall        int           // bad rounds in a row before it is down, from 1
	HoldDown    time.Duration // how long it must be well after its first good round; 0: no damping
	MaxHoldDown time.Duration // HoldDown doubles with each remembered flap, up to this
	FlapMemory  time.Duration // time without a flap after which one flap is forgotten, above 0
}

// Quality says what loss, latency and jitter a line may have, measured over a window.
type Quality struct {
	Window        time.Duration // above 0
	Loss          Limit[int]    // percent of the round trips
	Latency       Limit[time.Duration]
	Jitter        Limit[time.Duration]
	Action        Action
	WeightPercent int // what ActionWeight leaves of the weight, 1 to 100
}

// Limit is a threshold with separate values for leaving and returning, so that a line at the edge
// does not go to and fro. The zero Limit limits nothing.
type Limit[T int | time.Duration] struct {
	Leave  T // a line that has at least this is bad; 0: never
	Return T // it is good again with at most this, up to Leave
}

// Action is what becomes of a line of bad quality.
type Action uint8

// The actions.
const (
	ActionDown   Action = iota // it is down
	ActionWeight               // it is up and gets a smaller share
)

// String returns the word used in the configuration file.
func (a Action) String() string { return [...]string{"down", "weight"}[a] }
