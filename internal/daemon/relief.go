package daemon

import (
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// reliefAfter is how long a line must be well again before it is put back early where no other one is well: lines
// that fell for the same cause come back within it, together, so that none of their connections is released.
const reliefAfter = time.Second

// relieve puts lines back that are well again and only held back for having failed often, where nobody else of
// their family is known to carry. A line that may fail again is worth more than dead ones.
func (l *loop) relieve(now time.Time) {
	relieved := false
	for _, f := range l.Config.Families() {
		if l.heldFor(now, f) < reliefAfter || !routing.Select(l.Config, f, l.paths, l.reports, l.selection(f)).Idle() {
			continue
		}
		for i, p := range l.paths {
			if p.Family == f && l.Config.Uplinks[p.Uplink].Grouped {
				l.monitors[i].Relieve(now)
			}
		}
		relieved = true
	}
	if relieved {
		l.assess(now)
	}
}

// heldFor is for how long that line has been well which is held back for longest.
func (l *loop) heldFor(now time.Time, f config.Family) (longest time.Duration) {
	for i, p := range l.paths {
		if p.Family == f && l.Config.Uplinks[p.Uplink].Grouped {
			longest = max(longest, l.monitors[i].Held(now))
		}
	}
	return longest
}
