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

// reports are the judgements of the paths; an uplink that is forced up is so as long as the kernel can
// send over it.
func (l *loop) reports(now time.Time) []health.Report {
	reports := make([]health.Report, len(l.monitors))
	for i, m := range l.monitors {
		reports[i] = m.Report(now)
		forced := l.modes[l.paths[i].Interface] == status.ForcedUp && l.paths[i].Usable()
		if forced && reports[i].State != health.Up {
			reports[i].State, reports[i].Reason = health.Up, "forced up by hand: "+reports[i].Reason
		}
	}
	return reports
}
