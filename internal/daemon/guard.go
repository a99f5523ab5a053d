package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// Times of the guard.
const (
	// guardBreath is the shortest time between two looks at the table, so that a program that fills sets
	// costs little. The first after a quiet time has no wait.
	guardBreath = 100 * time.Millisecond
	// guardResync is how often the table is looked at without being asked to.
	guardResync = time.Minute
	// guardRetry is the pause after the table could not be set.
	guardRetry = time.Second
)

// Firewall keeps the nft table of a managed firewall.
type Firewall interface {
	// SetFirewall makes the table what is wanted, and returns what it was otherwise.
	SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error)
	// HoldTranslation has connections translated while the table is away, until RemoveFirewall or the end. It is
	// called again now and then.
	HoldTranslation(ctx context.Context) error
	// RemoveFirewall removes it, and tells whether there was one.
	RemoveFirewall(ctx context.Context) (removed bool, err error)
	// MarkConnections gives connections the marks of the lines that they belong to.
	MarkConnections(ctx context.Context, family config.Family, to firewall.Marking) (done firewall.Remarked, err error)
}

// guarded is what the guard keeps.
type guarded struct {
	table    firewall.Table                          // the zero Table: there is to be none
	lines    map[config.Family]map[netip.Addr]uint32 // marks by the addresses of lines
	networks map[netip.Prefix]uint32                 // marks by what is routed to lines
	marks    marks
	mask     uint32
	// translated are the prefixes that addresses of hosts inside are translated to, by interface.
	translated map[string]netip.Prefix
	number     int // counts what the loop has asked for
}

// verdict is what the guard tells the loop.
type verdict struct {
	warnings []routing.Warning
	done     int // the number of what is in force; 0: nothing yet
}

// guard keeps the firewall table until ctx ends. It is beside the loop, since nft(8) takes its time.
type guard struct {
	*Daemon
	want    guarded
	idle    bool                    // there is nothing to keep
	agreed  firewall.Table          // what the table was when it last was as wanted
	once    bool                    // it was as wanted before
	found   firewall.Drift          // by attempts that failed since
	kept    map[string]netip.Prefix // that it translated to then
	marked  marks                   // that connections have
	mask    uint32                  // of these
	due     bool                    // connections need marks
	again   bool                    // those that they have may be another file's
	repairs []time.Time             // of what others did
	fight   bool
	held    time.Time // when connections were last made to live on without the table
	failure string
	// unmarked says why connections could not be given marks.
	unmarked string
	checked  time.Time
	done     int // the number of what is in force
}

// run takes from the loop what is wanted, and looks whenever something was changed.
func (g *guard) run(ctx context.Context) error {
	timer := time.NewTimer(guardResync)
	defer timer.Stop()
	g.idle = true
	for {
		pause := time.Duration(0)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case want := <-g.guarded:
			g.want, g.idle = want, false
		case <-g.changed:
			pause = time.Until(g.next())
		case <-timer.C:
		}
		if pause <= 0 {
			pause = g.keep(ctx, time.Now())
		}
		timer.Reset(pause)
	}
}

// next is when the table may be looked at next after a change.
func (g *guard) next() time.Time {
	if g.fight {
		return g.checked.Add(truce)
	}
	return g.checked.Add(guardBreath)
}

