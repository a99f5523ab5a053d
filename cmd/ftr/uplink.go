package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/status"
	"ftr/internal/web"
)

func uplinkCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:   "uplink NAME [down|up|auto]",
		Short: "show one line, take it out of use for maintenance, force it into use, or put it back",
		Long: `uplink tells the running monitor what people want of a line. NAME is its description or its interface.

  down  out of use for maintenance, whatever its health: new connections leave it at once. It is still
        probed, and status shows what came of it.
  up    in use, whatever its targets answer, as long as it has carrier and address: for a line whose
        provider answers no probes, or when you know better.
  auto  its health decides, as it always does where nobody says anything.

It holds until it is changed, also after a restart of monitor or of the machine. Without a mode the line is shown.
Changing needs root (sudo), or the user that monitor runs as.

Exit code: 0 done; 1 it failed or is not permitted; 2 there is no such line, or the command line is wrong; 3 monitor
does not run.`,
		Example: `  ftr uplink Cable
  ftr uplink Cable down
  ftr uplink eth2 auto`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return &exitError{exitConfig, errors.New("NAME is empty; give the description or the interface of an uplink")}
			}
			dir := f.runtimeDir()
			client := web.NewClient(web.Socket(dir))
			ctx, cancel := context.WithTimeout(cmd.Context(), orderTime)
			defer cancel()
			if len(args) == 1 {
				return showUplink(ctx, client, dir, args[0], cmd.OutOrStdout())
			}
			var mode status.Mode
			if err := mode.UnmarshalText([]byte(args[1])); err != nil {
				return &exitError{exitConfig, err}
			}
			return setUplink(ctx, client, dir, args[0], mode, cmd.OutOrStdout())
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeUplink(cmd.Context(), f, len(args)), cobra.ShellCompDirectiveNoFileComp
		},
	}
	return c
}

func showUplink(ctx context.Context, client *web.Client, dir, name string, w io.Writer) error {
	uplinks, err := client.Uplink(ctx, name)
	if err != nil {
		return unreached(err, dir)
	}
	_, err = io.WriteString(w, status.Uplinks(uplinks, layout(w)))
	return failing(err)
}

func setUplink(ctx context.Context, client *web.Client, dir, name string, mode status.Mode, w io.Writer) error {
	uplinks, err := client.SetUplink(ctx, name, mode)
	if err != nil {
		return unreached(err, dir)
	}
	u := uplinks[0]
	label := u.Name
	if u.Name != u.Interface {
		label += " (" + u.Interface + ")"
	}
	undo := "until you say: ftr uplink " + u.Interface + " auto"
	switch mode {
	case status.ForcedDown:
		fmt.Fprintf(w, "%s is out of use %s\n", label, undo)
	case status.ForcedUp:
		fmt.Fprintf(w, "%s is used whatever its targets answer, %s\n", label, undo)
	default:
		fmt.Fprintf(w, "%s is used as its health allows\n", label)
		for _, u := range uplinks {
			fmt.Fprintf(w, "%s: %s (%s)\n", u.Family, u.State, u.Reason)
		}
	}
	view, _, err := ask(ctx, client, dir)
	if err != nil {
		return err
	}
	for _, s := range view.Selections {
		fmt.Fprintln(w, s.Text)
	}
	return nil
}

// completeUplink returns the words that may come next, for completion by the shell.
func completeUplink(ctx context.Context, f *flags, position int) []string {
	switch position {
	case 0:
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		view, _, err := web.NewClient(web.Socket(f.runtimeDir())).Status(ctx)
		if err != nil {
			return nil
		}
		var names []string
		for _, u := range view.Uplinks {
			names = append(names, u.Interface+"\t"+u.Name)
		}
		return names
	case 1:
		return []string{"down\tout of use, for maintenance", "up\tin use, whatever its targets answer", "auto\tits health decides"}
	}
	return nil
}
