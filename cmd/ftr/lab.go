package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/lab"
)

// labFlags are the flags of `ftr lab`.
type labFlags struct {
	name           string
	lines          int
	rates, weights string
	interval       time.Duration
	report         string
	quick          bool
	keep, bare     bool
	seed           uint32
}

// labCommand returns `ftr lab` with its subcommands.
func labCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Build a test network in private namespaces, play failures in it and measure",
		Long: `Builds an internet, providers, a router with a line to each, a LAN client and a DMZ server in private
namespaces of this machine, runs this program in the router, and measures: downloads one after another
and at once, shares of connections, a line cut silently upstream, a lost carrier, incoming connections.
Nothing of the machine is touched, and it needs no root where user namespaces are allowed.

The exit status is 0 only if everything held.`,
		Example: `  ftr lab
  ftr lab --rates 10,20,30 --weights 1,1,1 --interval 500ms
  ftr lab --no-scenario          # leave it standing; from another terminal:
  ftr lab cut 2
  ftr lab shell client`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return failing(f.run(cmd.Context())) },
	}
	cmd.PersistentFlags().StringVar(&f.name, "name", "", "`name` of the lab, where several are standing")
	p := cmd.Flags()
	p.IntVar(&f.lines, "lines", 0, "`number` of lines (default: as many as rates, at least 2)")
	p.StringVar(&f.rates, "rates", "10,20,30", "bandwidth of each line, in Mbit/s or with kbit, mbit, gbit; one for all, or one for each")
	p.StringVar(&f.weights, "weights", "", "weight of each line (default: in the proportion of the rates)")
	p.DurationVar(&f.interval, "interval", time.Second, "tests.interval of the daemon")
	p.StringVar(&f.report, "report", "lab-report.html", "`file` for the report; empty: none")
	p.BoolVar(&f.quick, "quick", false, "measure less and shorter")
	p.BoolVar(&f.keep, "keep", false, "leave the lab standing after the scenario")
	p.BoolVar(&f.bare, "no-scenario", false, "only build the lab and leave it standing")
	p.Uint32Var(&f.seed, "seed", 0, "spread connections the same way each time (Linux 6.11; 0: at random)")
	cmd.AddCommand(labShell(&f), labExec(&f), labStatus(&f))
	for _, c := range []struct {
		use, short string
		args       cobra.PositionalArgs
	}{
		{"cut LINE", "Cut a line silently upstream: its carrier stays, nothing gets through", arguments(1, 1)},
		{"unplug LINE", "Take the carrier from a line", arguments(1, 1)},
		{"slow LINE RATE", "Change the bandwidth of a line; example: slow 1 2mbit", arguments(2, 2)},
		{"lose LINE PERCENT [both|up|down]", "Lose packets of a line at random", arguments(2, 3)},
		{"restore LINE", "Undo everything that was done to a line", arguments(1, 1)},
		{"stop", "End a standing lab", noArguments},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: c.use, Short: c.short, Args: c.args,
			RunE: func(cmd *cobra.Command, args []string) error {
				return f.ask(cmd, append([]string{cmd.Name()}, args...)...)
			},
		})
	}
	return cmd
}

// run plays a scenario in a new lab.
func (f *labFlags) run(ctx context.Context) error {
	if err := sbinPath(); err != nil {
		return err
	}
	lines, err := lab.ParseLines(f.lines, f.rates, f.weights)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	if f.interval <= 0 {
		return &exitError{exitConfig, fmt.Errorf("interval %s: want more than 0", f.interval)}
	}
	session := lab.Session{
		Name: f.name, Report: f.report, Quick: f.quick, Keep: f.keep, Skip: f.bare, RuntimeDir: labRuntime(), Out: os.Stdout,
		Options: lab.Options{Lines: lines, Seed: f.seed, Config: lab.ConfigOptions{Interval: f.interval, Managed: true}},
	}
	code, err := session.Run(ctx)
	if err != nil || code != 0 {
		return &exitError{max(code, 1), err}
	}
	return nil
}

// labRuntime returns the directory below which labs are found.
func labRuntime() string { return os.Getenv("XDG_RUNTIME_DIR") }

// sbinPath adds the directories of ip, tc and nft to the path: Debian leaves them out for ordinary
// users.
func sbinPath() error {
	return os.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+"/usr/local/sbin:/usr/sbin:/sbin")
}

// chosen returns the lab that the flags name.
func (f *labFlags) chosen(ctx context.Context) (lab.Info, error) {
	registry, err := lab.OpenRegistry(labRuntime())
	if err != nil {
		return lab.Info{}, err
	}
	return registry.Choose(ctx, f.name)
}

// ask sends a command to the lab and prints the answer.
func (f *labFlags) ask(cmd *cobra.Command, words ...string) error {
	info, err := f.chosen(cmd.Context())
	if err != nil {
		return failing(err)
	}
	text, err := info.Ask(cmd.Context(), words...)
	if err != nil {
		return failing(err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
	return failing(err)
}

// labStatus returns `ftr lab status`: one lab, or all that are standing.
func labStatus(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the lines and hosts of standing labs", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			registry, err := lab.OpenRegistry(labRuntime())
			if err != nil {
				return failing(err)
			}
			list, err := registry.List(cmd.Context())
			if err != nil || f.name != "" || len(list) == 0 {
				return errors.Join(failing(err), f.ask(cmd, "status"))
			}
			for _, info := range list {
				fmt.Fprintf(cmd.OutOrStdout(), "%s (process %d, since %s)\n", info.Name, info.PID, info.Started.Format(time.TimeOnly))
				text, err := info.Ask(cmd.Context(), "status")
				if err != nil {
					return failing(err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			return nil
		},
	}
}

// labShell returns `ftr lab shell`.
func labShell(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use: "shell HOST", Short: "Open a shell on a host of the lab: client, internet, router, server, isp1...", Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shell := os.Getenv("SHELL")
			if shell == "" {
				shell = "/bin/sh"
			}
			// The prompts of Debian's and Ubuntu's shells show this variable.
			if err := os.Setenv("debian_chroot", args[0]); err != nil {
				return failing(err)
			}
			return f.enter(cmd.Context(), args[0], shell)
		},
	}
}

// labExec returns `ftr lab exec`.
func labExec(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use: "exec HOST -- COMMAND...", Short: "Run a command on a host of the lab", Args: arguments(2, math.MaxInt),
		Example: "  ftr lab exec router -- ip route show table all",
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.enter(cmd.Context(), args[0], args[1:]...)
		},
	}
}

// enter replaces this program by a command on a host, so that terminal and signals are the command's
// own.
func (f *labFlags) enter(ctx context.Context, host string, args ...string) error {
	if err := sbinPath(); err != nil {
		return failing(err)
	}
	info, err := f.chosen(ctx)
	if err != nil {
		return failing(err)
	}
	if err := info.HasHost(ctx, host); err != nil {
		return &exitError{exitConfig, err}
	}
	words := info.Enter(host, args...)
	path, err := exec.LookPath(words[0])
	if err != nil {
		return failing(fmt.Errorf("%w: apt-get install util-linux", err))
	}
	return failing(fmt.Errorf("run %s: %w", path, syscall.Exec(path, words, os.Environ())))
}
