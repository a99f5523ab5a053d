package config

import (
	"fmt"
	"slices"
	"strconv"
)

// checkPolicies: sets, policies and forwards, which only a managed firewall can keep.
func (w *walker) checkPolicies(d *draft) {
	if !d.firewall.usable() {
		return
	}
	if !d.isManaged() {
		for _, k := range []struct {
			given bool
			at    position
			path  string
		}{{len(d.sets.value) > 0, d.sets.at, "sets"}, {len(d.policies.value) > 0, d.policies.at, "policies"}, {len(d.forwards.value) > 0, d.forwards.at, "forwards"}} {
			if k.given {
				w.report(k.at, Problem{Path: k.path, Message: "needs a firewall that this program keeps; add firewall: managed"})
			}
		}
		return
	}
	w.checkSets(d)
	named := map[string]*field[string]{}
	for i := range d.policies.value {
		p := &d.policies.value[i]
		w.unique(named, &p.name, "policy")
		w.checkMatch(d, p)
		w.checkOwn(p)
		w.checkWays(d, p)
	}
	w.checkReach(d)
	w.checkForwards(d)
}

// checkReach warns of policies that nothing gets to: the first one that matches decides, also where all its lines
// are dead. What is forwarded and what the router itself sends have policies of their own.
func (w *walker) checkReach(d *draft) {
	all, told := map[bool]*policyDraft{}, map[bool]bool{}
	for i := range d.policies.value {
		p := &d.policies.value[i]
		own := p.own()
		switch before := all[own]; {
		case before != nil && !told[own]:
			told[own] = true
			what := map[bool]string{false: "what is forwarded", true: "what the router sends"}[own]
			warn(w, &p.section, "", "never holds, like all others for "+what+" after "+use(&before.section)+", which matches everything")
		case before == nil && p.everything():
			all[own] = p
		}
	}
}

// everything tells whether a policy has no condition.
func (p *policyDraft) everything() bool {
	return p.source.state == absent && p.destination.state == absent && p.inside.state == absent && p.protocol.state == absent &&
		p.dscp.state == absent && p.sourcePort.state == absent && p.destinationPort.state == absent && p.mark.state == absent &&
		p.user.state == absent && p.cgroup.state == absent
}

// unique reports a name that was used before.
func (w *walker) unique(seen map[string]*field[string], f *field[string], what string) {
	if !f.given() {
		return
	}
	if other, twice := seen[f.value]; twice {
		fail(w, f, show(f.value), "is the name of another "+what+" already, "+use(other), "")
		return
	}
	seen[f.value] = f
}

func (w *walker) checkSets(d *draft) {
	named := map[string]*field[string]{}
	for i := range d.sets.value {
		s := &d.sets.value[i]
		w.unique(named, &s.name, "set")
		external := s.external.given() && s.external.value
		filled := s.prefixes.state != absent || s.file.state != absent
		switch {
		case external && filled:
			fail(w, &s.external, "", "is yes, so others fill the set, and prefixes or file are given too; remove one", "")
		case !external && !filled && s.external.usable():
			w.report(s.section.at, Problem{Path: s.section.path, Message: "says nothing of what is in the set; give prefixes, file or external: yes"})
		}
		for j := range s.prefixes.value {
			p := &s.prefixes.value[j]
			if p.given() && s.family.usable() && FamilyOf(p.value.Addr()) != s.family.value {
				fail(w, p, spellPrefix(p.value), fmt.Sprintf("is no %s address, as family says; make two sets", s.family.value), "")
			}
		}
	}
}

func (w *walker) checkMatch(d *draft, p *policyDraft) {
	sources, known1 := w.families(d, &p.source)
	destinations, known2 := w.families(d, &p.destination)
	if known1 && known2 && sources&destinations == 0 {
		fail(w, &p.destination, "", "has no address of the same family as source, so that nothing can match", "")
	}
	for i := range p.inside.value {
		f := &p.inside.value[i]
		for j := range d.uplinks.value {
			if other := &d.uplinks.value[j].iface; f.given() && other.given() && other.value == f.value {
				fail(w, f, show(f.value), "is an uplink, "+use(other), "an inside interface")
			}
		}
	}
	if p.sourcePort.given() || p.destinationPort.given() {
		for i := range p.protocol.value {
			if f := &p.protocol.value[i]; f.given() && !slices.Contains(PortProtocols, f.value) {
				fail(w, f, ProtocolName(f.value), "has no ports, and ports are given", "one of tcp, udp, dccp, sctp and udplite")
			}
		}
	}
	w.checkMark(d, p)
}

