package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/kernel"
	"ftr/internal/logging"
	"ftr/internal/notify"
	"ftr/internal/probe"
	"ftr/internal/routing"
	"ftr/internal/status"
)

func monitorCommand(f *flags) *cobra.Command {
	c := action("monitor", "Keep the kernel in agreement with the configuration and the health of the lines", func(cmd *cobra.Command, _ []string) error {
		if f.demo {
			return demo(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		useProcessors(len(cfg.Uplinks))
		return monitor(cmd.Context(), f, cfg, cmd.ErrOrStderr())
	})
	c.Long = `monitor runs in the foreground until it is told to stop (Ctrl-C, SIGTERM). It sets up routes, rules and
sysctls, probes all lines, takes out those that break, puts them back when they are well, and logs and mails every
change. It refuses to start, and changes nothing, where check finds errors. Stopping it leaves the routes in
place and traffic flowing; starting it again disturbs nothing.

It needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW.`
	return c
}

// monitor runs the daemon on this host until ctx ends.
func monitor(ctx context.Context, f *flags, cfg *config.Config, stderr io.Writer) (err error) {
	warnings, err := inspect(ctx, cfg)
	if err != nil {
		return err
	}
	if err := refuse(warnings, stderr); err != nil {
		return err
	}
	if err := require("monitor", unix.CAP_NET_ADMIN, unix.CAP_NET_RAW); err != nil {
		return err
	}
	unlock, alone := lock(cfg.Paths.Runtime)
	if errors.Is(alone, errTaken) {
		return alone
	}
	if unlock != nil {
		defer func() { err = errors.Join(err, unlock()) }()
	}
	logger, logFile := openLog(stderr, f.debug, cfg.Log)
	defer logFile.Close()
	if alone != nil { // lines are worth more than order in a directory
		logger.Error("going on without a lock: nothing keeps a second monitor or cleanup from working against this one", "error", alone)
	}

	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	prober := probe.New()
	defer prober.Close()
	prober.SetMark(cfg.Numbers.Unsteered())

	started := time.Now()
	logger.Info("Fault Tolerant Router starts", "version", version, "uplinks", len(cfg.Uplinks))
	tellFirewall(warnings, logger)
	remember := sysctlMemory(cfg.Paths.State, logger) // makes the state directory, too
	modes, err := readModes(cfg.Paths.State)
	if err != nil {
		logger.Warn("uplinks that were taken out or forced by hand are judged by their health again", "error", err)
	}
	keeper, known := openKeeper(cfg.Paths.Runtime, logger)
	mailer := notify.NewMailer(cfg.Email, filepath.Join(cfg.Paths.State, "mail"), logger)
	s := &service{
		flags: f, prober: prober, mailer: mailer, logger: logger, logFile: logFile, log: cfg.Log, paths: cfg.Paths, modes: modes,
		configuration: status.Configuration{File: f.config, Loaded: started},
	}
	manager := newAnnouncer(logger)
	s.daemon = daemon.New(daemon.Options{
		Config: cfg, Kernel: k, Prober: prober, Flows: k, Firewall: k, Logger: logger,
		Rand:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Modes:    modes,
		Known:    known,
		Remember: remember,
		Notify: func(at time.Time, subject, body string) {
			mailer.Notify(notify.Message{Time: at, Subject: subject, Body: body})
		},
		Restored: mailer.Kick,
		Publish: func(latest *status.Snapshot) {
			keeper.Offer(latest)
			manager.offer(latest)
		},
		Ready: manager.agree,
	})

	group, ctx := errgroup.WithContext(ctx)
	// Mail and what is known of the uplinks outlive the daemon, so that its last words are stored.
	after, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return mailer.Run(after) })
	group.Go(func() error { return keeper.Run(after) })
	group.Go(func() error { return control(ctx, s, cfg.Paths.Runtime, started, logger) })
	group.Go(func() error { return manager.run(ctx) })
	group.Go(func() error { return watchdog(ctx, s.daemon, logger) })
	group.Go(func() error {
		defer end()
		return s.daemon.Run(ctx)
	})
	err = group.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		tellSystemd(logger, sddaemon.SdNotifyStopping)
		logger.Info("Fault Tolerant Router stops; routes stay as they are")
		return nil
	}
	return err
}

// openKeeper returns what keeps the health of the uplinks for the next run, and what the previous one
// knew.
func openKeeper(dir string, logger *slog.Logger) (*daemon.Keeper, []daemon.Known) {
	keeper := daemon.NewKeeper(dir, logger)
	known, err := keeper.Load(time.Now())
	if err != nil {
		logger.Warn("the uplinks are judged anew", "error", err)
	}
	return keeper, known
}

// sysctlMemory returns what keeps the old values of sysctls in the state directory, which it makes if
// it is missing. Without one the program goes on: only cleanup misses the values.
func sysctlMemory(dir string, logger *slog.Logger) func(before []routing.Sysctl) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		logger.Warn("going on without the state directory: unsent mail is lost at the end, and cleanup cannot put sysctls back; choose another with --state-dir",
			"error", err)
		return nil
	}
	store, err := kernel.OpenSysctlStore(dir)
	if err != nil {
		logger.Warn("cleanup will not put all sysctls back", "error", err)
	}
	if store == nil {
		return nil
	}
	return store.Remember
}

// openLog returns the logger and its file. Without its file the program goes on: the lines are
// worth more than the log.
func openLog(stderr io.Writer, debug bool, file config.Log) (*slog.Logger, *logging.File) {
	opts := logging.Options{Console: stderr, Debug: debug, File: file}
	if f, ok := stderr.(*os.File); ok {
		opts.Color, opts.Journal = logging.Detect(f, os.Getenv)
	}
	logger, opened, err := logging.Setup(opts)
	if err != nil {
		logger.Warn("going on without the log file", "error", err)
	}
	return logger, opened
}
