package routing

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"ftr/internal/config"
)

// Plan returns the steps from have to want, in the order in which they must be applied: sysctls,
// routes, new rules, and only then what is to go, so that no packet meets a gap. It deletes what
// carries our tag and what the original program left at the places of cfg; the rest is not ours, and
// where it has the place of a route of ours, ours is not written (Inspect tells), unless ours was there
// before (have.Held).
//
// After a step that failed, the deletions behind it must wait for the next plan: they count on what was
// to be done before.
func Plan(cfg *config.Config, have, want State) []Step {
	var steps []Step
	values := have.sysctls()
	for _, s := range want.Sysctls {
		if old, ok := values[s.Key]; !ok || old != s.Value {
			steps = append(steps, Step{Op: Set, Sysctl: &s, Old: old})
		}
	}
	scene := newScene(cfg, have)
	for _, r := range want.Routes {
		if !slices.ContainsFunc(scene.at[placeOf(r)], r.Equal) && scene.free(r) {
			steps = append(steps, Step{Op: Replace, Route: &r})
		}
	}
	there := make(map[Rule]bool, len(have.Rules))
	for _, r := range have.Rules {
		there[r] = true
	}
	for _, r := range want.Rules {
		if !there[r] {
			steps = append(steps, Step{Op: Add, Rule: &r})
		}
	}
	return append(steps, leftovers(scene, have, want)...)
}

// leftovers are the deletions. All that is wanted exists by now, so a table that loses its routes is
// passed over.
//
// Tables that are no longer of the configuration are emptied before the rules that lead to them go:
// these rules are what shows the tables to whoever goes on after an interruption. Their last metric
// goes first, so that the unreachable route of a line does not become its only one. Rules go from the
// last to the first: at any time a packet meets the old rules that it met before, or else the new ones.
func leftovers(s *scene, have, want State) []Step {
	gone := unwantedRoutes(s, have, want)
	slices.SortStableFunc(gone, func(a, b Route) int { return cmp.Compare(b.Metric, a.Metric) })
	var steps []Step
	for _, r := range gone {
		if !s.tables[r.Table] {
			steps = append(steps, Step{Op: Delete, Route: &r})
		}
	}
	for _, r := range unwantedRules(s, have, want) {
		steps = append(steps, Step{Op: Delete, Rule: &r})
	}
	for _, r := range gone {
		if s.tables[r.Table] {
			steps = append(steps, Step{Op: Delete, Route: &r})
		}
	}
	return steps
}

func unwantedRules(s *scene, have, want State) []Rule {
	left := make(map[Rule]int, len(want.Rules))
	for _, r := range want.Rules {
		left[r]++
	}
	var gone []Rule
	for _, r := range have.Rules {
		if left[r] > 0 {
			left[r]-- // a second, equal one is too many
			continue
		}
		if r.Protocol == RuleProtocol && !r.Other || Adoptable(s.cfg, r) {
			gone = append(gone, r)
		}
	}
	slices.Reverse(gone)
	return gone
}

// unwantedRoutes are those of ours that are not at a wanted place, or behind or before the wanted
// route at the same place. What stands first there and differs was replaced already.
func unwantedRoutes(s *scene, have, want State) []Route {
	wanted := make(map[place]Route, len(want.Routes))
	for _, r := range want.Routes {
		wanted[placeOf(r)] = r
	}
	seen := make(map[place]bool, len(have.Routes))
	var gone []Route
	for _, r := range have.Routes {
		p := placeOf(r)
		first := !seen[p]
		seen[p] = true
		w, ok := wanted[p]
		replaced := ok && first && !slices.ContainsFunc(s.at[p], w.Equal)
		intruder := ok && first && s.held[p] && !r.Other // stands before ours, unless it is ours or replaced
		if (s.owns(r) || intruder) && !replaced && (!ok || !w.Equal(r)) {
			gone = append(gone, r)
		}
	}
	return gone
}

// place is what a route of the kernel is replaced by. Of several at one place, which "ip route append"
// and "prepend" make, only the first is used, and only the first is replaced.
type place struct {
	family      config.Family
	table       uint32
	destination netip.Prefix
	metric      uint32
}

func placeOf(r Route) place { return place{r.Family, r.Table, r.Destination, r.Metric} }

// Places are places of routes: each a family, a table, a destination and a metric.
type Places map[place]bool

// Has tells whether a route has one of the places.
func (p Places) Has(r Route) bool { return p[placeOf(r)] }

