package lab

import (
	"fmt"
	"time"
)

// Row is one expectation and what was measured.
type Row struct {
	Step     string
	What     string
	Expected string
	Measured string
	OK       bool
}

// LineResult is what one line did in the scenario.
type LineResult struct {
	Number      int
	Interface   string
	Rate        Rate
	Weight      int
	Share       float64       // of the many connections, 0 to 1
	Single      float64       // Mbit/s of payload of one download alone; 0: none was there
	Downloads   int           // of those at once
	Together    float64       // Mbit/s of payload of those downloads
	Failure     string        // how it was broken; example "silent cut"; empty: it was not
	FailedFor   time.Duration // new connections, when it broke
	Established string        // what its established download did meanwhile; empty: it was not looked at
	Incoming    string        // answered connections to its address
	Bytes       uint64        // all that it carried, both ways
}

// failing says in words for how long new connections failed, and why.
func (l LineResult) failing() string {
	if l.Failure == "" {
		return ""
	}
	return fmt.Sprintf("%.2f s, %s", l.FailedFor.Seconds(), l.Failure)
}

// Point is the throughput of all lines over one sampling interval.
type Point struct {
	At    time.Duration // since the start
	Mbits []float64     // by line, both ways, whole frames
}

// Mark is something that happened, for charts and lists.
type Mark struct {
	At   time.Duration
	Line int // from 0; -1: all
	Text string
	Done bool // done to the network; otherwise said by the daemon
}

// Result is the outcome of a scenario.
type Result struct {
	Started  time.Time
	Duration time.Duration
	Interval time.Duration // of the daemon's probes
	Lines    []LineResult
	Rows     []Row
	Points   []Point
	Steps    []Mark // when each step began
	Events   []Mark
	Error    string // why the scenario ended early; empty: it did not
}

// OK tells whether all held.
func (r *Result) OK() bool { return r.Error == "" && r.Broken() == 0 && len(r.Rows) > 0 }

// Broken returns how many expectations did not hold.
func (r *Result) Broken() int {
	n := 0
	for _, row := range r.Rows {
		if !row.OK {
			n++
		}
	}
	return n
}

// points turns counter readings into throughput.
func points(samples []Sample) []Point {
	if len(samples) < 2 {
		return nil
	}
	start, list := samples[0].Time, make([]Point, 0, len(samples)-1)
	for k := 1; k < len(samples); k++ {
		a, b := samples[k-1], samples[k]
		seconds := b.Time.Sub(a.Time).Seconds()
		if seconds <= 0 {
			continue
		}
		p := Point{At: b.Time.Sub(start), Mbits: make([]float64, len(b.Down))}
		for i := range b.Down {
			p.Mbits[i] = float64(grown(a.Down[i], b.Down[i])+grown(a.Up[i], b.Up[i])) * 8 / 1e6 / seconds
		}
		list = append(list, p)
	}
	return list
}

// grown returns how much a counter grew; an interface made anew starts from nothing.
func grown(before, after uint64) uint64 {
	if after < before {
		return after
	}
	return after - before
}

// carried returns what each of n lines carried in all.
func carried(samples []Sample, n int) []uint64 {
	bytes := make([]uint64, n)
	for k := 1; k < len(samples); k++ {
		for i := range bytes {
			bytes[i] += grown(samples[k-1].Down[i], samples[k].Down[i]) + grown(samples[k-1].Up[i], samples[k].Up[i])
		}
	}
	return bytes
}
