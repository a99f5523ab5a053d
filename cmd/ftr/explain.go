package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/kernel"
	"ftr/internal/routing"
	"ftr/internal/status"
	"ftr/internal/web"
)

func explainCommand(f *flags) *cobra.Command {
	var q question
	c := action("explain", "say which policy and line a connection would use, and why", func(cmd *cobra.Command, args []string) error {
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := q.parse(args); err != nil {
			return &exitError{exitConfig, err}
		}
		return explain(cmd.Context(), cfg, q, cmd.OutOrStdout())
	})
	c.Use = "explain SOURCE DESTINATION [PROTOCOL [PORT]]"
	c.Args = arguments(2, 4)
	c.Long = `SOURCE is an address inside, or "router" for what the router itself connects to. explain says what becomes of a new connection from SOURCE to DESTINATION: which policy matches and why the ones
before do not, which lines it may use with which shares, and what would become of it if one of these lines died. It takes
the state of the lines from the running monitor, or from the kernel's routes if none runs, and decides by the same
code that makes rules and routes. Then it asks the kernel itself, and says whether that agrees.

A SOURCE that is an address of a line leaves by it whatever its health, and so does what has its mark (--mark). Where no
monitor runs, lines that the routes do not pass over are taken for well. Without --source-port, 49152 is taken.

Exit code: 0 the kernel does as explained; 1 it does not; 2 the configuration or the command line is wrong.`
	c.Example = `  ftr explain 192.168.1.10 203.0.113.9 tcp 443
  ftr explain --user backup router 203.0.113.9 tcp 22
  ftr explain --json 192.168.1.10 203.0.113.9 | jq .lines`
	p := c.Flags()
	p.BoolVar(&q.json, "json", false, "print it as JSON")
	p.StringVar(&q.inside, "inside", "", "`interface` that it comes in on (default: the one whose network SOURCE is in)")
	p.StringVar(&q.sourcePort, "source-port", "", "source `port` (default: 49152, as programs have one; policies for others are named)")
	p.StringVar(&q.dscp, "dscp", "", "`code point`, example ef")
	p.StringVar(&q.user, "user", "", "`user` of the router whose program connects, by name or number")
	p.StringVar(&q.cgroup, "cgroup", "", "`path` of the control group of the program that connects")
	p.StringVar(&q.mark, "mark", "", "`mark` that other software has set, example 0x10000; that of a line forces the line")
	return c
}

func explain(ctx context.Context, cfg *config.Config, q question, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	obs, err := k.Observe(ctx, routing.ScopeOf(cfg).Whole())
	if err != nil {
		return err
	}
	e := explainer{cfg: cfg, obs: &obs, kernel: k, packet: q.packet}
	e.local = e.atRouter(ctx)
	if err := e.enter(q); err != nil {
		return &exitError{exitConfig, err}
	}
	if path := e.packet.Cgroup; path != "" && len(kernel.Cgroups([]string{path})) == 0 {
		e.notes = append(e.notes, fmt.Sprintf("there is no control group %s now: no rule can name it", path))
	}
	e.situation(ctx)
	e.now = e.state.Explain(e.packet)
	if q.anyPort && e.local == "" {
		e.notePorts()
	}
	e.ask(ctx)
	if q.json {
		err = e.writeJSON(w)
	} else {
		_, err = io.WriteString(w, e.text())
	}
	if err == nil && len(e.differs) > 0 {
		return &exitError{code: exitFailure}
	}
	return err
}

// explainer finds out what becomes of a connection.
type explainer struct {
	cfg    *config.Config
	obs    *routing.Observation
	kernel *kernel.Kernel
	packet config.Packet

	basis    string // where the state of the lines is from
	notes    []string
	state    routing.Situation
	now      routing.Explanation
	answers  []string // of the kernel
	differs  []string // how it does not do as explained
	mainHops []string // interfaces by which table main leads there, before all policies

	local     string         // kind of the destination, if it is an address of the router; empty: it is not
	forward   string         // name of the forward that leads it inside; empty: none
	forwardTo netip.AddrPort // where that leads it
}

