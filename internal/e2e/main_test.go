package e2e_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ftr/internal/netns"
)

// programEnv names the built program to the process inside of the namespaces.
const programEnv = "FTR_E2E_PROGRAM"

// TestMain builds the program once, outside, and runs the tests in private namespaces.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if netns.Inside() {
		return netns.Private(func() int { return inside(m) })
	}
	dir, err := os.MkdirTemp("", "ftr-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n", err)
		return 1
	}
	return netns.Private(nil)
}

// build compiles the program into a directory that other users may enter, with the race detector
// where the tests have it.
func build(dir string) error {
	program := filepath.Join(dir, "ftr")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "ftr/cmd/ftr")...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	// The race detector would let each command wait for a second before it ends.
	return errors.Join(os.Setenv(programEnv, program), os.Setenv("GORACE", "atexit_sleep_ms=0"))
}

// inside runs the tests. They wait for the network most of the time, so unless somebody says otherwise,
// more of them than there are processors run at once.
func inside(m *testing.M) int {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", "5"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := hideHost(); err != nil {
		fmt.Fprintf(os.Stderr, "hide what DHCP clients write to: %v\n", err)
		return 1
	}
	return m.Run()
}

// hideHost covers the files of the host that DHCP clients write, in this process's private mounts.
func hideHost() error {
	if err := unix.Mount("tmpfs", leaseDir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("%s (install isc-dhcp-client): %w", leaseDir, err)
	}
	resolver := "/run/resolv.conf"
	if err := os.WriteFile(resolver, nil, 0o644); err != nil {
		return err
	}
	return unix.Mount(resolver, "/etc/resolv.conf", "", unix.MS_BIND, "")
}
