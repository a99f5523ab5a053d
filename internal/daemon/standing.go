package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// What makes all lines, or all targets, fall silent takes the lines one after another, within moments.
// Which of them was the last to be found out says nothing: where a selection that stood for steadyAfter
// was left less than cascade before no line is well any more, that one stays.
const (
	steadyAfter = 10 * time.Second
	cascade     = 10 * time.Second
)

// standing knows since when a family's selection stands, and which one stood long before.
type standing struct {
	since time.Time
	last  routing.Selection
	left  time.Time // when last was left; zero: there is none
}

// standings are those of all families, and sources the addresses that paths had last.
type (
	standings map[config.Family]standing
	sources   map[place]netip.Addr
)

// keep returns the selection to be used, where health chose next.
func (l *loop) keep(now time.Time, next routing.Selection) routing.Selection {
	s := l.stands[next.Family]
	current := l.selection(next.Family)
	fallen := next.Kept && current != nil && !current.Kept
	if fallen && now.Sub(s.since) < steadyAfter && now.Sub(s.left) < cascade && l.usable(s.last) {
		choices := next.Choices
		next = s.last
		next.Kept, next.Choices = true, choices
	}
	if current == nil || !slices.Equal(current.Members, next.Members) {
		if current != nil && !current.Kept && now.Sub(s.since) >= steadyAfter {
			s.last, s.left = *current, now
		}
		s.since = now
		l.stands[next.Family] = s
	}
	return next
}

// usable tells whether the kernel can send over a member of a selection, and nobody has taken one out.
func (l *loop) usable(s routing.Selection) bool {
	usable := false
	for _, p := range l.paths {
		if p.Family != s.Family || !s.Has(p.Uplink) {
			continue
		}
		if l.modes[p.Interface] == status.ForcedDown {
			return false
		}
		usable = usable || p.Usable()
	}
	return usable
}

// renumbered releases the connections of paths that have another address than before, which would go on
// to be translated to the old one, and of lines that were removed, which have no way of their own any
// more: they would hang.
func (l *loop) renumbered(ctx context.Context) {
	if l.Flows == nil || !l.settled {
		return
	}
	for _, u := range l.gone {
		for _, f := range u.families {
			l.letGo(ctx, f, u.Uplink, "it is not in the configuration any more")
		}
	}
	l.gone = nil
	for _, p := range l.paths {
		line := place{p.Interface, p.Family}
		before, known := l.sources[line]
		if !p.Source.IsValid() || known && before == p.Source {
			continue
		}
		l.sources[line] = p.Source
		if known {
			l.letGo(ctx, p.Family, l.Config.Uplinks[p.Uplink], "it has another address")
		}
	}
}
