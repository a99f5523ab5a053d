package routing_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// crowd is the largest configuration: 250 lines, all well.
func crowd() (*config.Config, *routing.Observation) {
	var uplinks []config.Uplink
	obs := &routing.Observation{}
	for i := range config.MaxUplinks {
		device := fmt.Sprintf("eth0.%d", i)
		uplinks = append(uplinks, static(device, fmt.Sprintf("10.%d.0.2", i), fmt.Sprintf("10.%d.0.1", i)))
		obs.Links = append(obs.Links, link(device, fmt.Sprintf("10.%d.0.2/24", i)))
	}
	cfg := configure(modern, uplinks...)
	obs.Have.Sysctls = sysctlsOf(cfg)
	return cfg, obs
}

// BenchmarkCycle is all of one turn with 250 lines.
func BenchmarkCycle(b *testing.B) {
	cfg, obs := crowd()
	first := desire(cfg, obs)
	full := *obs
	full.Have = first
	reports := make([]health.Report, len(cfg.Uplinks))
	for _, bb := range []struct {
		name string
		obs  *routing.Observation
	}{{"start", obs}, {"calm", &full}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				paths := routing.Resolve(cfg, bb.obs)
				s := routing.Select(cfg, config.IPv4, paths, reports, routing.Adopt(cfg, config.IPv4, bb.obs.Have))
				routing.Plan(cfg, bb.obs.Have, routing.Want(cfg, bb.obs, paths, []routing.Selection{s}))
			}
		})
		b.Run(bb.name+" want and plan", func(b *testing.B) {
			paths := routing.Resolve(cfg, bb.obs)
			s := routing.Select(cfg, config.IPv4, paths, reports, nil)
			for b.Loop() {
				routing.Plan(cfg, bb.obs.Have, routing.Want(cfg, bb.obs, paths, []routing.Selection{s}))
			}
		})
	}
	b.Run("inspect", func(b *testing.B) {
		for b.Loop() {
			routing.Inspect(cfg, &full)
		}
	})
}

// The number of lines must not make a turn slow: each thousandth of a second is one in which a dead
// line is still used. The bound leaves room for the race detector; the processor's time counts, which does
// not pass while others run.
func TestManyLines(t *testing.T) {
	cfg, obs := crowd()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime(t)
	want := desire(cfg, obs)
	steps := routing.Plan(cfg, obs.Have, want)
	if took := threadTime(t) - begin; took > 500*time.Millisecond {
		t.Errorf("the first plan for %d lines took %s of the processor's time", len(cfg.Uplinks), took)
	}
	// For each line two routes, two rules, two sysctls; two defaults, two rules and three sysctls for all.
	if n := 6*config.MaxUplinks + 7; len(steps) != n {
		t.Errorf("%d steps, want %d", len(steps), n)
	}
	obs.Have = want
	if again := routing.Plan(cfg, obs.Have, desire(cfg, obs)); len(again) != 0 {
		t.Errorf("%d steps from a state to itself", len(again))
	}
}

// threadTime is the processor's time that this thread has taken.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}
