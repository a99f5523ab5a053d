package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/notify"
)

func emailTestCommand(f *flags) *cobra.Command {
	c := action("email_test", "Send a test mail with the configured parameters", func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if lacking := cfg.Email.Lacking(); len(lacking) > 0 {
			return fmt.Errorf("send a test mail: %s does not say %s", f.config, strings.Join(lacking, ", "))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		if err := notify.SendTest(ctx, cfg.Email); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Sent a test mail to %s\n", strings.Join(cfg.Email.Recipients, ", "))
		return nil
	})
	c.Long = `email_test sends one mail with the parameters under email, whether email.send is on or not, and prints
success or the step that failed with the server's words.`
	return c
}
