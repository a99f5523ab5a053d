package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"ftr/internal/netns"
)

// controlFD is the file descriptor by which the lab's process gets its control socket.
const controlFD = 3

// Session is one run of `ftr lab`.
type Session struct {
	Name       string // empty: the first free one
	Options    Options
	Report     string // file to write; empty: none
	Quick      bool
	Keep       bool   // leave the lab standing after the scenario
	Skip       bool   // no scenario
	RuntimeDir string // where the registry is; see OpenRegistry
	Out        *os.File
}

// Run builds the lab and plays. In the outer process it starts this program again in private
// namespaces, with the same arguments, and returns its exit code.
func (s *Session) Run(ctx context.Context) (int, error) {
	if err := CheckTools(s.Options.Lines); err != nil {
		return 1, err
	}
	if !netns.Inside() {
		return s.outside(ctx)
	}
	var err error
	code := netns.Private(func() int {
		var code int
		code, err = s.inside(ctx)
		return code
	})
	return code, err
}

// outside starts and watches the lab's process. It has its own process group: signals of the
// terminal come here, and are handed on once.
func (s *Session) outside(ctx context.Context) (code int, err error) {
	registry, err := OpenRegistry(s.RuntimeDir)
	if err != nil {
		return 1, err
	}
	claim, err := registry.Claim(ctx, s.Name)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, claim.Release()) }()
	cmd := netns.Command(os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, s.Out, os.Stderr
	cmd.ExtraFiles = []*os.File{claim.Socket}
	cmd.Env = append(cmd.Env, "FTR_LAB_NAME="+claim.Name)
	cmd.SysProcAttr.Setpgid = true
	// The process dies with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start private namespaces: %w; if user namespaces are disabled here, run it as root", err)
	}
	defer context.AfterFunc(ctx, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
	})()
	publish := claim.Publish(cmd.Process.Pid)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), publish
	}
	return 0, errors.Join(err, publish)
}

// inside builds the lab, plays, and keeps it standing where that is asked for.
func (s *Session) inside(ctx context.Context) (code int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := s.program(); err != nil {
		return 1, err
	}
	l, err := New(ctx, s.Options)
	if err != nil {
		return 1, fmt.Errorf("build the lab: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer stop()
	if listener, err := net.FileListener(os.NewFile(controlFD, "control")); err == nil {
		serving.Go(func() { l.Serve(ctx, listener, stop) })
	} else {
		return 1, fmt.Errorf("open control socket: %w", err)
	}
	scenario, screen := NewScenario(l, s.Quick), NewScreen(s.Out)
	ok := true
	if !s.Skip {
		if ok, err = s.play(ctx, scenario, screen); err != nil {
			return 1, err
		}
	}
	if s.Keep || s.Skip {
		if err := s.stand(ctx, l, scenario, screen); err != nil {
			return 1, err
		}
	}
	if !ok {
		return 1, nil
	}
	return 0, nil
}

// program finds what runs in the router: this very program.
func (s *Session) program() error {
	if len(s.Options.Command) > 0 {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	s.Options.Command = []string{self}
	return nil
}

// play runs the scenario, shows it, and writes table and report; it tells whether all held.
func (s *Session) play(ctx context.Context, scenario *Scenario, screen *Screen) (bool, error) {
	show, hide := context.WithCancel(context.WithoutCancel(ctx))
	var showing sync.WaitGroup
	showing.Go(func() { screen.Show(show, scenario.Lab, scenario.Board) })
	result, err := scenario.Run(ctx)
	hide()
	showing.Wait()
	if result == nil {
		return false, err
	}
	columns, color := screen.Columns()
	if _, err := io.WriteString(s.Out, result.Table(columns, color)); err != nil {
		return false, err
	}
	if s.Report != "" {
		if err := writeFile(s.Report, result.WriteReport); err != nil {
			return false, err
		}
		fmt.Fprintln(s.Out, "Report:", s.Report)
	}
	return result.OK(), nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// stand leaves the lab running until somebody ends it, with its lines shown on a terminal.
func (s *Session) stand(ctx context.Context, l *Lab, scenario *Scenario, screen *Screen) error {
	if l.DaemonPID() == 0 {
		if err := scenario.start(ctx); err != nil {
			return err
		}
	}
	fmt.Fprint(s.Out, usage(os.Getenv("FTR_LAB_NAME"), l))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	if screen.live {
		running.Go(func() { screen.Show(ctx, l, scenario.Board) })
	}
	err := scenario.watch(ctx)
	stop()
	running.Wait()
	return errors.Join(err, l.StopDaemon())
}

// usage tells what can be done with a standing lab from another terminal.
func usage(name string, l *Lab) string {
	command := "ftr lab"
	if name != "lab" {
		command += " --name " + name
	}
	return fmt.Sprintf(`
The lab %q is standing. From another terminal:
  %[2]s shell router      a shell on a host: client, internet, router,
                            server, isp1 to isp%[3]d
  %[2]s exec client -- curl %[4]s
  %[2]s cut 1             line 1 goes silent upstream
  %[2]s unplug 1          line 1 loses its carrier
  %[2]s slow 1 2mbit      line 1 gets less bandwidth
  %[2]s lose 1 20         20 %% of the packets of line 1 are lost
  %[2]s restore 1         all is well again
  %[2]s status
Configuration and log of the router are in %[5]s there.
Ctrl-C here ends it all.
`, name, command, len(l.Plan.Lines), "http://"+l.Plan.Servers[0].String()+"/", l.Dir)
}
