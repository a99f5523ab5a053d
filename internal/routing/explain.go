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

// Verdict is what becomes of a new connection, and why.
type Verdict struct {
	Policy  *config.Policy // nil: none matches
	Fate    Fate
	Tier    int      // order of the policy, or priority group
	Lines   []Member // that it may use, with their shares, if it is carried
	Kept    bool     // no line is well: these were the last ones
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

// without is the situation after a line died, where the selection was this.
func (s Situation) without(uplink int, now Selection) Situation {
	s.Previous = &now
	s.Reports = slices.Clone(s.Reports)
	for i, p := range s.Paths {
		if p.Uplink == uplink {
			s.Reports[i].State, s.Reports[i].Reason = health.Down, "it would have died"
		}
	}
	return s
}

func (s Situation) selection(f config.Family) Selection {
	return Select(s.Config, f, s.Paths, s.Reports, s.Previous)
}

func (s Situation) verdict(p config.Packet) Verdict {
	family := config.FamilyOf(p.Destination)
	selection := s.selection(family)
	if i := slices.IndexFunc(s.Paths, func(path Path) bool { return path.keeps(s.Config, p.Source) }); i >= 0 {
		return s.bySource(s.Paths[i], selection)
	}
	policy, reasons := s.match(p)
	v := Verdict{Policy: policy, Reasons: reasons}
	if policy == nil {
		return s.byDefault(p, v, selection)
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
		return s.byDefault(p, v, selection)
	}
}

// bySource is what becomes of a connection whose source is an address of a line that is not translated: no
// other line would take it, whatever policies say.
func (s Situation) bySource(p Path, selection Selection) Verdict {
	v := Verdict{Fate: Carried, Tier: s.Config.Uplinks[p.Uplink].Group, Lines: []Member{{Uplink: p.Uplink, Weight: 1}}}
	v.say("the source is in %s, the prefix of %s, which is not translated: it leaves by that line and no other", p.Prefix, s.name(p.Uplink))
	switch {
	case selection.strands(p):
		v.Fate, v.Lines = Refused, nil
		v.say("%s is down, and hosts with its addresses are told so", s.name(p.Uplink))
	case !p.Routable:
		v.Fate, v.Lines = Refused, nil
		v.say("%s: %s", s.name(p.Uplink), p.Problem)
	}
	return v
}

// byDefault is what becomes of a connection that no policy leads.
func (s Situation) byDefault(p config.Packet, v Verdict, selection Selection) Verdict {
	v.Fate, v.Lines, v.Kept = Carried, selection.Members, selection.Kept
	if p.Own {
		v.Lines = selection.OwnMembers(s.Config)
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
	if selection.Kept {
		v.say("no line is well: the last selection stays")
	}
	return v
}

func (v *Verdict) say(format string, args ...any) {
	v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
}

// match returns the policy of a packet, and why the ones before it do not match.
func (s Situation) match(p config.Packet) (*config.Policy, []string) {
	var reasons []string
	for i := range s.Config.Policies {
		policy := &s.Config.Policies[i]
		key := s.Config.Mismatch(&policy.Match, p, s.External)
		if key == "" {
			return policy, append(reasons, fmt.Sprintf("policy %d, %s: matches", policy.Number, policy.Name))
		}
		reasons = append(reasons, fmt.Sprintf("policy %d, %s: does not match: %s", policy.Number, policy.Name, key))
	}
	if len(s.Config.Policies) > 0 {
		reasons = append(reasons, "no policy matches")
	}
	return nil, reasons
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
	for _, m := range members {
		if m.Uplink == uplink {
			return fmt.Sprintf("%s %d, is used, share %d of %d", what, tier, m.Weight, total)
		}
	}
	i := slices.IndexFunc(s.Paths, func(p Path) bool { return p.Uplink == uplink && p.Family == f })
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
