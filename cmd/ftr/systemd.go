package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"

	"ftr/internal/daemon"
	"ftr/internal/status"
)

// announcer tells the service manager that the kernel agrees, and how the uplinks are (sd_notify(3)).
// It does so beside the loop, which a manager that does not listen must not hold up.
type announcer struct {
	logger *slog.Logger
	ready  atomic.Bool
	latest atomic.Pointer[status.Snapshot]
	wake   chan struct{}
}

func newAnnouncer(logger *slog.Logger) *announcer {
	return &announcer{logger: logger, wake: make(chan struct{}, 1)}
}

// agree notes that the kernel agrees with the configuration.
func (a *announcer) agree() {
	a.ready.Store(true)
	a.hint()
}

// offer takes a snapshot to be told; it never waits.
func (a *announcer) offer(s *status.Snapshot) {
	a.latest.Store(s)
	a.hint()
}

func (a *announcer) hint() {
	select {
	case a.wake <- struct{}{}:
	default: // it will tell the latest
	}
}

// run tells what is new until ctx ends.
func (a *announcer) run(ctx context.Context) error {
	said, ready := "", false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
		if !ready && a.ready.Load() {
			ready = true
			tellSystemd(a.logger, sddaemon.SdNotifyReady)
		}
		if s := a.latest.Load(); s != nil {
			if line := status.Line(s); line != said {
				said = line
				tellSystemd(a.logger, "STATUS="+line)
			}
		}
	}
}

// watchdog tells the service manager that the loop lives, as often as it wants to hear it (WatchdogSec=
// in systemd.service(5)). Where the loop hangs nothing is told.
func watchdog(ctx context.Context, d *daemon.Daemon, logger *slog.Logger) error {
	every, err := sddaemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return err
	}
	ticker := time.NewTicker(every / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if d.Ping(ctx) == nil {
			tellSystemd(logger, sddaemon.SdNotifyWatchdog)
		}
	}
}

// tellSystemd sends a state to the service manager, if there is one (sd_notify(3)).
func tellSystemd(logger *slog.Logger, state string) {
	if _, err := sddaemon.SdNotify(false, state); err != nil {
		logger.Warn("the service manager could not be told", "state", state, "error", err)
	}
}