// keep looks at the table, mends it, and returns the pause until the next look.
func (g *guard) keep(ctx context.Context, now time.Time) time.Duration {
	if g.idle {
		return guardResync
	}
	g.checked = now
	var err error
	if len(g.want.table.Objects) == 0 {
		err = g.remove(ctx)
	} else {
		err = g.set(ctx, now)
	}
	if ctx.Err() != nil {
		return guardResync
	}
	pause := guardResync
	if err != nil || g.due {
		pause = guardRetry
	}
	if err == nil {
		g.done = g.want.number
	}
	text := words(err)
	if text == "" && g.failure != "" {
		g.opts.Logger.Info("the firewall is as configured again")
	}
	g.failure = text
	g.report(ctx)
	return pause
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// remove takes the table away, once.
func (g *guard) remove(ctx context.Context) error {
	removed, err := g.opts.Firewall.RemoveFirewall(ctx)
	if err != nil {
		return err
	}
	if removed {
		g.opts.Logger.Info("the firewall table was removed: the firewall is manual")
	}
	*g = guard{Daemon: g.Daemon, want: g.want, idle: true, checked: g.checked, failure: g.failure, done: g.done}
	return nil
}

// set makes the table what is wanted, and says what others did to it.
func (g *guard) set(ctx context.Context, now time.Time) error {
	drift, err := g.opts.Firewall.SetFirewall(ctx, g.want.table)
	g.found = g.found.Join(drift)
	if err != nil {
		return err
	}
	drift, g.found = g.found, firewall.Drift{}
	others := g.once && g.agreed.Equal(g.want.table)
	switch {
	case drift.None():
	case others:
		g.repaired(now, drift)
	case drift.Missing:
		g.opts.Logger.Info("the firewall table is set up")
	default:
		g.opts.Logger.Info("the firewall table is brought up to date: " + drift.String())
	}
	g.owe(drift, others)
	g.settle(now)
	g.agreed, g.once = g.want.table, true
	g.hold(ctx, now)
	if g.due {
		g.mark(ctx)
	}
	if !g.due {
		g.marked, g.mask = g.want.marks, g.want.mask
		g.retranslate(ctx)
	}
	return nil
}

// owe decides whether connections need marks, after the table was found otherwise than wanted.
func (g *guard) owe(drift firewall.Drift, others bool) {
	if !g.once && !drift.None() || g.mask != 0 && g.mask != g.want.mask {
		g.again = true // an earlier run may have had another file, with the lines at other places
	}
	moved := false
	for f := range g.marked {
		moved = moved || len(g.moved(f)) > 0
	}
	g.due = g.due || g.again || moved || drift.Missing || others && !drift.None()
}

// moved says what became of the marks that connections of a family have.
func (g *guard) moved(f config.Family) map[uint32]uint32 {
	if g.mask != 0 && g.mask != g.want.mask {
		return nil // they are in other bits
	}
	return g.marked.moved(f, g.want.marks)
}

// hold has connections live on if another program removes the table.
func (g *guard) hold(ctx context.Context, now time.Time) {
	if now.Sub(g.held) < guardResync/2 {
		return
	}
	g.held = now
	if err := g.opts.Firewall.HoldTranslation(ctx); err != nil && ctx.Err() == nil {
		g.opts.Logger.Debug("connections break if another program removes the firewall table", "error", err)
	}
}

// repaired says what was put back, and notices a fight.
func (g *guard) repaired(now time.Time, drift firewall.Drift) {
	g.repairs = append(g.repairs, now)
	g.opts.Logger.Warn("the firewall table was changed by another program (" + drift.String() + "): put back")
}

// settle forgets old repairs, and decides whether there is a fight.
func (g *guard) settle(now time.Time) {
	g.repairs = slices.DeleteFunc(g.repairs, func(at time.Time) bool { return now.Sub(at) > fightWindow+truce })
	recent := 0
	for _, at := range g.repairs {
		if now.Sub(at) <= fightWindow {
			recent++
		}
	}
	// After a truce, one more repair is enough to know that it goes on.
	g.fight = recent >= fightCount || g.fight && len(g.repairs) > 0
}

// retranslate releases the connections of lines that have another prefix than before: they would be
// translated to the old one for as long as they send.
func (g *guard) retranslate(ctx context.Context) {
	for device, before := range g.kept {
		mark, there := g.want.marks[config.IPv6][device]
		if g.want.translated[device] == before || !there || g.opts.Flows == nil {
			continue
		}
		n, err := g.opts.Flows.Release(ctx, config.IPv6, mark, g.want.mask)
		if err != nil && ctx.Err() == nil {
			g.opts.Logger.Warn("the connections of a line that has another prefix could not be released: they stay until they end", "prefix", before, "error", err)
		} else if n > 0 {
			g.opts.Logger.Info("connections were released: their line has another prefix", "before", before, "connections", n)
		}
	}
	g.kept = g.want.translated
}

// mark gives connections that were there before the table, that began while others had changed it, or whose line
// has another mark now, the marks that it would have given them.
func (g *guard) mark(ctx context.Context) {
	var errs []error
	var all firewall.Remarked
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		to := firewall.Marking{Mask: g.want.mask, Lines: g.want.lines[f], Moved: g.moved(f), Again: g.again}
		if f == config.IPv6 {
			to.Networks = g.want.networks
		}
		if len(to.Lines) == 0 && len(to.Moved) == 0 {
			continue
		}
		done, err := g.opts.Firewall.MarkConnections(ctx, f, to)
		all.Marked, all.Forgotten = all.Marked+done.Marked, all.Forgotten+done.Forgotten
		errs = append(errs, err)
	}
	if all.Marked > 0 {
		g.opts.Logger.Info("connections that were there before belong to their lines now", "connections", all.Marked)
	}
	if all.Forgotten > 0 {
		g.opts.Logger.Info("connections were released: their line is not in the configuration any more", "connections", all.Forgotten)
	}
	err := errors.Join(errs...)
	text := words(err)
	if err != nil && ctx.Err() == nil && text != g.unmarked {
		g.opts.Logger.Warn("not all connections that were there before could be given to their lines", "error", err)
	}
	g.unmarked = text
	// Where the kernel cannot do it at all, whoever lives on without a mark is balanced by routes alone.
	if err == nil || errors.Is(err, kernel.ErrNoNetfilter) {
		g.due, g.again = false, false
	}
}

// report tells the loop how things are.
func (g *guard) report(ctx context.Context) {
	var ws []routing.Warning
	if g.failure != "" {
		ws = append(ws, routing.Warning{Code: "firewall-failed", Subject: "firewall", Text: g.failure,
			Cure: "new connections may leave without translation or mark until this is mended; it is tried again each " + guardRetry.String()})
	}
	if g.fight {
		ws = append(ws, routing.Warning{Code: "fight", Subject: "nft table inet " + firewall.ManagedTable,
			Text: fmt.Sprintf("another program changes it each time; it is put back only every %v now", truce),
			Cure: "find the program (nft monitor shows when it acts) and keep it from this table"})
	}
	select {
	case g.verdicts <- verdict{ws, g.done}:
	case <-ctx.Done():
	}
}
