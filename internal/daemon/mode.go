package daemon

import (
	"time"

	"ftr/internal/health"
)

// Mode is what people want of an uplink, whatever its health.
type Mode uint8

// The modes.
const (
	Auto       Mode = iota // its health decides
	ForcedDown             // out of use, for maintenance
	ForcedUp               // in use as long as its link is usable, also if no target answers
)

// reports are the judgements of the paths, with what people want of them.
func (l *loop) reports(now time.Time) []health.Report {
	reports := make([]health.Report, len(l.monitors))
	for i, m := range l.monitors {
		r := m.Report(now)
		switch mode := l.modes[l.paths[i].Interface]; {
		case mode == ForcedDown:
			r.State, r.Reason = health.Down, "taken out of use by hand"
		case mode == ForcedUp && l.paths[i].Usable() && r.State != health.Up:
			r.State, r.Reason = health.Up, "forced up by hand: "+r.Reason
		}
		reports[i] = r
	}
	return reports
}
