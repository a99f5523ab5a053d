// Package daemon is the one loop: it observes, decides, plans, applies and publishes, and owns every
// goroutine and the state.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// Kernel is the host's routing: the real one, or a simulated one.
type Kernel interface {
	// Observe reads links, addresses, routes, rules and sysctls within the scope.
	Observe(ctx context.Context, scope routing.Scope) (routing.Observation, error)
	// Apply performs one step; "already there" and "already gone" are success.
	Apply(ctx context.Context, step routing.Step) error
	// Events calls hint whenever something may have changed, until ctx ends.
	Events(ctx context.Context, hint func(routing.Hint)) error
	// Solicit asks the routers on an interface to advertise themselves (RFC 4861 §6.3.7).
	Solicit(ctx context.Context, device string) error
	// NeighbourTable looks at the table of neighbours of a family.
	NeighbourTable(f config.Family) (routing.NeighbourTable, error)
}

// Prober asks one target through one uplink and returns the round-trip time. The error is the reason
// why there is none. Proven: the uplink has just answered (health.Request).
type Prober interface {
	Probe(ctx context.Context, device string, source netip.Addr, target config.Target, proven bool) (time.Duration, error)
}

// Options are what the daemon works with.
type Options struct {
	Config *config.Config
	Kernel Kernel
	Prober Prober
	Logger *slog.Logger
	Rand   *rand.Rand // order of the targets
	// Modes are the uplinks that people have taken out of use or forced into it, by interface.
	Modes map[string]status.Mode
	// Known is what was known of the paths before a restart.
	Known []Known
	// Flows lets traffic be watched and connections be released; nil: neither is done.
	Flows Flows
	// Firewall lets the table of a managed firewall be kept; nil: it is not.
	Firewall Firewall
	// Remember keeps the values that sysctls had before our first change; nil: nobody asks.
	Remember func(before []routing.Sysctl) error
	// Notify tells people; it must not block. nil: nobody is told.
	Notify func(at time.Time, subject, body string)
	// Restored is called when an uplink came up again, so that what waits for a line is tried at once;
	// it must not block. nil: nothing waits.
	Restored func()
	// Publish receives each snapshot; it must not block. nil: nobody looks.
	Publish func(*status.Snapshot)
	// Ready is called once, when the kernel agrees with the configuration for the first time.
	Ready func()
}

// Daemon is the loop with its doors to the outside. Its methods may be called concurrently.
type Daemon struct {
	opts     Options
	commands chan command
	samples  chan sample
	watch    chan watched            // to the sampler; holds the latest
	ruleset  chan struct{}           // to the sampler: its tables may be gone
	guarded  chan guarded            // to the guard; holds the latest
	changed  chan struct{}           // to the guard: its table may be another
	verdicts chan verdict            // of the guard, to the loop
	crowded  chan []routing.Warning  // to the loop: which tables of neighbours are full
	unheard  atomic.Pointer[unheard] // of the loop, to those who watch for it; nil before the first look
	snapshot atomic.Pointer[status.Snapshot]
}

// command is something to be done by the goroutine that owns the state.
type command struct {
	do      func(l *loop)
	done    chan struct{}
	guarded bool // it is done when the firewall is as wanted, too
}

// doors are where the loop hears of the world.
type doors struct {
	hints      chan struct{}     // something may have changed; holds one, whose look sees all
	neighbours chan routing.Hint // a neighbour was lost
	commands   <-chan command
	samples    <-chan sample
	verdicts   <-chan verdict // of the guard
	crowded    <-chan []routing.Warning
}

// pass hands a hint to whom it concerns. It never waits: who has no room has enough to do, and looks
// soon anyway.
func (d *Daemon) pass(h routing.Hint, in doors) {
	if h.Ruleset {
		for _, to := range []chan struct{}{d.ruleset, d.changed} {
			select {
			case to <- struct{}{}:
			default:
			}
		}
		return
	}
	if h.Neighbour.IsValid() {
		select {
		case in.neighbours <- h:
		default:
		}
		return
	}
	select {
	case in.hints <- struct{}{}:
	default:
	}
}

// New returns a daemon that does nothing before Run.
func New(opts Options) *Daemon {
	if opts.Remember == nil {
		opts.Remember = func([]routing.Sysctl) error { return nil }
	}
	if opts.Notify == nil {
		opts.Notify = func(time.Time, string, string) {}
	}
	if opts.Restored == nil {
		opts.Restored = func() {}
	}
	if opts.Publish == nil {
		opts.Publish = func(*status.Snapshot) {}
	}
	if opts.Ready == nil {
		opts.Ready = func() {}
	}
	d := &Daemon{
		opts: opts, commands: make(chan command), samples: make(chan sample), watch: make(chan watched, 1), ruleset: make(chan struct{}, 1),
		guarded: make(chan guarded, 1), changed: make(chan struct{}, 1), verdicts: make(chan verdict),
		crowded: make(chan []routing.Warning),
	}
	publish := opts.Publish
	d.opts.Publish = func(s *status.Snapshot) {
		d.snapshot.Store(s)
		publish(s)
	}
	return d
}

// Run keeps the kernel in agreement with the configuration and the health of the uplinks until ctx
// ends. It leaves the kernel as it is then, so that traffic goes on.
func (d *Daemon) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	in := doors{hints: make(chan struct{}, 1), neighbours: make(chan routing.Hint, 64), commands: d.commands, samples: d.samples, verdicts: d.verdicts, crowded: d.crowded}
	group.Go(func() error {
		err := d.opts.Kernel.Events(ctx, func(h routing.Hint) { d.pass(h, in) })
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch the kernel: %w", err)
		}
		return nil
	})
	group.Go(func() error { return d.watchSysctls(ctx, in) })
	group.Go(func() error { return d.watchNeighbours(ctx) })
	group.Go(func() error { return newLoop(d.opts, d.watch, d.guarded, &d.unheard).run(ctx, in) })
	if d.opts.Flows != nil {
		group.Go(func() error { return (&sampler{Daemon: d}).run(ctx) })
	}
	if d.opts.Firewall != nil {
		group.Go(func() error { return (&guard{Daemon: d, marked: marksKnown(d.opts.Known)}).run(ctx) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Snapshot returns the picture of the latest cycle; nil before the first.
func (d *Daemon) Snapshot() *status.Snapshot { return d.snapshot.Load() }

// Reload makes a configuration the one in force. Uplinks that stay, by their interface, keep their
// health and their place. It waits for the firewall, too, as far as that takes no longer than guardPatience.
func (d *Daemon) Reload(ctx context.Context, cfg *config.Config) error {
	return d.command(ctx, command{do: func(l *loop) { l.reload(time.Now(), cfg) }, guarded: true})
}

// SetMode takes uplinks out of use or puts them back, by their interface; those not named are judged
// by their health.
func (d *Daemon) SetMode(ctx context.Context, modes map[string]status.Mode) error {
	return d.command(ctx, command{do: func(l *loop) { l.setModes(time.Now(), maps.Clone(modes)) }})
}

// Ping returns nil when the loop has answered.
func (d *Daemon) Ping(ctx context.Context) error { return d.command(ctx, command{do: func(*loop) {}}) }

// command lets the loop do something and waits until it is done.
func (d *Daemon) command(ctx context.Context, c command) error {
	c.done = make(chan struct{})
	select {
	case d.commands <- c:
	case <-ctx.Done():
		return fmt.Errorf("the daemon does not answer: %w", ctx.Err())
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the daemon does not answer: %w", ctx.Err())
	}
}
