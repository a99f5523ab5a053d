// Package netns makes network namespaces that belong to this process alone.
//
// Private re-executes the program in fresh mount, network and process namespaces (and a user
// namespace where it is not root). Everything made in there is invisible to the host, needs no
// unique names, and is removed by the kernel when the process ends, however it ends.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv marks the re-executed process.
const insideEnv = "FTR_PRIVATE_NAMESPACES"

// dir is where ip-netns(8) keeps its names; in here it is on a tmpfs of our own.
const dir = "/run/netns"

// Inside tells whether the process runs in namespaces made by Private.
func Inside() bool { return os.Getenv(insideEnv) != "" }

// Private runs inside, in namespaces of its own, and returns its exit code. In the outer process it
// re-executes the program with the same arguments and returns that process's exit code; what kills
// the outer process kills everything inside.
func Private(inside func() int) int {
	if Inside() {
		if err := prepare(); err != nil {
			fmt.Fprintf(os.Stderr, "prepare private namespaces: %v\n", err)
			return 1
		}
		return inside()
	}
	cmd := Command(os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The parent-death signal belongs to the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	default:
		fmt.Fprintf(os.Stderr, "start private namespaces: %v; if user namespaces are disabled here, run it as root\n", err)
		return 1
	}
}

// Command returns a command that runs this program with args in private namespaces; it must call
// Private there. The caller locks the thread from Start to Wait, since the child dies with it.
func Command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// prepare makes the file systems fit the new namespaces.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ kind, path, data string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"tmpfs", "/run", "mode=755"},
	} {
		if err := unix.Mount(m.kind, m.path, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.path, err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return Run("ip", "link", "set", "lo", "up")
}

// Run runs a command in the current namespace; its error carries what the command said.
func Run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// NS is a named network namespace; ip-netns(8) sees it under its name.
type NS struct {
	Name string
	file *os.File
}

// New makes a network namespace with its loopback up. It works only inside Private, so that nothing
// of the host can be met.
func New(name string) (*NS, error) {
	if !Inside() {
		return nil, errors.New("make network namespace: not inside private namespaces")
	}
	if err := Run("ip", "netns", "add", name); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	n := &NS{Name: name, file: file}
	return n, n.Run("ip", "link", "set", "lo", "up")
}

// Close removes the name and the handle; the namespace ends with its last process and socket.
func (n *NS) Close() error {
	return errors.Join(n.file.Close(), Run("ip", "netns", "del", n.Name))
}

// Do calls f on a thread in the namespace. Sockets that f opens and processes that it starts stay
// there. Goroutines that f starts do not: they run on other threads.
func (n *NS) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			result <- fmt.Errorf("enter network namespace %s: %w", n.Name, err)
			return
		}
		err = f()
		// A thread that cannot go home is not given back: it ends with this goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
		result <- err
	}()
	return <-result
}

// FD returns the namespace's file descriptor, for libraries that enter it themselves.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Run runs a command in the namespace; its error carries what the command said.
func (n *NS) Run(name string, args ...string) error {
	return n.Do(func() error { return Run(name, args...) })
}

// Start starts a command in the namespace.
func (n *NS) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Output runs a command in the namespace and returns what it printed on standard output.
func (n *NS) Output(name string, args ...string) (string, error) {
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command(name, args...).Output()
		return err
	})
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Batch runs lines of ip(8) commands (without the leading "ip") in the namespace, in one process.
func (n *NS) Batch(lines ...string) error {
	return n.Do(func() error {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip -batch in %s: %w: %s", n.Name, err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}
