package main

import (
	"fmt"
	"strings"
)

// baseline is what another program was measured at elsewhere, in the same kind of lab. Seconds; the
// range is one where the measurements were.
type baseline struct {
	name            string
	silent, carrier [2]float64 // new connections fail for; zero: not measured; below zero: never ends
	flow            string     // UDP flow resumes
}

// baselines were measured with three lines, providers that filter sources, 50 new connections a second
// and clients that wait 0.5 s; medians of 3 runs.
func baselines() []baseline {
	at := func(v float64) [2]float64 { return [2]float64{v, v} }
	return []baseline{
		{"the original, example file (interval 60)", at(81.6), [2]float64{}, "never"},
		{"the original, interval 1", [2]float64{6.4, 16.5}, [2]float64{6.1, 13.0}, "never"},
		{"foolsm (Net-ISP-Balance, Shorewall), defaults", at(7.9), at(9.4), "not within 60 s"},
		{"VyOS load balancer, defaults", at(9.1), at(7.8), "not within 60 s"},
		{"VyOS load balancer, fastest settings", at(4.0), at(4.1), "4.0 s / 4.2 s"},
		{"dpinger, 200 ms probes, with a script for routes and flows", at(1.3), at(1.3), "1.4 s / 1.4 s"},
		{"dpinger, 50 ms probes, with the same", at(0.27), at(0.25), "0.39 s / 0.41 s"},
		{"BFD 50 ms × 3 with the provider's router (BIRD)", at(-1), at(0.14), "never / 0.22 s"},
	}
}

// seconds writes a time or a range.
func seconds(v [2]float64) string {
	switch {
	case v == [2]float64{}:
		return "–"
	case v[0] < 0:
		return "for ever"
	case v[0] == v[1]:
		return fmt.Sprintf("%g s", v[0])
	default:
		return fmt.Sprintf("%g–%g s", v[0], v[1])
	}
}

// baselineTable quotes the others.
func baselineTable() string {
	var b strings.Builder
	b.WriteString("For comparison, others as measured elsewhere in the same kind of lab (Linux 6.18, three lines, 50 new connections a\nsecond, clients that wait 0.5 s; medians of 3 runs or the range of several):\n\n")
	b.WriteString("| program | silent failure: new connections fail for | carrier lost: the same | UDP flow resumes (silent / carrier) |\n|---|---|---|---|\n")
	for _, l := range baselines() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", l.name, seconds(l.silent), seconds(l.carrier), l.flow)
	}
	b.WriteString("\nAny other program can be measured beside: `ftr-bench --command \"PROGRAM FLAGS\" --prepare SCRIPT` (see\n`ftr-bench --help`).\n")
	return b.String()
}
