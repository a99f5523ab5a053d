package routing

import (
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// Member is an uplink that carries new connections, with its share.
type Member struct {
	Uplink int
	Weight int
}

// Selection says which uplinks carry new outgoing connections of a family.
type Selection struct {
	Family  config.Family
	Members []Member // in the order of the configuration
	// Kept: no uplink is well; these are the last ones that were.
	Kept bool
}

// Has tells whether an uplink is selected.
func (s Selection) Has(uplink int) bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Uplink == uplink })
}

// Equal tells whether the same uplinks are selected with the same shares.
func (s Selection) Equal(o Selection) bool {
	return s.Family == o.Family && slices.Equal(s.Members, o.Members)
}

// Select chooses the members of the most preferred group in which an uplink is well. states are the
// judgements of the paths, by position. previous is the selection before, or what Adopt found; nil: none.
//
// A path that is not judged yet keeps its place: it is selected if it was before, or if nothing was.
// Where no path is well, previous stays.
func Select(cfg *config.Config, f config.Family, paths []Path, states []health.State, previous *Selection) Selection {
	selection := Selection{Family: f}
	best := 0
	for i, p := range paths {
		u := cfg.Uplinks[p.Uplink]
		if p.Family != f || !u.Grouped || !carries(p, states[i], previous) {
			continue
		}
		switch {
		case len(selection.Members) == 0 || u.Group < best:
			best, selection.Members = u.Group, []Member{{u.Index, u.Weight}}
		case u.Group == best:
			selection.Members = append(selection.Members, Member{u.Index, u.Weight})
		}
	}
	if len(selection.Members) == 0 && previous != nil && len(previous.Members) > 0 {
		kept := *previous
		kept.Kept = true
		return kept
	}
	return selection
}

func carries(p Path, state health.State, previous *Selection) bool {
	switch {
	case !p.Usable() || state == health.Down:
		return false
	case state == health.Up:
		return true
	default:
		return previous == nil || len(previous.Members) == 0 || previous.Has(p.Uplink)
	}
}

// Adopt reads the selection that a previous run, or the original program, left in the kernel; nil if
// there is none of the configured uplinks in it. A route with a source is no selection: it is that of
// one line, from a time when the list was longer and this table was the line's.
func Adopt(cfg *config.Config, f config.Family, have State) *Selection {
	used := map[string]bool{} // interfaces
	for _, r := range have.Routes {
		if r.Family == f && r.Table == cfg.Numbers.DefaultTable && r.IsDefault() && !r.Source.IsValid() {
			for _, h := range r.NextHops {
				used[h.Interface] = true
			}
		}
	}
	selection := Selection{Family: f}
	for _, u := range cfg.Uplinks {
		if u.Grouped && used[u.Interface] {
			selection.Members = append(selection.Members, Member{u.Index, u.Weight})
		}
	}
	if len(selection.Members) == 0 {
		return nil
	}
	return &selection
}

// Transfer returns a selection made under one configuration in terms of another: uplinks are found
// again by their interface, and those that are gone, or belong to no group any more, are left out.
func Transfer(s Selection, from, to *config.Config) Selection {
	moved := Selection{Family: s.Family, Kept: s.Kept}
	for _, u := range to.Uplinks {
		if u.Grouped && slices.ContainsFunc(s.Members, func(m Member) bool { return from.Uplinks[m.Uplink].Interface == u.Interface }) {
			moved.Members = append(moved.Members, Member{u.Index, u.Weight})
		}
	}
	return moved
}
