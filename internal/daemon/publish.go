package daemon

import (
	"slices"
	"time"

	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// stale tells whether a path is in another state, or for another reason, than the last snapshot says.
func (l *loop) stale() bool {
	return !slices.EqualFunc(l.published, l.reports, func(a, b health.Report) bool {
		return a.State == b.State && a.Doubt == b.Doubt && a.Reason == b.Reason && a.Degraded == b.Degraded
	})
}

// publish makes the snapshot of the turn and tells what changed since the last.
func (l *loop) publish(now time.Time) {
	if l.monitors == nil {
		return
	}
	l.publishAt, l.unpublished = now.Add(publishEvery), false
	l.published = append(l.published[:0], l.reports...)
	next := status.Take(now, l.Config, l.paths, l.published, l.selections, l.warned, l.snapshot)
	for i, u := range next.Uplinks {
		next.Uplinks[i].Mode = l.modes[u.Interface]
	}
	for _, line := range status.Progress(l.snapshot, next) {
		l.Logger.Debug(line)
	}
	if l.snapshot == nil {
		l.Logger.Info(status.Initial(next))
	} else if changes := status.Changes(l.snapshot, next); len(changes) > 0 {
		l.tell(now, changes, status.Message(l.snapshot, next))
	}
	l.snapshot = next
	l.Publish(next)
}

// tell logs and mails what changed.
func (l *loop) tell(now time.Time, changes []status.Change, body string) {
	l.Logger.Info(status.Subject + "\n" + body)
	l.Notify(now, status.Subject, body)
	if slices.ContainsFunc(changes, func(c status.Change) bool { return c.New == health.Up.String() }) {
		l.Restored()
	}
}

// warn logs what is new among the warnings about the host, those of the guard, and those about tables of
// neighbours. What keeps an uplink from being used is told with its health already.
func (l *loop) warn(warnings []routing.Warning) {
	warnings = slices.Concat(warnings, l.protection.warned, l.crowded)
	if l.snapshot != nil { // before, nothing else has told why an uplink is not used
		warnings = slices.DeleteFunc(warnings, func(w routing.Warning) bool { return w.Code == routing.UplinkUnusable })
	}
	for _, w := range warnings {
		if !slices.Contains(l.warned, w) {
			l.Logger.Warn(w.String())
		}
	}
	l.warned = warnings
}
