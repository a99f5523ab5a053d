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

// removed returns the uplinks that the next configuration does not have, where no other has their mark.
func removed(before, next *config.Config) []config.Uplink {
	return slices.DeleteFunc(slices.Clone(before.Uplinks), func(u config.Uplink) bool {
		return slices.ContainsFunc(next.Uplinks, func(o config.Uplink) bool { return o.Interface == u.Interface || o.Mark == u.Mark })
	})
}
