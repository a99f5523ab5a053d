package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ftr/internal/status"
	"ftr/internal/web"
)

// Exit codes of status: those that monitoring programs know as warning, critical and unknown.
const (
	exitDegraded = 1
	exitDown     = 2
	exitNoDaemon = 3 // nobody could be asked
)

func statusCommand(f *flags) *cobra.Command {
	var asJSON, watch bool
	c := action("status", "show each line, what new connections use, and what is wrong", func(cmd *cobra.Command, _ []string) error {
		if asJSON && watch {
			return &exitError{exitNoDaemon, errors.New("--json and --watch exclude each other")}
		}
		dir := f.runtimeDir()
		client := web.NewClient(web.Socket(dir))
		if watch {
			return watchStatus(cmd.Context(), client, dir, cmd.OutOrStdout())
		}
		return showStatus(cmd.Context(), client, dir, asJSON, cmd.OutOrStdout())
	})
	c.Long = `status asks the running monitor how it is: each uplink with its state, for how long and why, round-trip time,
jitter, loss and weight, and whether it carries new connections; what they use in a sentence; a configuration
that was refused; warnings with what to do. A line that was taken out of use by hand counts as well.

Exit code: 0 all is well; 1 something needs attention, new connections work; 2 no line is known to work; 3 nobody
could be asked: monitor does not run, or the command line is wrong.`
	c.Example = `  ftr status
  ftr status --watch
  ftr status --json | jq -r '.uplinks[] | select(.state == "down") | .name'`
	c.Flags().BoolVar(&asJSON, "json", false, "print all of it as JSON, as docs/api.md describes it")
	c.Flags().BoolVar(&watch, "watch", false, "show it anew each second, until Ctrl-C")
	// Who reads exit code 2 as "all lines are down" must not get it for a typing error.
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitNoDaemon, err} })
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := noArguments(cmd, args); err != nil {
			return &exitError{exitNoDaemon, err}
		}
		return nil
	}
	return c
}

func showStatus(ctx context.Context, client *web.Client, dir string, asJSON bool, w io.Writer) error {
	view, text, err := ask(ctx, client, dir)
	if err != nil {
		return err
	}
	if !asJSON {
		text = []byte(view.Table(layout(w)))
	}
	if _, err := w.Write(text); err != nil {
		return &exitError{exitNoDaemon, fmt.Errorf("write the status: %w", err)}
	}
	switch view.State {
	case status.OK:
		return nil
	case status.Failed:
		return &exitError{code: exitDown}
	default:
		return &exitError{code: exitDegraded}
	}
}

// ask asks for the state, as long as askTime.
func ask(ctx context.Context, client *web.Client, dir string) (*status.View, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	view, text, err := client.Status(ctx)
	return view, text, unreached(err, dir)
}

// watchStatus shows the state each second until ctx ends, also while there is no daemon.
func watchStatus(ctx context.Context, client *web.Client, dir string, w io.Writer) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		l := layout(w)
		view, _, err := ask(ctx, client, dir)
		if ctx.Err() != nil {
			return nil
		}
		var text string
		if err != nil {
			text = err.Error() + "\n"
		} else {
			text = view.Table(l)
		}
		if _, err := io.WriteString(w, frame(w, text)); err != nil {
			return fmt.Errorf("write the status: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// frame makes a text replace the one before on a terminal, without flicker. Elsewhere it follows it.
func frame(w io.Writer, text string) string {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return text + "\n"
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if _, height, err := term.GetSize(int(file.Fd())); err == nil && height > 1 && len(lines) >= height {
		lines = append(lines[:height-2], "… (ftr status shows the rest)")
	}
	const home, restOfLine, restOfScreen = "\x1b[H", "\x1b[K\r\n", "\x1b[J"
	return home + strings.Join(lines, restOfLine) + restOfLine + restOfScreen
}
