package daemon

import (
	"context"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

const (
	// neighboursEvery is the time from one look to the next at the kernel's tables of neighbours.
	neighboursEvery = 10 * time.Second
	// crowdedLasts is for how long a table is called full after it last was: one that is at its limit is
	// full again and again, with pauses.
	crowdedLasts = 10 * time.Minute
)

// crowd is how full the kernel's table of neighbours of a family is. The zero value has not looked yet.
type crowd struct {
	looked bool
	table  routing.NeighbourTable
	full   time.Time // when it last was; zero: never
}

// see takes a look at the table into account.
func (c *crowd) see(now time.Time, t routing.NeighbourTable) {
	switch {
	case c.looked && t.Full > c.table.Full:
		c.full = now
	case t.Limit > c.table.Limit:
		c.full = time.Time{} // somebody has seen to it
	}
	c.looked, c.table = true, t
}

// is tells whether the table is called full.
func (c *crowd) is(now time.Time) bool { return !c.full.IsZero() && now.Sub(c.full) < crowdedLasts }

// watchNeighbours tells the loop whether the kernel's tables of neighbours are full, until ctx ends: then packets
// are dropped without a word, and nobody finds out why healthy lines are silent.
func (d *Daemon) watchNeighbours(ctx context.Context) error {
	crowds := map[config.Family]*crowd{config.IPv4: {}, config.IPv6: {}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var told []routing.Warning
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		var ws []routing.Warning
		for _, f := range []config.Family{config.IPv4, config.IPv6} {
			c, now := crowds[f], time.Now()
			if t, err := d.opts.Kernel.NeighbourTable(f); err == nil { // a kernel without IPv6 has no such table
				c.see(now, t)
			}
			if c.is(now) {
				ws = append(ws, routing.NeighboursFull(f, c.table.Limit))
			}
		}
		if !slices.Equal(ws, told) {
			told = ws
			select {
			case d.crowded <- ws:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		timer.Reset(tick(time.Now(), neighboursEvery))
	}
}

// crowd takes what is said of the tables of neighbours.
func (l *loop) crowd(ws []routing.Warning) {
	for _, w := range l.crowded {
		if !slices.Contains(ws, w) {
			l.Logger.Info(w.Subject + ": the kernel's table of neighbours has room again")
		}
	}
	l.crowded = ws
	l.warn(l.inspected)
	l.publishAt = time.Time{}
}
