package kernel

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// programTimeout is far more than nft needs, even for thousands of lines on a busy machine.
const programTimeout = 10 * time.Second

// findProgram returns the first of the names that is a program; "" if there is none.
func findProgram(names []string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// run runs a program in the namespace of k and returns what it prints.
func (k *Kernel) run(ctx context.Context, input, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	var out, said strings.Builder
	err := k.inside(func() error {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &said
		cmd.Env = []string{"LC_ALL=C"}
		err := cmd.Run()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("run %s: %w", filepath.Base(path), ctx.Err())
		case err != nil:
			return fmt.Errorf("run %s: %w: %s", filepath.Base(path), err, firstLines(said.String()))
		}
		return nil
	})
	return out.String(), err
}

// firstLines keeps of a message what fits a line of log: nft quotes the lines that it dislikes.
func firstLines(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
