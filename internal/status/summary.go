package status

import (
	"fmt"
	"slices"
	"strings"

	"ftr/internal/health"
)

// shownProblems are how many problems a summary names before it only counts them.
const shownProblems = 4

// judge fills in the state of all together. What people took out of use by hand is no problem: they
// know, and monitoring shall not shout through every maintenance.
func (v *View) judge(s *Snapshot) {
	v.Problems = []string{}
	for _, u := range v.Uplinks {
		if text := v.problem(u); text != "" {
			v.Problems = append(v.Problems, v.label(u)+" "+text)
		}
	}
	if v.Configuration.Error != nil {
		v.Problems = append(v.Problems, "the configuration was not reloaded")
	}
	if n := len(v.Warnings); n > 0 {
		v.Problems = append(v.Problems, count(n, "warning"))
	}
	switch {
	case v.failed(s):
		v.State = Failed
		v.Summary = "No uplink is known to work."
	case len(v.Problems) > 0:
		v.State = Degraded
		v.Summary = sentence(v.Problems)
	default:
		v.State = OK
		v.Summary = v.praise()
	}
}

// problem says what is not as it should be with an uplink; empty: nothing.
func (v *View) problem(u UplinkView) string {
	switch {
	case u.Mode == ForcedDown:
		return ""
	case u.Mode == ForcedUp:
		return "is forced up"
	case u.State == health.Down.String() && u.HeldUntil != nil:
		return "is held back"
	case u.State == health.Down.String():
		return "is down"
	case u.State == health.Unknown.String():
		return "is not judged yet"
	case u.Flapping:
		return "is flapping"
	case u.Degraded != "":
		return "is degraded"
	}
	return ""
}

// failed tells whether new outgoing connections have no uplink that may work, in no family.
func (v *View) failed(s *Snapshot) bool {
	wanted := slices.ContainsFunc(s.Uplinks, func(u Uplink) bool { return u.Grouped })
	works := slices.ContainsFunc(s.Uplinks, func(u Uplink) bool {
		carries := u.Routing || !wanted // where none may carry, being well is all that can be asked for
		return carries && !slices.Contains(s.Kept, u.Family) && u.Health.State != health.Down
	})
	return !works
}

// label names an uplink in a sentence: with its interface where the name does not say it, and with its
// family where there are several.
func (v *View) label(u UplinkView) string {
	text := u.Name
	if u.Name != u.Interface {
		text += " (" + u.Interface + ")"
	}
	if len(v.Selections) > 1 {
		text += " " + u.Family
	}
	return text
}

// praise says that all is well.
func (v *View) praise() string {
	all, away := map[string]bool{}, map[string]bool{} // by interface: an uplink has one or two families
	for _, u := range v.Uplinks {
		all[u.Interface] = true
		if u.Mode == ForcedDown {
			away[u.Interface] = true
		}
	}
	out := len(away)
	n := len(all) - out
	text := fmt.Sprintf("All %d uplinks are well", n)
	if n == 1 {
		text = "The only uplink is well"
	}
	if out > 0 {
		text = fmt.Sprintf("%s well, %d out of use by hand", count(n, "uplink"), out)
	}
	return text + "."
}

// sentence joins problems.
func sentence(problems []string) string {
	shown := problems
	if len(shown) > shownProblems {
		shown = append(slices.Clone(shown[:shownProblems-1]), fmt.Sprintf("%d more problems", len(problems)-shownProblems+1))
	}
	return strings.Join(shown, "; ") + "."
}

// sentence says which uplinks take new connections; example "New connections use: Fibre 75 %, Cable 25 %."
func (s SelectionView) sentence(several bool) string {
	what := "New connections"
	if several {
		what = "New " + s.Family + " connections"
	}
	if len(s.Members) == 0 {
		return what + " use no uplink: none can be used."
	}
	text := shares(s.Members)
	if len(s.Own) > 0 {
		text += " The router's own use: " + shares(s.Own)
	}
	if s.Kept {
		return "No uplink is well. " + what + " stay with the last ones that were: " + text
	}
	return what + " use: " + text
}

// shares names uplinks with their parts; example "Fibre 75 %, Cable 25 %."
func shares(members []MemberView) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = m.Name + " " + percent(m.Share)
	}
	return strings.Join(parts, ", ") + "."
}

// percent formats a share for people: whole percents, except for small ones that would look like none.
func percent(x float64) string {
	if x > 0 && x < 0.01 {
		return fmt.Sprintf("%.1f %%", 100*x)
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}