// checkOwn: users and control groups are of the router itself, which has no interface that it comes in on, and
// whose source address is chosen by the line.
func (w *walker) checkOwn(p *policyDraft) {
	if p.router.given() && !p.router.value && len(p.user.value)+len(p.cgroup.value) > 0 {
		fail(w, &p.router, "no", "contradicts user or cgroup: only what the router itself sends has them", "")
	}
	if !p.own() {
		return
	}
	if len(p.inside.value) > 0 {
		fail(w, &p.inside, "", "is given, and the policy is for what the router itself sends, which comes in on no interface", "")
	}
	if p.sticky.given() && p.sticky.value != StickyNone {
		fail(w, &p.sticky, p.sticky.value.String(), "is for what the router forwards; to keep what it sends itself on one line, give each uplink an order of its own", "none")
	}
}

// families returns the address families of a list as bits, and whether all of it is known.
func (w *walker) families(d *draft, l *field[[]field[Endpoint]]) (both uint8, known bool) {
	known = l.state != bad
	for i := range l.value {
		f := &l.value[i]
		switch {
		case !f.given():
			known = false
		case f.value.Set == "":
			both |= 1 << FamilyOf(f.value.Prefix.Addr())
		default:
			s := d.set(f.value.Set)
			if s == nil {
				w.report(f.at, Problem{Path: f.path, Value: show("@" + f.value.Set), Message: "is not the name of a set", Suggestion: closest(f.value.Set, d.setNames())})
			}
			if s == nil || !s.family.usable() {
				known = false
				continue
			}
			both |= 1 << s.family.value
		}
	}
	if len(l.value) == 0 {
		both = 1<<IPv4 | 1<<IPv6
	}
	return both, known
}

func (d *draft) set(name string) *setDraft {
	for i := range d.sets.value {
		if d.sets.value[i].name.value == name {
			return &d.sets.value[i]
		}
	}
	return nil
}

func (d *draft) setNames() []string {
	var names []string
	for i := range d.sets.value {
		names = append(names, d.sets.value[i].name.value)
	}
	return names
}

// checkMark: marks that we write ourselves say nothing of the packet.
func (w *walker) checkMark(d *draft, p *policyDraft) {
	n := int64(len(d.uplinks.value))
	if !p.mark.given() || n == 0 || !d.base.usable() || !d.msk.usable() || !d.steerMask.usable() {
		return
	}
	ours := d.mask(n) | d.steering(n)
	if both := int64(p.mark.value.Mask) & ours; both != 0 {
		fail(w, &p.mark, fmt.Sprintf("%#x/%#x", p.mark.value.Value, p.mark.value.Mask), fmt.Sprintf("looks at the bits %#x of fwmark_mask and steer_mask, which this program writes", both),
			fmt.Sprintf("a mark with a mask within %#x", int64(1<<32-1)&^ours))
	}
}

// checkWays: the lines of a policy exist, and each is there once.
func (w *walker) checkWays(d *draft, p *policyDraft) {
	if p.ways.given() && len(p.ways.value) == 0 {
		fail(w, &p.ways, "", "is empty", "a list of at least one uplink")
	}
	if !p.ways.given() {
		return
	}
	first := map[int]*wayDraft{}
	for i := range p.ways.value {
		one := &p.ways.value[i]
		lines := w.lines(d, one)
		for _, index := range lines {
			if other, twice := first[index]; twice {
				w.report(one.at, Problem{Path: one.path, Message: fmt.Sprintf("uplink %s is in the list already, by %s (line %d)", show(d.uplinks.value[index].name()), other.path, other.at.line)})
				continue
			}
			first[index] = one
		}
	}
}

// lines returns the uplinks that an entry names, and reports if there are none.
func (w *walker) lines(d *draft, one *wayDraft) []int {
	if one.uplink.given() {
		return w.line(d, &one.uplink)
	}
	lines := d.linesOf(one)
	if len(lines) == 0 && one.group.given() && d.knowsGroups() {
		fail(w, &one.group, strconv.FormatInt(one.group.value, 10), "is the priority_group of no uplink", "")
	}
	return lines
}

// knowsGroups tells whether the groups of all uplinks were read.
func (d *draft) knowsGroups() bool {
	return d.uplinks.usable() && !slices.ContainsFunc(d.uplinks.value, func(u uplinkDraft) bool { return !u.group.usable() || !u.defaultRoute.usable() })
}

