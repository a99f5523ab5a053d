// Command ftr is Fault Tolerant Router: it spreads connections over several internet lines and takes
// out those that break.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ftr/internal/config"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version = "development"

// Exit codes.
const (
	exitWarnings = 1 // check --strict: there are warnings
	exitFailure  = 1
	exitConfig   = 2 // the configuration has errors, or the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand(filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitConfig // what cobra itself refuses is the command line
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "%s: %s\n", root.Name(), text)
	}
	return code
}

// exitError carries an exit code. Its text may be empty where all was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// failing turns an error into one with an exit code; an exit code that is there already stays.
func failing(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{code: exitFailure, err: err}
}

// flags are the flags that all commands know.
type flags struct {
	config       string
	debug, demo  bool
	state, runtm string
}

// rootCommand builds the command tree. name is how the program was called: ftr, or
// fault_tolerant_router as the original program.
func rootCommand(name string) *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   name,
		Short: "Fault Tolerant Router: several internet lines used at once, and nobody offline when one breaks",
		Long: `Fault Tolerant Router spreads connections over several internet lines and takes out those that break.

A first start:
  ` + name + ` generate_config      write a commented configuration, with the lines found on this machine
  ` + name + ` check                judge it without touching anything
  ` + name + ` generate_iptables    print the firewall rules that belong to it
  ` + name + ` plan                 show what monitor would change now
  ` + name + ` monitor              keep everybody online
  ` + name + ` status               see how the lines are`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          noAction,
		// In characters that differ.
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(strings.NewReplacer(
		"{{if .Runnable}}", "{{if and .Runnable .HasParent}}",
		"{{.CommandPath}} [command]\n", "{{.CommandPath}} [flags] COMMAND\n",
		"{{.CommandPath}} [command]{{end}}", "{{.CommandPath}} [flags] COMMAND{{end}}",
		"[command] --help", "COMMAND --help",
	).Replace(root.UsageTemplate()))
	root.SetHelpCommand(helpCommand())
	p := root.PersistentFlags()
	p.StringVar(&f.config, "config", config.DefaultPath, "configuration `file`")
	p.BoolVar(&f.debug, "debug", false, "print every probe, verdict, decision and step on the console")
	p.BoolVar(&f.demo, "demo", false, "monitor a simulated network with random failures; touches nothing, implies --debug")
	p.StringVar(&f.state, "state-dir", "", "`directory` for what must survive a restart (default: paths.state, $STATE_DIRECTORY or "+defaultState+")")
	p.StringVar(&f.runtm, "runtime-dir", "", "`directory` for locks and sockets (default: paths.runtime, $RUNTIME_DIRECTORY or "+defaultRuntime+")")
	for _, c := range []*cobra.Command{
		monitorCommand(&f), statusCommand(&f), uplinkCommand(&f), reloadCommand(&f), checkCommand(&f), planCommand(&f), cleanupCommand(&f), explainCommand(&f),
		generateConfigCommand(&f), generateIptablesCommand(&f), generateNftablesCommand(&f), emailTestCommand(&f), schemaCommand(), labCommand(),
	} {
		root.AddCommand(c)
	}
	return root
}

// noAction answers a command line without a known command.
func noAction(root *cobra.Command, args []string) error {
	switch {
	case len(args) > 0:
		return unknownCommand(root, args[0])
	case root.Flags().NFlag() > 0:
		return fmt.Errorf("no command is given; see: %s --help", root.Name())
	default:
		return root.Help()
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	hint := "see: " + root.Name() + " --help"
	if meant := root.SuggestionsFor(name); len(meant) > 0 {
		hint = "did you mean " + strings.Join(meant, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q; %s", name, hint)
}

// helpCommand is cobra's, but a command that does not exist is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || topic == nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag()
			topic.InitDefaultVersionFlag()
			return topic.Help()
		},
	}
}

// noArguments refuses what stands behind a command.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, but %q is given; see: %s --help", cmd.Name(), args[0], cmd.CommandPath())
	}
	return nil
}

// arguments refuses a command line with fewer or more arguments than a command takes, and names those.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= most {
			return nil
		}
		_, names, _ := strings.Cut(cmd.Use, " ")
		given := "nothing is given"
		if n := len(args); n == 1 {
			given = fmt.Sprintf("only %q is given", args[0])
		} else if n > most {
			given = fmt.Sprintf("%q comes behind", args[most])
		} else if n > 1 {
			given = fmt.Sprintf("only %d are given", n)
		}
		return fmt.Errorf("%s takes %s, but %s; see: %s --help", cmd.Name(), names, given, cmd.CommandPath())
	}
}

// action makes a command of the original program's name, which also answers to the form with hyphens.
func action(name, short string, runE func(cmd *cobra.Command, args []string) error) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return failing(runE(cmd, args)) },
	}
	if strings.Contains(name, "_") {
		c.Aliases = []string{strings.ReplaceAll(name, "_", "-")}
	}
	return c
}
