package routing

import (
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// Member is an uplink that carries new connections, with its share.
type Member struct {
	Uplink int
	Weight int // what counts now, 1 to 256: the configured weight with what bad quality leaves of it
}

// Selection says which uplinks carry new outgoing connections of a family.
type Selection struct {
	Family  config.Family
	Members []Member // in the order of the configuration
	// Kept: no uplink is well; these are the last ones that were.
	Kept bool
	// Own carry what the router itself sends, where some lines are tunnels: the lines of the most preferred
	// group without these. Where none of them is well, they are the last ones that were.
	Own []Member
	// Lost are the lines that are down while others carry what the router itself sends; only with a managed
	// firewall, which translates what moves from them.
	Lost []int
	// Choices are those of the policies, in their order; they are never kept.
	Choices []Choice
}

// Has tells whether an uplink is selected.
func (s Selection) Has(uplink int) bool { return has(s.Members, uplink) }

func has(members []Member, uplink int) bool {
	return slices.ContainsFunc(members, func(m Member) bool { return m.Uplink == uplink })
}

// Equal tells whether the same uplinks are selected with the same shares.
func (s Selection) Equal(o Selection) bool {
	return s.Family == o.Family && slices.Equal(s.Members, o.Members) && slices.Equal(s.Own, o.Own) && slices.Equal(s.Lost, o.Lost) && slices.EqualFunc(s.Choices, o.Choices, Choice.Equal)
}

// Select chooses the members of the most preferred group in which an uplink is well, and their shares.
// reports are the judgements of the paths, by position; their State and WeightPercent count. previous is
// the selection before, or what Adopt found; nil: none.
//
// A path that is not judged yet keeps its place: it is selected if it was before, or if nothing was.
// Where no path is well, previous stays.
func Select(cfg *config.Config, f config.Family, paths []Path, reports []health.Report, previous *Selection) Selection {
	selection := Selection{Family: f, Choices: choices(cfg, f, paths, reports, previous)}
	if previous == nil {
		previous = &Selection{}
	}
	selection.Members = best(cfg, f, paths, reports, previous.Members, func(config.Uplink) bool { return true })
	if len(selection.Members) == 0 && len(previous.Members) > 0 {
		selection.Members, selection.Kept = previous.Members, true
	}
	selection.own(cfg, paths, reports, previous)
	return selection
}

// Idle tells whether the members, if any, are all dead lines: nobody is known to carry.
func (s Selection) Idle() bool { return s.Kept || len(s.Members) == 0 }

// best returns the members of the most preferred group in which an uplink is well, of those that fit.
func best(cfg *config.Config, f config.Family, paths []Path, reports []health.Report, previous []Member, fits func(config.Uplink) bool) []Member {
	first := 0
	var members []Member
	var room [config.MaxUplinks]int
	percents := room[:0] // of the members
	for i, p := range paths {
		u := cfg.Uplinks[p.Uplink]
		if p.Family != f || !u.Grouped || !fits(u) || !carries(p, reports[i], previous) {
			continue
		}
		switch {
		case len(members) == 0 || u.Group < first:
			first, members, percents = u.Group, append(members[:0], Member{u.Index, u.Weight}), append(percents[:0], reports[i].WeightPercent)
		case u.Group == first:
			members = append(members, Member{u.Index, u.Weight})
			percents = append(percents, reports[i].WeightPercent)
		}
	}
	reduce(members, percents)
	return members
}

// maxWeight is the largest weight of a next hop: the kernel keeps one less in a byte (rtnetlink(7),
// rtnh_hops).
const maxWeight = 256

// reduce takes from the weights of members what their percents say; 0 is 100. Where all keep the same
// part, nothing changes, since only shares count. The result is exact if whole numbers up to maxWeight
// can say it, and rounded if not.
func reduce(members []Member, percents []int) {
	if !slices.ContainsFunc(percents, func(percent int) bool { return of(percent) != of(percents[0]) }) {
		return
	}
	parts := make([]int, len(members))
	divisor, greatest := 0, 0
	for i, m := range members {
		parts[i] = m.Weight * of(percents[i])
		divisor, greatest = config.Divisor(divisor, parts[i]), max(greatest, parts[i])
	}
	for i, part := range parts {
		if greatest/divisor <= maxWeight {
			members[i].Weight = part / divisor
			continue
		}
		members[i].Weight = max(1, (part*maxWeight+greatest/2)/greatest)
	}
}

// of returns a percentage, where 0 is all.
func of(percent int) int {
	if percent <= 0 || percent > 100 {
		return 100
	}
	return percent
}

func carries(p Path, r health.Report, previous []Member) bool {
	switch {
	case !p.Usable() || r.State == health.Down:
		return false
	case r.State == health.Up:
		return true
	default:
		return len(previous) == 0 || has(previous, p.Uplink)
	}
}

// Adopt reads the selection that a previous run, or the original program, left in the kernel, with the
// shares that are there; nil if there is none of the configured uplinks in it. A route with a source is no selection: it is that of
// one line, from a time when the list was longer and this table was the line's.
func Adopt(cfg *config.Config, f config.Family, have State) *Selection {
	selection := Selection{Family: f, Choices: adoptChoices(cfg, f, have), Lost: adoptLost(cfg, f, have)}
	if selection.Members = adopt(cfg, f, have, cfg.Numbers.DefaultTable); len(selection.Members) == 0 {
		return nil
	}
	if cfg.Numbers.OwnTable != 0 {
		selection.Own = adopt(cfg, f, have, cfg.Numbers.OwnTable)
	}
	return &selection
}

// adopt reads the members from the default route of a table.
func adopt(cfg *config.Config, f config.Family, have State, table uint32) []Member {
	used := map[string]int{} // weights by interface
	for _, r := range have.Routes {
		if r.Family == f && r.Table == table && r.IsDefault() && !r.Source.IsValid() &&
			(r.Protocol == RouteProtocol || adoptableRoute(r)) {
			for _, h := range r.NextHops {
				used[h.Interface] = h.Weight
			}
		}
	}
	var members []Member
	for _, u := range cfg.Uplinks {
		if weight, ok := used[u.Interface]; u.Grouped && u.Has(f) && ok {
			members = append(members, Member{u.Index, weight})
		}
	}
	if len(members) == 1 { // alone it is written without its weight
		members[0].Weight = cfg.Uplinks[members[0].Uplink].Weight
	}
	return members
}

// Transfer returns a selection made under one configuration in terms of another: uplinks are found
// again by their interface, and those that are gone, or belong to no group any more, are left out.
func Transfer(s Selection, from, to *config.Config) Selection {
	moved := Selection{Family: s.Family, Kept: s.Kept, Choices: transferChoices(s, from, to)}
	same := func(u config.Uplink, uplink int) bool { return from.Uplinks[uplink].Interface == u.Interface }
	for _, u := range to.Uplinks {
		carried := func(m Member) bool { return u.Grouped && u.Has(s.Family) && same(u, m.Uplink) }
		if slices.ContainsFunc(s.Members, carried) {
			moved.Members = append(moved.Members, Member{u.Index, u.Weight})
		}
		if slices.ContainsFunc(s.Own, carried) && u.Tunnel != config.TunnelYes {
			moved.Own = append(moved.Own, Member{u.Index, u.Weight})
		}
		if slices.ContainsFunc(s.Lost, func(uplink int) bool { return same(u, uplink) }) {
			moved.Lost = append(moved.Lost, u.Index)
		}
	}
	return moved
}
