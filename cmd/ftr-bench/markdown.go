package main

import (
	"fmt"
	"strings"
	"time"
)

// heading is that of the section of the report that is ours.
func (r *result) heading() string {
	if r.Family == ipv6 {
		return "## Failover over IPv6"
	}
	return "## Failover"
}

// replaceSection puts a section in the place of the one with the same heading, or at the end.
func replaceSection(old, heading, section string) string {
	if strings.TrimSpace(old) == "" {
		old = "# Benchmarks\n"
	}
	section = strings.TrimSpace(section) + "\n"
	start := strings.Index("\n"+old, "\n"+heading+"\n")
	if start < 0 {
		return strings.TrimRight(old, "\n") + "\n\n" + section
	}
	rest := old[start+len(heading):]
	after := ""
	if end := strings.Index(rest, "\n## "); end >= 0 {
		after = rest[end:]
	}
	return old[:start] + section + after
}

// section writes the report.
func (r *result) section(chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s", r.heading(), r.preface())
	if chart != "" {
		fmt.Fprintf(&b, "![Time until new connections work again after a failure](%s)\n\n", chart)
	}
	b.WriteString(r.table())
	b.WriteString(r.remarks())
	b.WriteString(r.noise())
	if r.Family != ipv6 {
		b.WriteString(baselineTable())
	}
	return b.String()
}

// preface says what was measured and how.
func (r *result) preface() string {
	kind := ""
	if r.Quick {
		kind = " This was a quick run: too few samples for a judgement."
	}
	return fmt.Sprintf("Written by `make bench` on %s, in %s: %s; %d runs of each measurement; program: `%s`.%s\n\n%s\n\n",
		r.Start.Format(time.DateOnly), r.Took.Round(time.Second), r.Machine, r.Runs, r.Program, kind, r.how())
}

// how says how it was measured: once for both families.
func (r *result) how() string {
	if r.Family == ipv6 {
		return howMeasured6
	}
	return howMeasured
}

const howMeasured6 = `The same phases, goals and ways to measure as under Failover, of IPv6. The lines have both families, with addresses that are
fixed, and link-local gateways; the program judges each family by six targets of its own. Connections, flows, faults and
observations are those of IPv6 alone: where a line fails silently or targets die, IPv4 stays well and cannot help. A lost
carrier and lost packets hit both. What idle lines cost is that of IPv6's packets, with neighbour discovery; processor time
and memory are those of a program that looks after both. An echo over IPv6 is 20 bytes longer each way: headers alone, of an
echo a second and of one each 4 s, are 321 MB of frames and 62 MB of packets in 30 days, beyond the goals of IPv4. With 250
uplinks all hosts know their neighbours from the start: namespaces share the machine's table of those that are learned.`

const howMeasured = `All happens in a lab of network namespaces (see ` + "`ftr lab`" + `): three lines without a limit of their rate, a client in the
LAN that opens 50 new connections a second (but for idle lines), six targets. Everything is observed from outside:

- A failure begins when the provider's end of the wire is set down, or its forwarding is switched off. In the second
  case wire and gateway stay well and nobody says anything.
- The route has changed when the kernel tells that the default route of new connections leads over the broken line no
  more; the message is stamped when it is received.
- Each line breaks once in the life of the program, which starts without any memory: later failures are damped on
  purpose. It breaks at a random moment between two probes.
- A connection fails if connect(2) is not completed within 3 s; the kernel sends a lost SYN again after 1 s and 2 s.
- Round trips of 50 ms are made by a relay between provider and internet that delays each packet.

10 % loss over 30 minutes in simulated time is measured by the tests of package health.`

// table is the table of all figures.
func (r *result) table() string {
	var b strings.Builder
	b.WriteString("| phase | figure | goal | median | worst | min / 25 % / median / 75 % / max | runs | verdict |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Figures {
		s := f.spread()
		goal := f.Goal.String()
		if goal == "" {
			goal = "–"
		} else {
			goal += unitOf(f.Unit)
		}
		verdict := f.Verdict()
		if verdict == missed {
			verdict = "**missed**"
		}
		spread := "–"
		if s.n > 1 {
			spread = strings.Join([]string{number(s.min), number(s.p25), number(s.median), number(s.p75), number(s.max)}, " / ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %s |\n", f.Phase, cell(f.What), goal, value(s.median, f.Unit), value(s.max, f.Unit), spread, s.n, verdict)
	}
	return b.String() + "\n"
}

// value writes a number with its unit.
func value(v float64, unit string) string {
	text := number(v)
	if text == "–" || text == "never" {
		return text
	}
	return text + unitOf(unit)
}

// cell keeps a text from ending its cell.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}

// remarks are the notes and errors of the figures.
func (r *result) remarks() string {
	var b strings.Builder
	for _, f := range r.Figures {
		text := f.Note
		if f.Error != "" {
			text = note("not measured: "+f.Error, text)
		}
		if f.Skipped != "" {
			text = note("skipped: "+f.Skipped, text)
		}
		if f.Never > 0 {
			text = note(fmt.Sprintf("%d times not within %s", f.Never, f.Limit), text)
		}
		if text != "" {
			fmt.Fprintf(&b, "- %s: %s: %s\n", f.Phase, cell(f.What), cell(text))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "Remarks:\n\n" + b.String() + "\n"
}

// noise is the table of the machine's noise.
func (r *result) noise() string {
	var b strings.Builder
	b.WriteString("How late a thread of this machine wakes up that asked to sleep 5 ms, measured beside each phase (nothing can be\nfaster or more exact than that):\n\n")
	b.WriteString("| phase | median | 99 % | worst |\n|---|---|---|---|\n")
	for _, n := range r.Noise {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", n.Phase, round(n.Median), round(n.P99), round(n.Worst))
	}
	return b.String() + "\n"
}
