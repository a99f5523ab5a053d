// Command ftr-bench measures in the lab what users feel when a line breaks: how long new connections,
// flows and routes need to find another line, what the program under test costs, and whether it heals
// what is broken by hand. Everything is observed from outside, by the kernel's notifications and by
// sockets of the lab's hosts, so that any other program can be measured beside our own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

// Exit statuses.
const (
	exitOK     = 0 // all goals held
	exitMissed = 1 // a goal was missed, or a figure could not be measured
	exitUsage  = 2
)

func main() {
	os.Exit(netns.Private(func() int { return run(os.Args[1:], os.Stdout, os.Stderr) }))
}

// run is the program, inside of private namespaces.
func run(args []string, out, errs io.Writer) int {
	s, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(errs, err)
		return exitUsage
	case s.list:
		for _, p := range phases() {
			fmt.Fprintf(out, "%-12s %s\n", p.name, p.what)
		}
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	earlier, err := recall(s.with, s.family)
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitUsage
	}
	r, err := measure(ctx, s, out)
	if err == nil {
		r.add(earlier)
		err = r.write(s)
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitMissed
	}
	fmt.Fprintln(out, r.verdict())
	if !r.held() {
		return exitMissed
	}
	return exitOK
}

// settings are what the command line says.
type settings struct {
	program  string   // our own, where no command is given
	command  string   // of another program
	prepare  string   // script for the router
	name     string   // of the program, in the report
	family   family   // that is measured
	runs     int      // of each measurement
	only     []string // phases; empty: all
	quick    bool
	list     bool
	markdown string
	chart    string
	json     string
	with     string // JSON file of an earlier run
	log      string
}

// own tells whether our own program is measured, so that configuration and firewall rules are ours.
func (s settings) own() bool { return s.command == "" }

// quickRuns is how often a quick run measures.
const quickRuns = 2

func parse(args []string, errs io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("ftr-bench", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&s.program, "program", "bin/ftr", "our own program, `file`")
	f.StringVar(&s.command, "command", "", "measure another program: a simple `command` of sh(1) that stays in the foreground; {config}\n"+
		"becomes the path of a configuration in our form, {dir} a directory for what it likes to write")
	f.StringVar(&s.prepare, "prepare", "", "`script` for sh(1) that makes the router fit for --command; see the variables BENCH_* in its environment")
	f.StringVar(&s.name, "name", "", "what the report calls the program (default: its file name)")
	f.IntVar(&s.runs, "runs", 20, "`number` of runs of each measurement")
	six := f.Int("family", int(ipv4), "IP `version` that is measured: 4 or 6")
	only := f.String("only", "", "`phases` to measure, separated by commas (default: all; see --list)")
	f.BoolVar(&s.quick, "quick", false, fmt.Sprintf("measure %d runs and shorter", quickRuns))
	f.BoolVar(&s.list, "list", false, "list the phases")
	f.StringVar(&s.markdown, "markdown", "", "write the section \"Failover\" (of IPv6: \"Failover over IPv6\") of this `file`; the rest of it stays")
	f.StringVar(&s.chart, "chart", "", "write a chart as an SVG `file`")
	f.StringVar(&s.json, "json", "", "write everything that was measured as a JSON `file`")
	f.StringVar(&s.with, "with", "", "take the phases that are not measured now from the JSON `file` of an earlier run")
	f.StringVar(&s.log, "log", "", "append all that the program says (our own: with --debug) and when lines broke to a `file`")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("argument %q: there are only flags; see --help", f.Arg(0))
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if s.quick && !set["runs"] {
		s.runs = quickRuns
	}
	if *six != int(ipv4) && *six != int(ipv6) {
		return s, fmt.Errorf("--family %d: want 4 or 6", *six)
	}
	s.family = family(*six)
	if *only != "" {
		s.only = strings.Split(*only, ",")
	}
	return s, s.check()
}

// check refuses what can not be measured and makes paths absolute.
func (s *settings) check() error {
	if s.runs < 1 || s.runs > 1000 {
		return fmt.Errorf("--runs %d: want 1 to 1000", s.runs)
	}
	for _, name := range s.only {
		if !slices.ContainsFunc(phases(), func(p phase) bool { return p.name == name }) {
			return fmt.Errorf("--only %s: there is no such phase; see --list", name)
		}
	}
	if s.name == "" {
		s.name = "ftr"
		if words := strings.Fields(s.command); len(words) > 0 {
			s.name = filepath.Base(words[0])
		}
	}
	for _, path := range []*string{&s.program, &s.prepare} {
		if *path == "" || path == &s.program && !s.own() {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(absolute); err != nil && !s.list {
			return fmt.Errorf("%w (\"make bench\" builds it)", err)
		}
		*path = absolute
	}
	if s.list {
		return nil
	}
	return lab.CheckTools(nil)
}
