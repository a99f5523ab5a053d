package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// phase is one group of measurements.
type phase struct {
	name string
	what string
	ours bool // it needs configuration files in our form
	run  func(ctx context.Context, b *bench) ([]*Figure, error)
}

// phases returns all phases, in the order in which they run.
func phases() []phase {
	return slices.Concat(failurePhases(), []phase{
		{"kill", "kill -9 and restart under load", false, killPhase},
		{"heal", "rules, routes, tables and sysctls changed by hand", false, healPhase},
		{"loss", "packets lost at random, dead targets", false, lossPhase},
		{"flaps", "random flaps of 16 lines", false, flapPhase},
		{"uplinks250", "250 uplinks", true, manyPhase},
		{"footprint", "what it costs while nothing happens", false, footprintPhase},
	})
}

// bench is one run of the program.
type bench struct {
	settings
	out io.Writer
	log io.Writer // of what the program says; nil: nobody wants it
}

// say notes an event of the bench among what the program says.
func (b *bench) say(at time.Time, format string, args ...any) {
	if b.log != nil {
		fmt.Fprintf(b.log, "%s BENCH %s\n", at.Format("2006-01-02 15:04:05.000000"), fmt.Sprintf(format, args...))
	}
}

// measure runs the phases that were asked for.
func measure(ctx context.Context, s settings, out io.Writer) (*result, error) {
	b := &bench{settings: s, out: out}
	if s.log != "" {
		file, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, fmt.Errorf("open the log: %w", err)
		}
		defer file.Close()
		b.log = file
	}
	r := &result{Program: s.name, Family: s.family, Command: s.command, Start: time.Now(), Runs: s.runs, Quick: s.quick, Machine: machine()}
	for _, p := range phases() {
		if len(s.only) > 0 && !slices.Contains(s.only, p.name) {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s\n", p.name, p.what)
		if p.ours && !s.own() {
			fmt.Fprintln(out, "  skipped: it needs files in our form")
			r.Figures = append(r.Figures, &Figure{Phase: p.name, What: p.what, Skipped: "it needs files in our form"})
			continue
		}
		b.phase(ctx, p, r)
		if err := ctx.Err(); err != nil {
			return r, fmt.Errorf("ended early: %w", err)
		}
	}
	r.Took = time.Since(r.Start)
	return r, nil
}

// phase runs one phase beside the probe of the machine's noise.
func (b *bench) phase(ctx context.Context, p phase, r *result) {
	start := time.Now()
	b.say(start, "phase %s", p.name)
	noise := startNoise()
	figures, err := p.run(ctx, b)
	n := noise.end()
	if err != nil {
		figures = append(figures, &Figure{What: p.what, Error: err.Error()})
	}
	for _, f := range figures {
		f.Phase = p.name
		fmt.Fprintln(b.out, "  "+f.line())
	}
	fmt.Fprintf(b.out, "  took %s; noise: %s\n", time.Since(start).Round(time.Second), n)
	r.Figures = append(r.Figures, figures...)
	r.Noise = append(r.Noise, PhaseNoise{p.name, n})
}

// line says the figure in one line, for the terminal.
func (f *Figure) line() string {
	sign := map[string]string{held: "✓", missed: "✗", failed: "✗", skipped: "–", measured: "·"}[f.Verdict()]
	text := sign + " " + f.What + ": "
	switch {
	case f.Error != "":
		return text + "could not be measured: " + f.Error
	case f.Skipped != "":
		return text + "skipped: " + f.Skipped
	}
	s := f.spread()
	text += fmt.Sprintf("median %s, worst %s%s", number(s.median), number(s.max), unitOf(f.Unit))
	if s.n == 1 {
		text = fmt.Sprintf("%s %s: %s%s", sign, f.What, number(s.max), unitOf(f.Unit))
	}
	if g := f.Goal.String(); g != "" {
		text += " (goal: " + g + ")"
	}
	if f.Note != "" {
		text += "; " + f.Note
	}
	return text
}

func unitOf(unit string) string {
	if unit == "" {
		return ""
	}
	return " " + unit
}
