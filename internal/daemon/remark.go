package daemon

import (
	"fmt"
	"slices"

	"ftr/internal/config"
)

// remarked names the uplinks of the next configuration that have another mark than before, since marks
// go by the place in the list. The firewall rules that are loaded still set the old ones, which are
// another line's now.
func remarked(before, next *config.Config) []string {
	var changed []string
	for _, u := range next.Uplinks {
		i := slices.IndexFunc(before.Uplinks, func(o config.Uplink) bool { return o.Interface == u.Interface })
		if i >= 0 && before.Uplinks[i].Mark != u.Mark {
			changed = append(changed, fmt.Sprintf("%s (%d instead of %d)", u.Name, u.Mark, before.Uplinks[i].Mark))
		}
	}
	return changed
}

// departed is an uplink that is not in the configuration any more, for some families.
type departed struct {
	config.Uplink
	families []config.Family
}

// removed returns the uplinks that the next configuration does not have, or has not for all families, where no
// other one has their mark: with a managed firewall, the guard sees to those.
func removed(before, next *config.Config) (gone []departed) {
	for _, u := range before.Uplinks {
		d := departed{Uplink: u}
		for _, f := range u.Families() {
			if !slices.ContainsFunc(next.Uplinks, func(o config.Uplink) bool {
				return o.Interface == u.Interface && o.Has(f) || o.Interface != u.Interface && o.Mark == u.Mark
			}) {
				d.families = append(d.families, f)
			}
		}
		if len(d.families) > 0 {
			gone = append(gone, d)
		}
	}
	return gone
}

// marks are those of uplinks by family and interface.
type marks map[config.Family]map[string]uint32

// marksOf returns the marks that a configuration gives.
func marksOf(cfg *config.Config) marks {
	all := marks{}
	for _, u := range cfg.Uplinks {
		for _, f := range u.Families() {
			all.set(f, u.Interface, u.Mark)
		}
	}
	return all
}

// marksKnown returns those that uplinks had before a restart.
func marksKnown(known []Known) marks {
	all := marks{}
	for _, k := range known {
		if k.Mark != 0 {
			all.set(k.Family, k.Interface, k.Mark)
		}
	}
	return all
}

func (m marks) set(f config.Family, device string, mark uint32) {
	if m[f] == nil {
		m[f] = map[string]uint32{}
	}
	m[f][device] = mark
}

// moved says what became of marks of a family, where others are wanted now: 0 for those whose uplink is gone.
func (m marks) moved(f config.Family, want marks) map[uint32]uint32 {
	var moved map[uint32]uint32
	for device, old := range m[f] {
		if now := want[f][device]; now != old {
			if moved == nil {
				moved = map[uint32]uint32{}
			}
			moved[old] = now
		}
	}
	return moved
}
