package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Figure is one measured quantity with its goal.
type Figure struct {
	Phase string `json:"phase"`
	What  string `json:"what"`
	Unit  string `json:"unit"` // "ms", "s", "MB"...; empty: a count
	Goal  Goal   `json:"goal"`
	// Samples are one per run, in the order of time.
	Samples []float64 `json:"samples,omitempty"`
	// Never counts the runs in which it did not happen within Limit.
	Never int           `json:"never,omitempty"`
	Limit time.Duration `json:"limit_ns,omitempty"`
	// Note says what the number does not.
	Note string `json:"note,omitempty"`
	// Error is why it could not be measured.
	Error string `json:"error,omitempty"`
	// Skipped is why it was not measured although nothing went wrong.
	Skipped string `json:"skipped,omitempty"`
}

// Goal is what must hold, in the figure's unit; nil: nothing is asked of it.
type Goal struct {
	Median *float64 `json:"median,omitempty"`
	Worst  *float64 `json:"worst,omitempty"`
}

// worst and both make goals.
func worst(v float64) Goal        { return Goal{Worst: &v} }
func median(v float64) Goal       { return Goal{Median: &v} }
func both(median, w float64) Goal { return Goal{Median: &median, Worst: &w} }

// String says it in words. Example "median ≤ 10, worst ≤ 50".
func (g Goal) String() string {
	switch {
	case g.Median != nil && g.Worst != nil:
		return fmt.Sprintf("median ≤ %s, worst ≤ %s", number(*g.Median), number(*g.Worst))
	case g.Median != nil:
		return "median ≤ " + number(*g.Median)
	case g.Worst != nil && *g.Worst == 0:
		return "0"
	case g.Worst != nil:
		return "≤ " + number(*g.Worst)
	default:
		return ""
	}
}

// The verdicts on a figure.
const (
	held     = "held"
	missed   = "missed"
	failed   = "not measured"
	skipped  = "skipped"
	measured = "" // nothing was asked
)

// Verdict judges the figure.
func (f *Figure) Verdict() string {
	s := f.spread()
	switch {
	case f.Skipped != "":
		return skipped
	case f.Error != "" || s.n == 0:
		return failed
	case f.Goal.Median != nil && s.median > *f.Goal.Median, f.Goal.Worst != nil && s.max > *f.Goal.Worst:
		return missed
	case f.Goal == Goal{}:
		return measured
	default:
		return held
	}
}

// add takes a duration, in the figure's unit.
func (f *Figure) add(d time.Duration) {
	unit := time.Millisecond
	if f.Unit == "s" {
		unit = time.Second
	}
	f.Samples = append(f.Samples, float64(d)/float64(unit))
}

// took takes a duration, or notes that it did not happen within a limit.
func (f *Figure) took(d time.Duration, happened bool, limit time.Duration) {
	if happened {
		f.add(d)
		return
	}
	f.Never++
	f.Limit = limit
}

// spread is how samples are distributed.
type spread struct {
	n                          int
	min, p25, median, p75, max float64
}

// spread counts what never happened as infinite.
func (f *Figure) spread() spread {
	all := slices.Sorted(slices.Values(f.Samples))
	for range f.Never {
		all = append(all, math.Inf(1))
	}
	return spread{len(all), quantile(all, 0), quantile(all, .25), quantile(all, .5), quantile(all, .75), quantile(all, 1)}
}

// quantile interpolates between the two nearest of sorted values; NaN where there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if at == float64(low) || sorted[low] == sorted[low+1] { // infinite ones have no difference
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// number writes a value with the digits that mean something.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return "never"
	case a == math.Trunc(a) && a < 1e6, a >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}