// enter finds the interface that the packet comes in on. An error says what in the question cannot be.
func (e *explainer) enter(q question) error {
	e.packet.Inside = q.inside
	for _, l := range e.obs.Links {
		uplink := slices.ContainsFunc(e.cfg.Uplinks, func(u config.Uplink) bool { return u.Interface == l.Name })
		for _, a := range l.Addresses {
			e.packet.Own = e.packet.Own || a.Prefix.Addr() == e.packet.Source
			if e.packet.Inside == "" && !uplink && e.packet.Source.IsValid() && a.Prefix.Masked().Contains(e.packet.Source) {
				e.packet.Inside = l.Name
			}
		}
	}
	switch {
	case e.packet.Own && q.inside != "":
		return fmt.Errorf("--inside %s: the source is the router itself, whose packets come in on no interface", q.inside)
	case e.packet.Own:
		e.packet.Inside = ""
		e.notes = append(e.notes, "the source is the router itself: only policies with router, user or cgroup lead it")
	case q.user != "" || q.cgroup != "":
		return fmt.Errorf("--user and --cgroup are for what the router itself connects to, and %s is not the router; write router instead of it", e.packet.Source)
	case e.packet.Inside == "" && e.local != "":
		e.notes = append(e.notes, "no inside interface has the network of the source: it is taken to come in on the line that has the address")
	case e.packet.Inside == "":
		e.notes = append(e.notes, "no inside interface has the network of the source: give --inside if policies or the kernel need it")
	case slices.ContainsFunc(e.cfg.Uplinks, func(u config.Uplink) bool { return u.Interface == e.packet.Inside }):
		return fmt.Errorf("--inside %s: that is an uplink, and what comes in there is led by no policy; give an interface inside", e.packet.Inside)
	case !slices.ContainsFunc(e.obs.Links, func(l routing.Link) bool { return l.Name == e.packet.Inside }):
		return fmt.Errorf("--inside %s: there is no such interface", e.packet.Inside)
	}
	return nil
}

// situation takes the state of the lines from the running monitor, or else from the kernel.
func (e *explainer) situation(ctx context.Context) {
	cfg := e.cfg.WithCgroups(e.obs.Cgroups)
	paths := routing.Resolve(cfg, e.obs)
	e.state = routing.Situation{Config: cfg, Paths: paths, Reports: make([]health.Report, len(paths)),
		Previous: routing.Adopt(e.cfg, config.FamilyOf(e.packet.Destination), e.obs.Have), External: e.inSet(ctx), Links: e.obs.Links}
	dir := e.cfg.Paths.Runtime
	view, _, err := ask(ctx, web.NewClient(web.Socket(dir)), dir)
	if err != nil {
		e.basis = "the kernel's routes; the monitor could not be asked: " + err.Error()
		e.notes = append(e.notes, "nobody judges the lines: what would be if one died takes those for well that the kernel's routes do not pass over")
		return
	}
	e.basis = "the running monitor"
	for i, p := range paths {
		j := slices.IndexFunc(view.Uplinks, func(u status.UplinkView) bool { return u.Interface == p.Interface && u.Family == p.Family.String() })
		if j < 0 {
			e.notes = append(e.notes, "the monitor does not know "+p.Interface+": was the configuration changed without ftr reload?")
			continue
		}
		u := view.Uplinks[j]
		r := health.Report{State: stateNamed(u.State), Reason: u.Reason, WeightPercent: u.Percent}
		if u.HeldUntil != nil {
			r.HeldUntil = *u.HeldUntil
		}
		e.state.Reports[i] = r
	}
}

// notePorts names the policies of which the source port decides, which was not given.
func (e *explainer) notePorts() {
	if e.cfg.Numbers.Unled(e.packet) || e.now.Bound == routing.ByMark || e.now.Bound != routing.Unbound && !e.packet.Own {
		return // no policy was asked
	}
	for _, policy := range e.state.Config.Policies {
		match := policy.Match
		match.SourcePorts = nil
		if len(policy.Match.SourcePorts) > 0 && e.state.Config.Matches(&match, e.packet, e.state.External) {
			e.notes = append(e.notes, fmt.Sprintf("--source-port is not given, and %d is taken: policy %d, %s, matches only from %s",
				ephemeralPort, policy.Number, policy.Name, portWords(policy.Match.SourcePorts)))
		}
		if e.now.Policy != nil && policy.Number == e.now.Policy.Number {
			return // those behind are not asked
		}
	}
}

// portWords writes ports as in the configuration file.
func portWords(list []config.Ports) string {
	var all []string
	for _, r := range list {
		all = append(all, r.String())
	}
	return strings.Join(all, ", ")
}

func stateNamed(word string) health.State {
	for _, s := range []health.State{health.Up, health.Down} {
		if s.String() == word {
			return s
		}
	}
	return health.Unknown
}

// inSet asks nft for the sets that others fill, once for each address.
func (e *explainer) inSet(ctx context.Context) config.InSet {
	type element struct {
		set     string
		address netip.Addr
	}
	known := map[element]bool{}
	return func(set string, a netip.Addr) bool {
		at := element{set, a}
		if _, asked := known[at]; !asked {
			in, err := e.kernel.InSet(ctx, set, a)
			if err != nil {
				e.notes = append(e.notes, "taken for not in the set: "+err.Error())
			}
			known[at] = in
		}
		return known[at]
	}
}

// writeJSON prints the explanation for programs.
func (e *explainer) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(e.view()); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}
