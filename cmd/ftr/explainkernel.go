package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ftr/internal/config"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// The kernel's own tables (ip-route(8)).
const (
	mainTable  = 254
	localTable = 255
)

// loopback is where the kernel delivers what is for the host itself.
const loopback = "lo"

// ask has the kernel say by which route it would send the packet with each of the marks that the firewall
// could give it, and compares that with what was explained.
func (e *explainer) ask(ctx context.Context) {
	if e.local != "" {
		e.arrive(ctx)
		return
	}
	if plain, err := e.kernel.Lookup(ctx, e.packet, 0); err == nil && e.byMain(plain) {
		e.mainHops = interfacesOf(plain)
		e.answers = append(e.answers, routeWords(plain)+": policies and lines are not asked")
		return
	}
	for _, s := range e.steers() {
		e.compare(ctx, s)
	}
}

// byMain tells whether a packet without mark takes a route of table main or local that comes before ours.
func (e *explainer) byMain(r routing.Route) bool {
	return r.Table >= mainTable && (!r.IsDefault() || e.cfg.Numbers.SuppressPriority == 0)
}

// steers are those that the first packet may get: one for each line, or one for all.
func (e *explainer) steers() []config.Steer {
	if e.cfg.Numbers.Unled(e.packet) {
		return []config.Steer{{Uplink: config.NoUplink}}
	}
	policy, perLine := 0, e.cfg.Balance == config.BalanceRoundRobin
	if e.now.Policy != nil {
		policy, perLine = e.now.Policy.Number, e.now.Policy.PerLine()
	}
	var steers []config.Steer
	for _, m := range e.now.Lines {
		if s, ok := e.cfg.Steer(policy, m.Uplink); ok && perLine && !e.now.Default && (policy != 0 || !e.packet.Own) {
			steers = append(steers, s)
		}
	}
	if len(steers) == 0 {
		s, _ := e.cfg.Steer(policy, config.NoUplink) // the zero Steer: no mark
		steers = append(steers, config.Steer{Policy: policy, Uplink: config.NoUplink, Mark: s.Mark, Table: s.Table})
	}
	return steers
}

// compare asks for the packet with one mark.
func (e *explainer) compare(ctx context.Context, s config.Steer) {
	mark := e.packet.Mark
	if s.Mark != 0 || !e.packet.Own {
		mark = mark&^e.cfg.Numbers.SteerMask | s.Mark
	}
	route, err := e.kernel.Lookup(ctx, e.packet, mark)
	what := fmt.Sprintf("mark %#x", mark)
	switch {
	case errors.Is(err, kernel.ErrNoWay):
		e.answers = append(e.answers, what+": refused")
		if e.now.Fate != routing.Refused && e.now.Fate != routing.Stranded && !e.agrees(nil, e.interfaces(s)) {
			e.differs = append(e.differs, what+" is refused")
		}
		return
	case err != nil:
		e.answers = append(e.answers, what+": "+err.Error())
		e.differs = append(e.differs, what+" could not be asked for")
		return
	}
	e.answers = append(e.answers, what+": "+route.String())
	got, want := interfacesOf(route), e.interfaces(s)
	if e.now.Fate == routing.Bypassed {
		return // main's own default, whatever it is
	}
	if !e.agrees(got, want) {
		e.differs = append(e.differs, fmt.Sprintf("%s leads to %v, and %v was expected", what, got, want))
	}
}

// agrees tells whether the kernel leads to the interfaces that were expected. It passes over those without
// carrier, though they stay in its routes; and of the lines that are kept because none is well, some may have no
// routes. Where all that were expected are such, their turn goes to the other lines, if there are any.
func (e *explainer) agrees(got, want []string) bool {
	got = slices.DeleteFunc(slices.Clone(got), func(name string) bool {
		link, known := e.obs.Link(name)
		return known && !link.Carrier
	})
	needed := slices.DeleteFunc(slices.Clone(want), func(name string) bool { return !e.usable(name) })
	if len(needed) == len(want) {
		return slices.Equal(got, want)
	}
	if len(needed) == 0 {
		want = e.interfaces(config.Steer{Uplink: config.NoUplink})
	}
	return within(needed, got) && within(got, want)
}

func within(some, all []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(all, one) })
}

// usable tells whether packets of the family that was asked for can be sent over the line of an interface.
func (e *explainer) usable(name string) bool {
	family := config.FamilyOf(e.packet.Destination)
	return slices.ContainsFunc(e.state.Paths, func(p routing.Path) bool { return p.Interface == name && p.Family == family && p.Usable() })
}

// interfaces are those that a steer should lead to.
func (e *explainer) interfaces(s config.Steer) []string {
	var all []string
	for _, m := range e.now.Lines {
		if s.Uplink == config.NoUplink || s.Uplink == m.Uplink {
			all = append(all, e.cfg.Uplinks[m.Uplink].Interface)
		}
	}
	slices.Sort(all)
	return all
}

func interfacesOf(r routing.Route) []string {
	var all []string
	for _, h := range r.NextHops {
		all = append(all, h.Interface)
	}
	slices.Sort(all)
	return all
}
