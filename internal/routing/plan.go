package routing

import (
	"slices"

	"ftr/internal/config"
)

// Protocols of routes and rules that people and scripts make with ip(8), as the original program did:
// unspec, boot, static (rtnetlink(7), rtm_protocol).
var manual = []uint8{0, 3, 4}

// Plan returns the steps from have to want, in the order in which they must be applied: sysctls,
// routes, new rules, and only then what is to go, so that no packet meets a gap. It deletes what
// carries our tag and what the original program left at the places of cfg; the rest is not ours.
func Plan(cfg *config.Config, have, want State) []Step {
	var steps []Step
	for _, s := range want.Sysctls {
		if old, ok := have.sysctl(s.Key); !ok || old != s.Value {
			steps = append(steps, Step{Op: Set, Sysctl: &s, Old: old})
		}
	}
	for _, r := range want.Routes {
		if !slices.ContainsFunc(have.Routes, r.Equal) {
			steps = append(steps, Step{Op: Replace, Route: &r})
		}
	}
	for _, r := range want.Rules {
		if !slices.Contains(have.Rules, r) {
			steps = append(steps, Step{Op: Add, Rule: &r})
		}
	}
	return append(steps, leftovers(cfg, have, want)...)
}

// leftovers are the deletions: rules first, so that nothing leads to a table that is being emptied.
func leftovers(cfg *config.Config, have, want State) []Step {
	var steps []Step
	left := slices.Clone(want.Rules)
	stale := map[uint32]bool{} // tables that adopted rules lead to
	for _, r := range have.Rules {
		adopted := r.Protocol != RuleProtocol && Adoptable(cfg, r)
		stale[r.Table] = stale[r.Table] || adopted
		if i := slices.Index(left, r); i >= 0 {
			left = slices.Delete(left, i, i+1) // a second, equal one is too many
			continue
		}
		if r.Protocol == RuleProtocol && !r.Other || adopted {
			steps = append(steps, Step{Op: Delete, Rule: &r})
		}
	}
	for _, u := range cfg.Uplinks {
		stale[u.Table] = true
	}
	stale[cfg.Numbers.DefaultTable] = true
	for _, r := range have.Routes {
		adopted := stale[r.Table] && r.IsDefault() && r.Metric == firstMetric && slices.Contains(manual, r.Protocol)
		if (r.Protocol == RouteProtocol || adopted) && !wanted(want, r) {
			steps = append(steps, Step{Op: Delete, Route: &r})
		}
	}
	return steps
}

// wanted tells whether a route at this place (family, table, destination, metric) is wanted, as it is
// or changed: the kernel keeps one route a place, and replaces it.
func wanted(want State, r Route) bool {
	return slices.ContainsFunc(want.Routes, func(w Route) bool {
		return w.Family == r.Family && w.Table == r.Table && w.Destination == r.Destination && w.Metric == r.Metric
	})
}

// Adoptable tells whether an untagged rule has exactly the shape and the place of one that the
// original program made for this base_priority, base_table and base_fwmark, whatever the number of
// uplinks was then.
func Adoptable(cfg *config.Config, r Rule) bool {
	n := cfg.Numbers
	if r.Other || r.SuppressPrefixLength != NoSuppress || !slices.Contains(manual, r.Protocol) ||
		r.Priority < n.BasePriority || r.Priority > lastPlace(n) || r.Table < n.BaseTable {
		return false
	}
	place, line := r.Priority-n.BasePriority, r.Table-n.BaseTable
	if line > config.MaxUplinks {
		return false
	}
	switch {
	case r.From.IsValid() && r.Mask == 0:
		return r.From.IsSingleIP() && place == line
	case r.Mask != 0 && !r.From.IsValid():
		return r.Mark == n.BaseMark+line && place > line
	default:
		return !r.From.IsValid() && line > 0 && place == 2*line
	}
}

// CleanupPlan returns the steps that remove everything in owned, which carries our tag, and put back
// the sysctls in saved, unless somebody gave them another value than ours since.
func CleanupPlan(owned State, saved []Sysctl) []Step {
	var steps []Step
	for _, r := range owned.Rules {
		steps = append(steps, Step{Op: Delete, Rule: &r})
	}
	for _, r := range owned.Routes {
		steps = append(steps, Step{Op: Delete, Route: &r})
	}
	for _, s := range saved {
		if now, ok := owned.sysctl(s.Key); ok && now == ourValue(s.Key) && now != s.Value {
			steps = append(steps, Step{Op: Set, Sysctl: &s, Old: now})
		}
	}
	return steps
}
