package daemon

import (
	"time"

	"ftr/internal/health"
	"ftr/internal/status"
)

// byHand is who takes a line out, in messages.
const byHand = "hand"

// setModes takes uplinks out of use or puts them back, as people want them.
func (l *loop) setModes(now time.Time, modes map[string]status.Mode) {
	l.modes = modes
	for i, m := range l.monitors {
		m.SetAdmin(now, modes[l.paths[i].Interface] == status.ForcedDown, byHand)
	}
}

// assess takes the judgements of the paths as they are now; an uplink that is forced up is so as long as the
// kernel can send over it.
func (l *loop) assess(now time.Time) {
	l.reports = l.reports[:0]
	for i, m := range l.monitors {
		r := m.Report(now)
		forced := l.modes[l.paths[i].Interface] == status.ForcedUp && l.paths[i].Usable()
		if forced && r.State != health.Up {
			r.State, r.Reason = health.Up, "forced up by hand: "+r.Reason
		}
		l.reports = append(l.reports, r)
	}
}
