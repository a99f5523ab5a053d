// Package status is the picture of one cycle of the daemon, the changes between two pictures, and the
// words in which people are told.
package status

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// Uplink is one uplink in one address family, as it was in a cycle.
type Uplink struct {
	Name      string
	Interface string
	Index     int // of the interface; 0: it does not exist
	Family    config.Family
	Address   netip.Addr // invalid: none
	Gateway   netip.Addr // invalid: none, or a point-to-point link that needs none
	Health    health.Report
	// Verdict is the latest judgement that was not unknown; up where there was none yet, as an uplink
	// is used until it is found dead.
	Verdict health.State
	Routing bool // carries new outgoing connections
	Weight  int  // what counts now among those that do, after bad quality; 0: it does not
	Own     int  // the same among those that carry what the router itself sends, where some lines are tunnels

	Mode       Mode   // what people want of it, whatever its health
	Grouped    bool   // false: never used for new outgoing connections
	Group      int    // priority group; meaningful only if Grouped
	Configured int    // weight in the configuration
	Mark       uint32 // of its connections
	Metered    bool
	position   int   // in the snapshot
	Last       Event // the latest change of what people are told; zero: none since the start
}

// Snapshot is the picture of one cycle. It is never changed after it was made.
type Snapshot struct {
	Time    time.Time
	Uplinks []Uplink
	// Kept lists the families in which no uplink is well, so that the last selection stays.
	Kept     []config.Family
	Warnings []routing.Warning
	// Configuration says which file is in force, and what became of later ones.
	Configuration Configuration
}

// Take makes the snapshot of a cycle. reports belong to paths by position; previous is the snapshot
// before, nil at the start.
func Take(now time.Time, cfg *config.Config, paths []routing.Path, reports []health.Report,
	selections []routing.Selection, warnings []routing.Warning, previous *Snapshot,
) *Snapshot {
	s := &Snapshot{Time: now, Warnings: warnings}
	for i, p := range paths {
		u := cfg.Uplinks[p.Uplink]
		up := Uplink{
			Name: u.Name, Interface: u.Interface, Index: p.Index, Family: p.Family, position: i,
			Address: p.Source, Gateway: p.Gateway, Health: reports[i], Verdict: reports[i].State,
			Grouped: u.Grouped, Group: u.Group, Configured: u.Weight, Mark: u.Mark, Metered: u.Metered,
		}
		up.Own = ownWeight(p, selections)
		for _, sel := range selections {
			for _, m := range sel.Members {
				if sel.Family == p.Family && m.Uplink == p.Uplink {
					up.Routing, up.Weight = true, m.Weight
				}
			}
		}
		if up.Verdict == health.Unknown {
			up.Verdict = health.Up
			if before, ok := previous.find(up); ok {
				up.Verdict = before.Verdict
			}
		}
		up.Last = up.event(now, previous)
		s.Uplinks = append(s.Uplinks, up)
	}
	for _, sel := range selections {
		if sel.Kept {
			s.Kept = append(s.Kept, sel.Family)
		}
	}
	return s
}

// ownWeight is the weight of a path among those that carry what the router itself sends.
func ownWeight(p routing.Path, selections []routing.Selection) int {
	for _, s := range selections {
		for _, m := range s.Own {
			if s.Family == p.Family && m.Uplink == p.Uplink {
				return m.Weight
			}
		}
	}
	return 0
}

// find returns the same uplink and family in this snapshot; there is none in a nil one.
func (s *Snapshot) find(u Uplink) (Uplink, bool) {
	if s == nil {
		return Uplink{}, false
	}
	same := func(o Uplink) bool { return o.Interface == u.Interface && o.Family == u.Family }
	if u.position < len(s.Uplinks) && same(s.Uplinks[u.position]) {
		return s.Uplinks[u.position], true // as always, unless the configuration changed
	}
	i := slices.IndexFunc(s.Uplinks, same)
	if i < 0 {
		return Uplink{}, false
	}
	return s.Uplinks[i], true
}

// Kind is what changed.
type Kind uint8

// The kinds of changes, in the order in which they are told.
const (
	AddressChanged Kind = iota
	GatewayChanged
	HealthChanged
	RoutingChanged
	FlappingChanged
	WeightChanged
)

// Change is one difference between two snapshots.
type Change struct {
	Uplink   string // name
	Family   config.Family
	Kind     Kind
	Old, New string
	Reason   string // of a change of health or weight
}

// sameStory tells whether changes of a kind belong to the flapping of a line, which is told at its
// beginning and at its end.
func sameStory(k Kind) bool { return k == HealthChanged || k == RoutingChanged || k == WeightChanged }

// Changes returns what is different in next, and worth telling. Uplinks that only one of the two has are
// no change, nor is what a flapping line does while it flaps.
func Changes(previous, next *Snapshot) []Change {
	var changes []Change
	for _, u := range next.Uplinks {
		before, ok := previous.find(u)
		if !ok {
			continue
		}
		was, is := before.values(), u.values()
		for kind := range was {
			if !differ(was, is, Kind(kind)) || before.Health.Flapping && u.Health.Flapping && sameStory(Kind(kind)) {
				continue
			}
			c := Change{Uplink: u.Name, Family: u.Family, Kind: Kind(kind), Old: was[kind], New: is[kind]}
			if c.Kind == HealthChanged {
				c.Reason = u.Health.Reason
			}
			if c.Kind == WeightChanged {
				c.Reason = u.Health.Degraded
			}
			changes = append(changes, c)
		}
	}
	return changes
}

