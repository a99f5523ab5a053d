package routing

import (
	"fmt"
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// Situation is what decides over new connections: the paths, how they are judged (by position), and the
// selection before, nil for none.
type Situation struct {
	Config   *config.Config
	Paths    []Path
	Reports  []health.Report
	Previous *Selection
	External config.InSet // for sets that others fill
	Links    []Link       // the interfaces, for the lines' other addresses; nil: lines have one address each
}

// Fate is what becomes of a connection in the end.
type Fate string

// The fates.
const (
	Carried  Fate = "carried"  // it leaves by one of the lines
	Refused  Fate = "refused"  // by the policy's last resort, block
	Bypassed Fate = "bypassed" // it follows main's own default, by the policy's last resort, bypass
	Stranded Fate = "stranded" // no line has ever been well
)

// Bond is what has chosen the line of a connection, whatever its health.
type Bond string

// The bonds.
const (
	Unbound  Bond = ""
	BySource Bond = "source" // an address of the line
	ByMark   Bond = "mark"   // the line's own, which other software has set
)

// Verdict is what becomes of a new connection, and why.
type Verdict struct {
	Policy  *config.Policy // nil: none matches
	Fate    Fate
	Tier    int      // order of the policy, or priority group
	Lines   []Member // that it may use, with their shares, if it is carried
	Kept    bool     // no line is well: these were the last ones
	Bound   Bond     // policies and selection have not chosen the line
	Down    bool     // the line that it is bound to is down
	Default bool     // the policy's last resort, default, holds: as if there were no policy
	Reasons []string
}

// Loss is what would become of a connection if a line died.
type Loss struct {
	Uplink  int
	Verdict Verdict
}

// Explanation says what becomes of a new connection now, and what if one of its lines died.
type Explanation struct {
	Verdict
	IfDown []Loss
}

// Explain evaluates the policies and the selection for the first packet of a connection, with the same
// functions by which rules and routes are made.
func (s Situation) Explain(p config.Packet) Explanation {
	e := Explanation{Verdict: s.verdict(p)}
	now := s.selection(config.FamilyOf(p.Destination))
	for _, m := range e.Lines {
		e.IfDown = append(e.IfDown, Loss{m.Uplink, s.without(m.Uplink, now).verdict(p)})
	}
	return e
}

// without is the situation after a line died, where the selection was this. What nobody has judged, because no
// monitor runs or has run for long enough, is taken for well, or else nothing could take the place of the dead.
func (s Situation) without(uplink int, now Selection) Situation {
	s.Previous = &now
	s.Reports = slices.Clone(s.Reports)
	for i, p := range s.Paths {
		report := &s.Reports[i]
		switch {
		case p.Uplink == uplink:
			report.State, report.Reason = health.Down, "it would have died"
		case report.State == health.Unknown && p.Family == now.Family && s.passedOver(p.Uplink, now):
			report.State, report.Reason = health.Down, "it is not used now"
		case report.State == health.Unknown:
			report.State = health.Up
		}
	}
	s.relieve(now.Family)
	return s
}

// relieve takes lines for well that are only held back, where nobody else would carry: the monitor puts them back then.
func (s Situation) relieve(f config.Family) {
	if !s.selection(f).Idle() {
		return
	}
	for i, p := range s.Paths {
		if p.Family == f && s.Config.Uplinks[p.Uplink].Grouped && heldBack(p, s.Reports[i], nil) {
			s.Reports[i].State = health.Up
		}
	}
}

// passedOver tells whether a selection shows that a line was down: it is lost, or other lines are used where it
// would be used too if it was well.
func (s Situation) passedOver(uplink int, now Selection) bool {
	u := s.Config.Uplinks[uplink]
	if slices.Contains(now.Lost, uplink) {
		return true
	}
	if len(now.Members) > 0 && u.Grouped && !now.Has(uplink) && u.Group <= s.Config.Uplinks[now.Members[0].Uplink].Group {
		return true
	}
	return slices.ContainsFunc(s.Config.Policies, func(policy config.Policy) bool {
		c := now.Choice(policy.Number)
		return len(c.Members) > 0 && !c.Has(uplink) && slices.ContainsFunc(policy.Ways, func(w config.Way) bool { return w.Uplink == uplink && w.Tier <= c.Tier })
	})
}

func (s Situation) selection(f config.Family) Selection {
	return Select(s.Config, f, s.Paths, s.Reports, s.Previous)
}

func (s Situation) verdict(p config.Packet) Verdict {
	family := config.FamilyOf(p.Destination)
	selection := s.selection(family)
	// The rules for addresses come before those for the steering marks of what passes through, and behind those
	// for the steering marks of what the router itself sends. What has a line's mark is given no steering mark.
	if led := s.led(p, s.marked(p), selection); led.Table != 0 && (!p.Own || !led.From.IsValid()) {
		return s.bound(p, Verdict{}, led, selection)
	}
	v := s.match(p)
	policy := v.Policy
	if policy == nil {
		return s.unled(p, v, s.marked(p), selection)
	}
	choice := selection.Choice(policy.Number)
	for _, w := range policy.Ways {
		v.say("%s: %s", s.name(w.Uplink), s.place(w.Uplink, family, "order", w.Tier, choice.Tier, choice.Members))
	}
	if len(choice.Members) > 0 {
		v.Fate, v.Tier, v.Lines = Carried, choice.Tier, choice.Members
		if policy.Sticky != config.StickyNone && len(choice.Members) > 1 {
			v.say("sticky: %s: the first connection chooses, later ones follow it for %s after the last", policy.Sticky, policy.StickyTimeout)
		}
		return v
	}
	v.say("no line of the policy is well: last resort %s", policy.LastResort)
	switch policy.LastResort {
	case config.LastResortBlock:
		v.Fate = Refused
		return v
	case config.LastResortBypass:
		v.Fate = Bypassed
		return v
	default:
		v.Default = true
		return s.unled(p, v, s.marked(p)|s.Config.Numbers.Unsteered(), selection)
	}
}

// byDefault is what becomes of a connection that neither a policy nor its source leads.
func (s Situation) byDefault(p config.Packet, v Verdict, selection Selection) Verdict {
	v.Fate, v.Lines, v.Kept = Carried, selection.Members, selection.Kept
	if p.Own && s.Config.Numbers.OwnTable != 0 {
		v.Lines = selection.Own
		v.Kept = len(v.Lines) > 0 && !slices.ContainsFunc(v.Lines, func(m Member) bool { return s.well(m.Uplink, selection.Family) })
	}
	if len(v.Lines) == 0 {
		v.Fate = Stranded
		v.say("no line has been well yet")
		return v
	}
	v.Tier = s.Config.Uplinks[v.Lines[0].Uplink].Group
	for _, u := range s.Config.Uplinks {
		switch {
		case !u.Grouped:
		case p.Own && u.Tunnel == config.TunnelYes:
			v.say("%s: is a tunnel, which what the router itself sends never uses unless it is bound to it", s.name(u.Index))
		default:
			v.say("%s: %s", s.name(u.Index), s.place(u.Index, selection.Family, "priority_group", u.Group, v.Tier, v.Lines))
		}
	}
	if v.Kept {
		v.say("no line is well: the last selection stays")
	}
	return v
}

// well tells whether a selected line is there because of its health, and not because no line is well.
func (s Situation) well(uplink int, f config.Family) bool {
	i := pathOf(s.Paths, uplink, f)
	return i >= 0 && s.Paths[i].Usable() && s.Reports[i].State != health.Down
}

func (v *Verdict) say(format string, args ...any) {
	v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
}

// match finds the policy of a packet, and says why the ones before it do not match.
func (s Situation) match(p config.Packet) (v Verdict) {
	if len(s.Config.Policies) == 0 {
		return v
	}
	switch n := s.Config.Numbers; {
	case !n.Unled(p):
	case !p.Own:
		v.say("the mark %#x is that of no line, but has bits of %#x: policies are not asked", p.Mark, n.Mask)
		return v
	default:
		v.say("the mark %#x has all bits of %#x: policies are not asked", p.Mark, n.SteerMask)
		return v
	}
	for i := range s.Config.Policies {
		policy := &s.Config.Policies[i]
		key := s.Config.Mismatch(&policy.Match, p, s.External)
		if key == "" {
			v.Policy = policy
			v.say("policy %d, %s: matches", policy.Number, policy.Name)
			return v
		}
		v.say("policy %d, %s: does not match: %s", policy.Number, policy.Name, key)
	}
	v.say("no policy matches")
	return v
}

func (s Situation) name(uplink int) string {
	u := s.Config.Uplinks[uplink]
	if u.Name == u.Interface {
		return u.Name
	}
	return u.Name + " (" + u.Interface + ")"
}

// place says what part a line has, and why.
func (s Situation) place(uplink int, f config.Family, what string, tier, used int, members []Member) string {
	total := 0
	for _, m := range members {
		total += m.Weight
	}
	i := pathOf(s.Paths, uplink, f)
	for _, m := range members {
		if m.Uplink == uplink {
			return fmt.Sprintf("%s %d, is used, share %d of %d%s", what, tier, m.Weight, total, s.illness(i))
		}
	}
	switch {
	case i < 0:
		return "has no " + f.String()
	case !s.Paths[i].Usable():
		return fmt.Sprintf("%s %d, is not used: %s", what, tier, s.Paths[i].Problem)
	case s.Reports[i].State == health.Down:
		return fmt.Sprintf("%s %d, is down: %s", what, tier, s.Reports[i].Reason)
	case tier > used && len(members) > 0:
		return fmt.Sprintf("%s %d, waits until none of %d is well", what, tier, used)
	}
	return fmt.Sprintf("%s %d, is not judged yet", what, tier)
}

// illness says of a path that is used what is wrong with it; empty: nothing.
func (s Situation) illness(place int) string {
	switch {
	case place < 0:
		return ""
	case !s.Paths[place].Usable():
		return ", though nothing can be sent over it: " + s.Paths[place].Problem
	case s.Reports[place].State == health.Down:
		return ", though it is down: " + s.Reports[place].Reason
	}
	return ""
}
