package routing

import (
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// marked is the mark with which a packet meets the rules if no policy gives it one. What passes through has lost
// the steering mark by then that it may have had.
func (s Situation) marked(p config.Packet) uint32 {
	if p.Own {
		return p.Mark
	}
	return p.Mark &^ s.Config.Numbers.SteerMask
}

// led returns the first of the rules for the lines' addresses and marks that leads a packet with this mark; the
// zero Rule: none.
func (s Situation) led(p config.Packet, mark uint32, selection Selection) Rule {
	for _, r := range rules(s.Config, &Observation{Links: s.Links}, s.Paths, selection) {
		if (r.From.IsValid() || r.Mask == s.Config.Numbers.Mask) && r.leads(p, mark) {
			return r
		}
	}
	return Rule{}
}

// leads tells whether a rule is for a packet, which is bound to no interface.
func (r Rule) leads(p config.Packet, mark uint32) bool {
	return r.Output == "" && mark&r.Mask == r.Mark && (p.Own || !r.Local) && (!r.From.IsValid() || r.From.Contains(p.Source)) &&
		(r.Transport == 0 || r.Transport == p.Protocol) && (r.SourcePort == 0 || r.SourcePort == p.SourcePort)
}

// unled is what becomes of a connection that no policy leads.
func (s Situation) unled(p config.Packet, v Verdict, mark uint32, selection Selection) Verdict {
	led := s.led(p, mark, selection)
	switch {
	case led.Table == 0:
		return s.byDefault(p, v, selection)
	case led.Table == ownTable(s.Config.Numbers):
		line := s.ruled(s.led(p, mark|s.Config.Numbers.Unsteered(), selection), p)
		v.say("the source is an address of %s, which is down: datagrams from it leave by the lines that carry", s.name(s.Paths[line].Uplink))
		return s.byDefault(p, v, selection)
	}
	return s.bound(p, v, led, selection)
}

// ruled returns the place of the path that a rule for an address or mark is of.
func (s Situation) ruled(r Rule, p config.Packet) int {
	return slices.IndexFunc(s.Paths, func(path Path) bool {
		return path.Family == r.Family && (r.Table == s.Config.Uplinks[path.Uplink].Table || r.Table == config.DeadEndTable && path.keeps(s.Config, p.Source))
	})
}

// bound is what becomes of a connection that a rule for a line's address or mark leads.
func (s Situation) bound(p config.Packet, v Verdict, led Rule, selection Selection) Verdict {
	place := s.ruled(led, p)
	path, name := s.Paths[place], s.name(s.Paths[place].Uplink)
	v.Bound = BySource
	switch {
	case !led.From.IsValid():
		v.Bound = ByMark
		v.say("the mark %#x under %#x is that of %s: it leaves by that line, and policies are not asked", led.Mark, led.Mask, name)
	case led.From.IsSingleIP():
		v.say("the source is an address of %s: what the router itself sends from it leaves by that line", name)
	default:
		v.say("the source is in %s, the prefix of %s, which is not translated: it leaves by that line and no other", path.Prefix, name)
	}
	if led.Table == config.DeadEndTable {
		v.Fate = Refused
		v.say("%s is down, and hosts with its addresses are told so", name)
		return v
	}
	s.bind(&v, place)
	if v.Down && v.Bound == BySource && p.Own && p.Protocol == 0 && slices.Contains(selection.Lost, path.Uplink) {
		v.say("datagrams (udp) from its address leave by the lines that carry")
	}
	return v
}

// bind has a connection leave by one path, whatever its health.
func (s Situation) bind(v *Verdict, place int) {
	path, report := s.Paths[place], s.Reports[place]
	v.Tier = s.Config.Uplinks[path.Uplink].Group
	if !path.Routable || !path.Usable() {
		v.Fate = Refused
		v.say("%s: %s", s.name(path.Uplink), path.Problem)
		return
	}
	v.Fate, v.Lines = Carried, []Member{{Uplink: path.Uplink, Weight: 1}}
	if v.Down = report.State == health.Down; v.Down {
		v.say("%s is down: %s", s.name(path.Uplink), report.Reason)
	}
}
