package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/config"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

func checkCommand(f *flags) *cobra.Command {
	var strict bool
	c := action("check", "Judge the configuration and this host, changing nothing", func(cmd *cobra.Command, _ []string) error {
		return check(cmd.Context(), f, strict, cmd.OutOrStdout())
	})
	c.Long = `check reads the configuration and looks at this host, and says everything that is wrong with both:
each mistake in the file with its line and column, and what will not work here. It changes nothing and needs
no privileges, except to look at the firewall rules of others beside a managed firewall; it says so where it may not.

Exit code: 0 all is well, or there are only warnings; 1 there are warnings and --strict was given; 2 errors.`
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 if there are warnings")
	return c
}

func check(ctx context.Context, f *flags, strict bool, w io.Writer) error {
	src, err := readConfig(f.config)
	if err != nil {
		return err
	}
	cfg, problems := src.parse()
	show(w, problems)
	bad, warned := errorsIn(problems), len(problems)-errorsIn(problems)
	if cfg != nil {
		warnings, err := inspect(ctx, cfg)
		if err != nil {
			return err
		}
		for _, h := range warnings {
			level := config.Warning
			if h.Error {
				level = config.Error
				bad++
			} else {
				warned++
			}
			fmt.Fprintf(w, "%s: this host: %s\n", level, h)
		}
		if text := unseen(cfg); text != "" {
			fmt.Fprintf(w, "note: this host: %s\n", text)
		}
	}
	fmt.Fprintf(w, "%s: %s, %s\n", f.config, count(bad, "error"), count(warned, "warning"))
	switch {
	case bad > 0:
		return &exitError{code: exitConfig}
	case warned > 0 && strict:
		return &exitError{code: exitWarnings}
	}
	return nil
}

// inspect holds the configuration against this host.
func inspect(ctx context.Context, cfg *config.Config) ([]routing.Warning, error) {
	obs, err := observe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return slices.Concat(routing.Inspect(cfg, &obs), inspectNeighbours(cfg), inspectFirewall(ctx, cfg)), nil
}

// inspectNeighbours looks at the tables of neighbours, as far as the kernel shows them.
func inspectNeighbours(cfg *config.Config) (ws []routing.Warning) {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return nil // whoever observes says so
	}
	defer k.Close()
	for _, f := range cfg.Families() {
		if t, err := k.NeighbourTable(f); err == nil {
			ws = append(ws, routing.NeighbourRoom(cfg, f, t.Limit)...)
		}
	}
	return ws
}

// observe takes one look at this host.
func observe(ctx context.Context, cfg *config.Config) (routing.Observation, error) {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return routing.Observation{}, err
	}
	defer k.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.Observe(ctx, routing.ScopeOf(cfg).Whole())
}

// refuse prints the host's errors and returns an error if there are any: monitor does not start then.
func refuse(warnings []routing.Warning, w io.Writer) error {
	bad := 0
	for _, h := range warnings {
		if h.Error {
			fmt.Fprintf(w, "error: this host: %s\n", h)
			bad++
		}
	}
	if bad > 0 {
		return &exitError{exitConfig, errors.New("the configuration cannot work on this host; nothing was changed")}
	}
	return nil
}