// Write adds the places that hold what is wanted, once the steps of Plan are done: not those that
// somebody else had before.
func (p Places) Write(cfg *config.Config, have, want State) {
	s := newScene(cfg, have)
	for _, r := range want.Routes {
		if s.free(r) {
			p[placeOf(r)] = true
		}
	}
}

// scene is what is there, prepared for questions.
type scene struct {
	cfg    *config.Config
	tables map[uint32]bool // of the configuration
	stale  map[uint32]bool // to which adopted rules lead
	at     map[place][]Route
	held   Places
}

func newScene(cfg *config.Config, have State) *scene {
	s := &scene{
		cfg:    cfg,
		tables: map[uint32]bool{cfg.Numbers.DefaultTable: true},
		stale:  map[uint32]bool{},
		at:     make(map[place][]Route, len(have.Routes)),
		held:   have.Held,
	}
	if cfg.Numbers.OwnTable != 0 {
		s.tables[cfg.Numbers.OwnTable] = true
	}
	for _, u := range cfg.Uplinks {
		s.tables[u.Table] = true
	}
	for _, steer := range cfg.Steers {
		s.tables[steer.Table] = true
	}
	for _, r := range have.Rules {
		if Adoptable(cfg, r) {
			s.stale[r.Table] = true
		}
	}
	for _, r := range have.Routes {
		s.at[placeOf(r)] = append(s.at[placeOf(r)], r)
	}
	return s
}

// owns tells whether a route may be replaced or deleted: it carries our tag, or it is the original
// program's in a table of ours.
func (s *scene) owns(r Route) bool {
	return r.Protocol == RouteProtocol || adoptableRoute(r) && (s.tables[r.Table] || s.stale[r.Table])
}

// free tells whether the place of a route is ours to write.
func (s *scene) free(r Route) bool {
	at := s.at[placeOf(r)]
	return len(at) == 0 || s.owns(at[0]) || s.held.Has(r)
}

// Protocols of what ip(8) makes without being told one, as the original program did: unspec for rules,
// boot for routes (rtnetlink(7), rtm_protocol). Network managers write others.
func untagged(protocol uint8) bool { return protocol == 0 || protocol == 3 }

// adoptableRoute tells whether a route has the shape of one that the original program made.
func adoptableRoute(r Route) bool {
	return untagged(r.Protocol) && !r.Other && r.Family == config.IPv4 && r.Type == Unicast && r.IsDefault() &&
		r.Metric == firstMetric(r.Family)
}

// Adoptable tells whether an untagged rule has exactly the shape and the place of one that the
// original program made for this base_priority, base_table and base_fwmark, whatever the number of
// uplinks n was then: from ADDRESS at place i to table i, the mark i at place n+i to table i, everything
// at place 2n to table n.
func Adoptable(cfg *config.Config, r Rule) bool {
	n := cfg.Numbers
	if r.narrow() || r.Family != config.IPv4 || r.SuppressPrefixLength != NoSuppress || !untagged(r.Protocol) ||
		r.Priority < n.BasePriority || r.Priority > lastPlace(n) || r.Table < n.BaseTable || kernelsOwn(r.Table) {
		return false
	}
	place, line := uint64(r.Priority-n.BasePriority), uint64(r.Table-n.BaseTable)
	from, marked := r.From.IsValid(), r.Mark != 0 || r.Mask != 0
	switch {
	case from:
		return !marked && r.From.IsSingleIP() && place == line && line < config.MaxUplinks
	case marked:
		// n is more than i, and the original knew no masks: all bits count.
		return r.Mask == math.MaxUint32 && uint64(r.Mark) == uint64(n.BaseMark)+line &&
			place > 2*line && place < line+config.MaxUplinks+1
	default:
		return line > 0 && place == 2*line && line <= config.MaxUplinks
	}
}

// CleanupPlan returns the steps that remove what carries our tag in owned, and put back the sysctls in
// saved, unless somebody gave them another value than ours since.
func CleanupPlan(owned State, saved []Sysctl) []Step {
	var steps []Step
	for _, r := range owned.Rules {
		if r.Protocol == RuleProtocol && !r.Other {
			steps = append(steps, Step{Op: Delete, Rule: &r})
		}
	}
	for _, r := range owned.Routes {
		if r.Protocol == RouteProtocol {
			steps = append(steps, Step{Op: Delete, Route: &r})
		}
	}
	values := owned.sysctls()
	for _, s := range saved {
		if now, ok := values[s.Key]; ok && now == ourValue(s.Key) && now != s.Value {
			steps = append(steps, Step{Op: Set, Sysctl: &s, Old: now})
		}
	}
	return steps
}
