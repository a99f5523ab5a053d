package health

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                              "0.0 s",
		40 * time.Millisecond:          "40 ms",
		96 * time.Millisecond:          "0.1 s",
		940 * time.Millisecond:         "0.9 s",
		9949 * time.Millisecond:        "9.9 s",
		9950 * time.Millisecond:        "10 s",
		119 * time.Second:              "119 s",
		2 * time.Minute:                "2 min",
		59*time.Minute + 9*time.Second: "59 min",
		time.Hour:                      "1 h 0 min",
		26*time.Hour + 5*time.Minute:   "26 h 5 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestStateNames(t *testing.T) {
	for s, want := range map[State]string{Unknown: "unknown", Up: "up", Down: "down"} {
		if s.String() != want {
			t.Errorf("state %d is called %q, want %q", s, s, want)
		}
	}
}
