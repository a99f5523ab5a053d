package health

import "time"

// waking is the time from when a path was last found Down to the first answer since. What is asked in it may
// wait for more than the path: the host has to find the gateway's link-layer address again (RFC 826; RFC 4861,
// section 7.2.2), which takes a second where its first question is lost. The answers show that the path lives,
// but they measure nothing. The zero value is that of a path that was never Down.
type waking struct{ from, until time.Time }

// begin notes that the path is Down.
func (w *waking) begin(now time.Time) { *w = waking{from: now} }

// heard notes an answer to what was sent then, and tells whether that was asked while the path woke up.
func (w *waking) heard(now, sent time.Time) bool {
	if w.from.IsZero() || sent.Before(w.from) {
		return false
	}
	if w.until.IsZero() {
		w.until = now
	}
	return sent.Before(w.until)
}