// line returns the uplink of a name, and reports if there is none or more than one.
func (w *walker) line(d *draft, f *field[string]) []int {
	lines := d.linesNamed(f.value)
	switch {
	case len(lines) > 1:
		fail(w, f, show(f.value), "is the name of more than one uplink", "the interface of one")
	case len(lines) == 0 && d.uplinks.usable():
		var words []string
		for i := range d.uplinks.value {
			words = append(words, d.uplinks.value[i].iface.value, d.uplinks.value[i].description.value)
		}
		w.report(f.at, Problem{Path: f.path, Value: show(f.value), Message: "is neither the interface nor the name of an uplink", Suggestion: closest(f.value, words)})
	}
	return lines
}

// linesNamed returns the uplinks of a name: the one with that interface, or those with that description.
func (d *draft) linesNamed(name string) []int {
	var named []int
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		if u.iface.value == name {
			return []int{i}
		}
		if u.description.value == name {
			named = append(named, i)
		}
	}
	return named
}

// linesOf returns the uplinks that an entry of a policy's list stands for.
func (d *draft) linesOf(one *wayDraft) []int {
	if one.uplink.given() {
		return d.linesNamed(one.uplink.value)
	}
	var lines []int
	form := d.isForm2015()
	for i := range d.uplinks.value {
		if group, ok := d.uplinks.value[i].groupIn(form); ok && int64(group) == one.group.value {
			lines = append(lines, i)
		}
	}
	return lines
}

func (w *walker) checkForwards(d *draft) {
	var earlier []*forwardDraft
	for i := range d.forwards.value {
		f := &d.forwards.value[i]
		for j := range f.uplinks.value {
			if name := &f.uplinks.value[j]; name.given() {
				w.line(d, name)
			}
		}
		if f.to.given() && f.to.value.Port() != 0 && f.ports.given() && (len(f.ports.value) != 1 || f.ports.value[0].value.First != f.ports.value[0].value.Last) {
			fail(w, &f.to, show(f.to.value.String()), "has a port, and more than one port leads there", "an address alone, so that the ports stay the same")
		}
		if d.deaf(f) {
			warn(w, &f.to, f.to.value.Addr().String(), "is an IPv6 address, and no uplink of this forward has IPv6: nothing comes in for it")
		}
		for _, other := range earlier {
			if d.collides(f, other) {
				fail(w, &f.ports, "", fmt.Sprintf("is forwarded already, on the same uplink and protocol, by %s (line %d)", other.section.path, other.section.at.line), "")
				break
			}
		}
		earlier = append(earlier, f)
	}
}

// deaf tells whether a forward leads to a host of a family that none of its lines has.
func (d *draft) deaf(f *forwardDraft) bool {
	if !f.to.given() || FamilyOf(f.to.value.Addr()) != IPv6 || !d.uplinks.usable() {
		return false
	}
	lines := d.forwardLines(f)
	return len(lines) > 0 && !slices.ContainsFunc(lines, func(i int) bool {
		on := &d.uplinks.value[i].inet6.on
		return on.value || on.state == bad
	})
}

// collides tells whether two forwards are for the same connections.
func (d *draft) collides(a, b *forwardDraft) bool {
	if !a.ports.given() || !b.ports.given() || !a.to.given() || !b.to.given() || FamilyOf(a.to.value.Addr()) != FamilyOf(b.to.value.Addr()) {
		return false
	}
	protocol := slices.ContainsFunc(a.protocol.value, func(p field[uint8]) bool {
		return slices.ContainsFunc(b.protocol.value, func(q field[uint8]) bool { return p.value == q.value })
	})
	port := slices.ContainsFunc(a.ports.value, func(p field[Ports]) bool {
		return slices.ContainsFunc(b.ports.value, func(q field[Ports]) bool {
			return p.value.First <= q.value.Last && q.value.First <= p.value.Last
		})
	})
	line := slices.ContainsFunc(d.forwardLines(a), func(i int) bool { return slices.Contains(d.forwardLines(b), i) })
	return protocol && port && line
}

// forwardLines returns the uplinks on which a forward holds.
func (d *draft) forwardLines(f *forwardDraft) []int {
	var lines []int
	for i := range d.uplinks.value {
		if len(f.uplinks.value) == 0 {
			lines = append(lines, i)
		}
	}
	for _, name := range f.uplinks.value {
		lines = append(lines, d.linesNamed(name.value)...)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
