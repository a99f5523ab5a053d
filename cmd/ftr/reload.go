package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/web"
)

func reloadCommand(f *flags) *cobra.Command {
	c := action("reload", "let the running monitor read its configuration file again", func(cmd *cobra.Command, _ []string) error {
		return reload(cmd.Context(), f.runtimeDir(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	c.Long = `reload lets the running monitor put its configuration file in force, and waits until that is done. Lines that
stay keep their health, their connections and their numbers. A new log file is used from then on; other directories
(paths) are used from the next start on, which is said. Where the file has errors, they are printed as check
prints them, and the configuration that was in force stays; ftr status says so until a good file is loaded.
SIGHUP does the same, and tells only the log. It needs root (sudo), or the user that monitor runs as.

Exit code: 0 the file is in force; 1 it failed or is not permitted; 2 the file cannot be used; 3 monitor does not run.`
	return c
}

func reload(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	configuration, err := web.NewClient(web.Socket(dir)).Reload(ctx)
	var refused *web.Error
	if errors.As(err, &refused) && refused.Load != nil {
		for _, p := range refused.Load.Problems {
			fmt.Fprint(stderr, p.Shown)
		}
	}
	if err != nil {
		return unreached(err, dir)
	}
	since := ""
	if configuration.Loaded != nil {
		since = " since " + configuration.Loaded.In(time.Local).Format(time.TimeOnly)
	}
	fmt.Fprintf(stdout, "%s is in force%s\n", configuration.File, since)
	for _, text := range configuration.Restart {
		fmt.Fprintf(stdout, "%s\n", text)
	}
	return nil
}
