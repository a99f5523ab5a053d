// Package daemon is the one loop: it observes, decides, plans, applies and publishes, and owns every
// goroutine and the state.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
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
	// Watch calls hint whenever something may have changed, until ctx ends.
	Watch(ctx context.Context, hint func()) error
}

// Prober asks one target through one uplink and returns the round-trip time. The error is the reason
// why there is none.
type Prober interface {
	Probe(ctx context.Context, device string, source, target netip.Addr) (time.Duration, error)
}

// Options are what the daemon works with.
type Options struct {
	Config *config.Config
	Kernel Kernel
	Prober Prober
	Logger *slog.Logger
	Rand   *rand.Rand // order of the targets
	// Remember keeps the value that a sysctl had before our first change; nil: nobody asks.
	Remember func(key, old string) error
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

// Run keeps the kernel in agreement with the configuration and the health of the uplinks until ctx
// ends. It leaves the kernel as it is then, so that traffic goes on.
func Run(ctx context.Context, opts Options) error {
	if opts.Remember == nil {
		opts.Remember = func(string, string) error { return nil }
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
	group, ctx := errgroup.WithContext(ctx)
	hints := make(chan struct{}, 1)
	group.Go(func() error {
		err := opts.Kernel.Watch(ctx, func() {
			select {
			case hints <- struct{}{}:
			default: // one is waiting already, and the look that it causes sees this change too
			}
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch the kernel: %w", err)
		}
		return nil
	})
	group.Go(func() error { return newLoop(opts).run(ctx, hints) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
