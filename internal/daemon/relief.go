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
// their family is known to carry, and tells whether there were any. A line that may fail again is worth more than
// dead ones.
func (l *loop) relieve(now time.Time, f config.Family) bool {
	var longest time.Duration
	for i, p := range l.paths {
		if l.mayCarry(p, f) {
			longest = max(longest, l.monitors[i].Held(now))
		}
	}
	if longest < reliefAfter {
		return false
	}
	for i, p := range l.paths {
		if l.mayCarry(p, f) {
			l.monitors[i].Relieve(now)
		}
	}
	l.assess(now)
	return true
}

// mayCarry tells whether a path is one of a family by which new connections may leave.
func (l *loop) mayCarry(p routing.Path, f config.Family) bool {
	return p.Family == f && l.Config.Uplinks[p.Uplink].Grouped
}