// values are what people are told of an uplink, by Kind.
type values [6]string

// differ tells whether two values of a kind are a change. A line that goes down or comes back has its
// whole weight, which is no news.
func differ(was, is values, k Kind) bool {
	return was[k] != is[k] && (k != WeightChanged || was[HealthChanged] == is[HealthChanged])
}

// values returns them.
func (u Uplink) values() values {
	role, temper := "standby", "steady"
	if u.Routing {
		role = "routing"
	}
	if u.Health.Flapping {
		temper = "flapping"
	}
	return values{word(u.Address), word(u.Gateway), u.Verdict.String(), role, temper, fmt.Sprintf("%d %%", u.percent())}
}

// percent is what the quality leaves of the weight.
func (u Uplink) percent() int {
	if u.Health.WeightPercent == 0 {
		return 100
	}
	return u.Health.WeightPercent
}

func word(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}

// Subject is the subject of the mail on a change, as it always was.
const Subject = "Uplinks status change"

// Message tells all uplinks in the words of the original program, with what is different from previous
// as "old --> new".
func Message(previous, next *Snapshot) string {
	var b strings.Builder
	for _, u := range next.Uplinks {
		before, ok := previous.find(u)
		if !ok {
			before = u
		}
		fmt.Fprintf(&b, "Uplink %s (%s)%s: %s\n", u.Name, u.Interface, routing.Suffix(u.Family), u.sentence(next.Time, before, next.total(u.Family)))
	}
	for _, f := range next.Kept {
		fmt.Fprintf(&b, "No uplink is well%s: the last default route stays until one is.\n", over(f))
	}
	return b.String()
}

// title names the uplink, and its family where it is not the usual one.
func (u Uplink) title() string { return u.Name + routing.Suffix(u.Family) }

// over names a family that is not the usual one.
func over(f config.Family) string {
	if f == config.IPv6 {
		return " over IPv6"
	}
	return ""
}

// total is the weight of all uplinks that carry new connections of a family.
func (s *Snapshot) total(f config.Family) int {
	sum := 0
	for _, u := range s.Uplinks {
		if u.Family == f {
			sum += u.Weight
		}
	}
	return sum
}

// sentence tells an uplink among others whose weights are total.
func (u Uplink) sentence(now time.Time, before Uplink, total int) string {
	was, is := before.values(), u.values()
	parts := make([]string, len(is))
	for kind, value := range is {
		if differ(was, is, Kind(kind)) {
			value = was[kind] + " --> " + value
		}
		parts[kind] = value
	}
	s := fmt.Sprintf("ip %s, gateway %s, %s, %s", parts[AddressChanged], parts[GatewayChanged], parts[HealthChanged], parts[RoutingChanged])
	if differ(was, is, WeightChanged) || u.percent() != 100 {
		s += ", weight " + parts[WeightChanged]
		if u.Routing && total > 0 {
			s += ": " + percent(float64(u.Weight)/float64(total)) + " of the new connections"
		}
	}
	if story := u.Health.Story(now); story != "" {
		return s + " (" + story + ")"
	}
	if was[FlappingChanged] != is[FlappingChanged] {
		return s + " (it flaps no longer)"
	}
	if u.Health.Degraded != "" {
		return s + " (" + u.Health.Degraded + ")"
	}
	if reason := u.Health.Reason; reason != "" && (u.Verdict == health.Down || was[HealthChanged] != is[HealthChanged]) {
		s += " (" + reason + ")"
	}
	return s
}

// Initial is the line at the start: which uplinks the default route leads to.
func Initial(s *Snapshot) string {
	var names []string
	for _, u := range s.Uplinks {
		if u.Routing {
			names = append(names, u.title())
		}
	}
	if len(names) == 0 {
		return "Initial default route uplinks: none can be used now"
	}
	return "Initial default route uplinks: " + strings.Join(names, ", ")
}

// Progress tells what moved in the judging since previous: more than Changes, for those who debug.
func Progress(previous, next *Snapshot) []string {
	var lines []string
	for _, u := range next.Uplinks {
		before, ok := previous.find(u)
		if !ok {
			continue
		}
		was, is := before.Health, u.Health
		switch {
		case was.State != is.State:
			lines = append(lines, fmt.Sprintf("%s: %s --> %s: %s", u.title(), was.State, is.State, is.Reason))
		case is.Doubt && !was.Doubt:
			lines = append(lines, u.title()+": in doubt, all targets are asked")
		case was.Doubt && !is.Doubt:
			lines = append(lines, u.title()+": no doubt any more, "+is.State.String())
		}
		if was.Degraded == "" && is.Degraded != "" {
			lines = append(lines, u.title()+": degraded: "+is.Degraded)
		} else if was.Degraded != "" && is.Degraded == "" {
			lines = append(lines, u.title()+": not degraded any more")
		}
		if before.Routing != u.Routing {
			lines = append(lines, u.title()+": "+before.values()[RoutingChanged]+" --> "+u.values()[RoutingChanged])
		}
	}
	return lines
}
