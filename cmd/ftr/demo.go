package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/sim"
)

// Times of the demo, whatever the configuration says: somebody is watching.
const (
	demoInterval = time.Second
	demoChaos    = 5 * time.Second
)

// demo runs the daemon on a simulated kernel and network until ctx ends. It touches nothing, writes no
// file and sends no mail.
func demo(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	cfg, err := demoConfig(f, stdout, stderr)
	if err != nil {
		return err
	}
	for i := range cfg.Uplinks {
		t := &cfg.Uplinks[i].Tests
		t.Interval = min(t.Interval, demoInterval)
	}
	seed := rand.Uint64()
	kernel, network, chaos, err := sim.Demo(cfg, seed)
	if err != nil {
		return err
	}
	logger, logFile := openLog(stdout, true, config.Log{})
	defer logFile.Close()
	logger.Info("demo: a simulated network with random failures; nothing of this machine is touched", "seed", seed)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return unleash(ctx, chaos, logger) })
	group.Go(func() error {
		return daemon.New(daemon.Options{
			Config: cfg, Kernel: kernel, Prober: network, Firewall: kernel, Logger: logger,
			Rand: rand.New(rand.NewPCG(seed, 1)),
			Notify: func(_ time.Time, subject, _ string) {
				if cfg.Email.Enabled {
					logger.Info("demo: this would be mailed now", "subject", subject)
				}
			},
		}).Run(ctx)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	logger.Info("demo: the end")
	return nil
}

// demoConfig is the configuration of the flags, or the example where there is none at the usual place.
func demoConfig(f *flags, stdout, stderr io.Writer) (*config.Config, error) {
	cfg, err := f.load(io.Discard)
	if f.config == config.DefaultPath && errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(stdout, "There is no %s: the demo plays with the example configuration.\n", f.config)
		cfg, _ = config.Parse("example", []byte(config.Example()))
		return cfg, nil
	}
	if err != nil {
		return f.load(stderr) // again, and say what is wrong
	}
	return cfg, nil
}

// unleash lets something happen every few seconds until ctx ends, and soon for the first time.
func unleash(ctx context.Context, chaos *sim.Chaos, logger *slog.Logger) error {
	timer := time.NewTimer(2 * demoInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		told, err := chaos.Step()
		if err != nil {
			return err
		}
		for _, text := range told {
			logger.Warn("demo: " + text)
		}
		if len(told) > 0 {
			timer.Reset(demoChaos)
		} else {
			timer.Reset(demoInterval)
		}
	}
}
