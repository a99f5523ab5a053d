package daemon

import (
	"context"
	"maps"
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

// unheard is that of whose changes the kernel does not tell: what is looked at, and as what the loop knows it.
type unheard struct {
	scope routing.Scope
	known routing.Observation
}

// equal tells whether a look within the scope found what the loop knows.
func (u *unheard) equal(found routing.Observation) bool {
	return slices.Equal(u.known.Have.Sysctls, found.Have.Sysctls) &&
		maps.Equal(u.known.Prefixes, found.Prefixes) && maps.Equal(u.known.Cgroups, found.Cgroups)
}

// watchSysctls asks for a look at the kernel whenever a sysctl, a file or a control group is not as the
// loop knows it, until ctx ends. It works beside the loop, which need not wake for what is as it was. What
// it found the last time does not matter: a value may have been put right and spoilt again since.
func (d *Daemon) watchSysctls(ctx context.Context, in doors) error {
	timer := time.NewTimer(tick(time.Now(), sysctlEvery))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		began := time.Now()
		if u := d.unheard.Load(); u != nil { // the loop has not looked yet otherwise
			found, err := d.opts.Kernel.Observe(ctx, u.scope)
			if err == nil && !u.equal(found) { // the loop tells of errors
				d.pass(routing.Hint{}, in)
			}
		}
		timer.Reset(max(tick(time.Now(), sysctlEvery), min(sysctlCosts*time.Since(began), sysctlLatest)))
	}
}

// regard lets the unheard be watched, as the latest look and the steps after it left it.
func (l *loop) regard() {
	u := &unheard{
		scope: routing.Scope{Sysctls: routing.Unannounced(l.scope.Sysctls), PrefixFiles: l.scope.PrefixFiles, Cgroups: l.scope.Cgroups},
		known: routing.Observation{Prefixes: l.obs.Prefixes, Cgroups: l.obs.Cgroups},
	}
	for _, c := range l.obs.Have.Sysctls {
		if slices.Contains(u.scope.Sysctls, c.Key) {
			u.known.Have.Sysctls = append(u.known.Have.Sysctls, c)
		}
	}
	l.unheard.Store(u)
}

// note makes a sysctl that was set part of what the kernel is known to hold.
func (l *loop) note(set routing.Sysctl) {
	for i, c := range l.obs.Have.Sysctls {
		if c.Key == set.Key {
			l.obs.Have.Sysctls[i] = set
		}
	}
}

// tick is the time until the next multiple of a period: what is done regularly is done together, since
// waking up costs more than the work.
func tick(now time.Time, period time.Duration) time.Duration {
	return now.Truncate(period).Add(period).Sub(now)
}
