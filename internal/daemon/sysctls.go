package daemon

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/routing"
)

const (
	// sysctlEvery is the time from one look to the next at the files, control groups and sysctls of whose
	// changes the kernel does not tell.
	sysctlEvery = time.Second
	// sysctlCosts bounds what that takes of the processor, where there are many lines: one part in so many.
	sysctlCosts = 500
	// sysctlLatest is the longest time from one look to the next, also where the host is so busy that a look
	// takes long.
	sysctlLatest = 3 * time.Second
)

// watchSysctls asks for a look at the kernel whenever a sysctl has another value than before, or a file
// another prefix, or a control group comes or goes, until ctx ends. It works beside the loop, which need not wake for what is as it was.
func (d *Daemon) watchSysctls(ctx context.Context, in doors) error {
	timer := time.NewTimer(tick(time.Now(), sysctlEvery))
	defer timer.Stop()
	var before []routing.Sysctl
	var prefixes map[string]netip.Prefix
	var cgroups map[string]uint64
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		began := time.Now()
		obs, err := d.opts.Kernel.Observe(ctx, *d.unheard.Load())
		same := slices.Equal(before, obs.Have.Sysctls) && maps.Equal(prefixes, obs.Prefixes) && maps.Equal(cgroups, obs.Cgroups)
		if err == nil && !same { // the loop tells of errors
			d.pass(routing.Hint{}, in) // the first time too: it may have changed since the loop looked
			before, prefixes, cgroups = obs.Have.Sysctls, obs.Prefixes, obs.Cgroups
		}
		timer.Reset(max(tick(time.Now(), sysctlEvery), min(sysctlCosts*time.Since(began), sysctlLatest)))
	}
}

// tick is the time until the next multiple of a period: what is done regularly is done together, since
// waking up costs more than the work.
func tick(now time.Time, period time.Duration) time.Duration {
	return now.Truncate(period).Add(period).Sub(now)
}
