package daemon

import (
	"context"
	"slices"
	"time"

	"ftr/internal/routing"
)

const (
	// sysctlEvery is the time from one look to the next at the sysctls of whose changes the kernel does not
	// tell.
	sysctlEvery = time.Second
	// sysctlCosts bounds what that takes of the processor, where there are many lines: one part in so many.
	sysctlCosts = 500
)

// watchSysctls asks for a look at the kernel whenever a sysctl has another value than before, until ctx
// ends. It works beside the loop, which need not wake for what is as it was.
func (d *Daemon) watchSysctls(ctx context.Context, in doors) error {
	timer := time.NewTimer(tick(time.Now(), sysctlEvery))
	defer timer.Stop()
	var before []routing.Sysctl
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		began := time.Now()
		obs, err := d.opts.Kernel.Observe(ctx, routing.Scope{Sysctls: *d.sysctls.Load()})
		if err == nil && !slices.Equal(before, obs.Have.Sysctls) { // the loop tells of errors
			if before != nil {
				d.pass(routing.Hint{}, in)
			}
			before = obs.Have.Sysctls
		}
		timer.Reset(max(tick(time.Now(), sysctlEvery), sysctlCosts*time.Since(began)))
	}
}

// tick is the time until the next multiple of a period: what is done regularly is done together, since
// waking up costs more than the work.
func tick(now time.Time, period time.Duration) time.Duration {
	return now.Truncate(period).Add(period).Sub(now)
}
