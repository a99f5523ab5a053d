package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/health"
	"ftr/internal/routing"
)

func planCommand(f *flags) *cobra.Command {
	c := action("plan", "Print what monitor would change now, changing nothing", func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return plan(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	c.Long = `plan prints the commands of ip(8) and sysctl(8) that lead from the kernel's present state to the one that
monitor would make of this configuration at its start, and the nft table of a managed firewall. Uplinks that carry new
connections now keep doing so in the plan; where there are none, all that can be used are taken for well. It
changes nothing and needs no privileges.`
	return c
}

func plan(ctx context.Context, cfg *config.Config, w, stderr io.Writer) error {
	obs, err := observe(ctx, cfg)
	if err != nil {
		return err
	}
	paths := routing.Resolve(cfg, &obs)
	reports := keptShares(cfg, paths)
	var selections []routing.Selection
	for _, family := range cfg.Families() {
		previous := routing.Adopt(cfg, family, obs.Have)
		selections = append(selections, routing.Select(cfg, family, paths, reports, previous))
	}
	for _, p := range paths {
		if !p.Usable() {
			u := cfg.Uplinks[p.Uplink]
			fmt.Fprintf(w, "# uplink %s (%s)%s cannot be used now: %s\n", u.Name, u.Interface, routing.Suffix(p.Family), p.Problem)
		}
	}
	steps := routing.Plan(cfg, obs.Have, routing.Want(cfg, &obs, paths, selections))
	for _, s := range steps {
		fmt.Fprintln(w, s)
	}
	if len(steps) == 0 {
		fmt.Fprintln(w, "# nothing: the kernel agrees with the configuration")
	}
	if cfg.Firewall == config.FirewallManaged {
		table := daemon.FirewallTable(cfg, &obs, paths, daemon.Turns(cfg, paths, reports, selections))
		fmt.Fprintf(w, "# The table of the managed firewall; what is there and as wanted is not touched.\nnft -f - <<'END'\n%sEND\n", table)
	}
	// monitor would refuse to start.
	return refuse(routing.Inspect(cfg, &obs), stderr)
}

// keptShares returns reports of paths that are not judged, except that lines of bad quality keep the part
// of their weight that the running monitor leaves them. Who may not read what it knows sees the weights as
// configured.
func keptShares(cfg *config.Config, paths []routing.Path) []health.Report {
	reports := make([]health.Report, len(paths))
	known, err := daemon.NewKeeper(cfg.Paths.Runtime, slog.New(slog.DiscardHandler)).Load(time.Now())
	if err != nil {
		return reports
	}
	for i, p := range paths {
		quality := cfg.Uplinks[p.Uplink].Tests.Quality
		for _, k := range known {
			if k.Interface == p.Interface && k.Family == p.Family && k.Report.Degraded != "" && quality.Action == config.ActionWeight {
				reports[i].WeightPercent = quality.WeightPercent
			}
		}
	}
	return reports
}
