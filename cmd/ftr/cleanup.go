package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

func cleanupCommand(f *flags) *cobra.Command {
	c := action("cleanup", "Remove everything that is ours from the kernel and put back the sysctls", func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(io.Discard)
		if err != nil {
			// What is ours carries our tag; the file only tells the directories.
			cfg = &config.Config{}
			cfg.Paths = f.directories(cfg.Paths)
			fmt.Fprintf(cmd.OutOrStdout(), "# without a usable configuration (%v): state is looked for in %s\n", err, cfg.Paths.State)
		}
		return cleanup(cmd.Context(), cfg, cmd.OutOrStdout())
	})
	c.Long = `cleanup removes all routes and rules that carry our protocol number, the nft table of a managed firewall and
those that count traffic, and gives each sysctl that monitor changed the value that it had before, unless somebody
changed it since. It prints what it does. Afterwards main's own default route, if there is one, is used again. Stop
monitor first. It works without a usable configuration too.`
	return c
}

func cleanup(ctx context.Context, cfg *config.Config, w io.Writer) (err error) {
	if err := require("cleanup", unix.CAP_NET_ADMIN); err != nil {
		return err
	}
	unlock, err := lock(cfg.Paths.Runtime)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	store, err := kernel.OpenSysctlStore(cfg.Paths.State)
	if errors.Is(err, kernel.ErrCorrupt) {
		fmt.Fprintf(w, "# %v\n", err)
	} else if err != nil {
		return fmt.Errorf("%w; run it as root, or choose another directory with --state-dir; nothing was changed", err)
	}
	saved := store.Saved()
	owned, err := k.Owned(ctx, keys(saved))
	if err != nil {
		return err
	}
	var errs []error
	steps := routing.CleanupPlan(owned, saved)
	for _, s := range steps {
		fmt.Fprintln(w, s)
		if err := k.Apply(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s, err))
		}
	}
	removed, err := k.RemoveFirewall(ctx)
	if removed {
		fmt.Fprintf(w, "nft delete table inet %s\n", firewall.ManagedTable)
	}
	errs = append(errs, err, k.RemoveEvidence(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(steps) == 0 && !removed {
		fmt.Fprintln(w, "# nothing of ours is in the kernel")
	}
	return store.Forget()
}

func keys(values []routing.Sysctl) []string {
	var keys []string
	for _, s := range values {
		keys = append(keys, s.Key)
	}
	return keys
}
