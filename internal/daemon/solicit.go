package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"ftr/internal/routing"
)

// How often a line's routers are asked to advertise themselves, and how long it takes from one time to the
// next (RFC 4861 §6.3.7, §10: MAX_RTR_SOLICITATIONS, RTR_SOLICITATION_INTERVAL). The random delay before the
// first one is for hosts that come up together; these lines have been up.
const (
	maxSolicitations = 3
	solicitEvery     = 4 * time.Second
	solicitTimeout   = time.Second
)

// solicitation is how far the asking on a line has come.
type solicitation struct {
	index int // of the interface
	sent  int
	next  time.Time // when to ask again; not set: no more
}

// solicit asks the routers of lines that wait for an advertisement to send one now, beside the loop: the next
// one that comes by itself may be half an hour away.
func (l *loop) solicit(ctx context.Context, now time.Time) {
	maps.DeleteFunc(l.solicited, func(device string, _ solicitation) bool {
		return !slices.ContainsFunc(l.paths, func(p routing.Path) bool { return p.AwaitsRouter && p.Interface == device })
	})
	for _, p := range l.paths {
		if !p.AwaitsRouter {
			continue
		}
		s := l.solicited[p.Interface]
		if s.index != p.Index {
			s = solicitation{index: p.Index, next: now}
		}
		if !s.next.IsZero() && !now.Before(s.next) {
			l.askRouters(ctx, p, s.sent == 0)
			s.sent++
			if s.next = now.Add(solicitEvery); s.sent == maxSolicitations {
				s.next = time.Time{}
			}
		}
		l.solicited[p.Interface] = s
	}
}

func (l *loop) askRouters(ctx context.Context, p routing.Path, first bool) {
	name := l.Config.Uplinks[p.Uplink].Name + routing.Suffix(p.Family)
	if first {
		l.Logger.Info(name + ": no router has advertised itself: asking for one on " + p.Interface)
	}
	l.probes.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, solicitTimeout)
		defer cancel()
		if err := l.Kernel.Solicit(ctx, p.Interface); err != nil && ctx.Err() == nil {
			l.Logger.Debug(fmt.Sprintf("%s: %v", name, err))
		}
	})
}
