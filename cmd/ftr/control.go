package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"ftr/internal/status"
	"ftr/internal/web"
)

// control lets people look at the daemon and tell it what they want, by the socket in its runtime
// directory and by SIGHUP, until ctx ends. Where the socket cannot be made the daemon goes on: lines
// are worth more than looking at them.
func control(ctx context.Context, c web.Controller, dir string, started time.Time, logger *slog.Logger) error {
	c = &reloader{Controller: c, logger: logger}
	hangups := make(chan os.Signal, 1) // one that waits stands for all: the file is read after it
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	var group errgroup.Group
	listener, err := web.Listen(ctx, web.Socket(dir), logger)
	if err != nil {
		logger.Error("ftr status, uplink and reload will not reach this process; SIGHUP reloads", "error", err)
	} else {
		server := web.New(web.Options{Controller: c, Logger: logger, Version: version, Started: started, UID: os.Geteuid()})
		group.Go(func() error {
			if err := server.Run(ctx, listener); err != nil {
				logger.Error("the control socket is closed; SIGHUP still reloads", "error", err)
			}
			return nil
		})
	}
	for {
		select {
		case <-hangups:
			_ = c.Reload(ctx) // the log has it
		case <-ctx.Done():
			return group.Wait()
		}
	}
}

// reloader tells the service manager and the log of each reload, whoever wanted it, and lets one
// happen after the other.
type reloader struct {
	web.Controller
	logger *slog.Logger
	mu     sync.Mutex
}

// Reload implements web.Controller.
func (r *reloader) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	tellSystemd(r.logger, sddaemon.SdNotifyReloading+"\n"+sddaemon.SdNotifyMonotonicUsec())
	defer tellSystemd(r.logger, sddaemon.SdNotifyReady)
	err := r.Controller.Reload(ctx)
	var load *status.LoadError
	switch {
	case err == nil:
		r.logger.Info("the configuration was reloaded")
	case errors.As(err, &load):
		for _, p := range load.Problems {
			r.logger.Error("in the new configuration: " + p.Severity.String() + ": " + p.String())
		}
		r.logger.Error("the new configuration is refused, the one before stays in force", "error", err)
	default:
		r.logger.Error("the configuration could not be reloaded, the one before stays in force", "error", err)
	}
	return err
}

// SetUplink implements web.Controller.
func (r *reloader) SetUplink(ctx context.Context, iface string, mode status.Mode) error {
	err := r.Controller.SetUplink(ctx, iface, mode)
	if err != nil {
		r.logger.Error("what was wanted of an uplink could not be done", "interface", iface, "mode", mode.String(), "error", err)
		return err
	}
	r.logger.Info("an uplink was set by hand", "interface", iface, "mode", mode.String())
	return nil
}
