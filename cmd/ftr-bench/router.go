package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

// program is a running router program.
type program struct {
	cmd   *exec.Cmd
	done  chan struct{}
	ready chan struct{} // closed when it said so (sd_notify(3))
	tail  *tail
	err   error // why it ended; valid after done
}

// tail keeps the end of what a program says.
type tail struct {
	log  io.Writer // gets everything; nil: none
	mu   sync.Mutex
	text []byte
}

// mostTail is how much is kept, in bytes: enough for the stacks of some hundred goroutines.
const mostTail = 1 << 20

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if t.log != nil {
		_, _ = t.log.Write(p) // nobody waits for it
	}
	if over := len(t.text) - mostTail; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(p), nil
}

// lastLines is how many lines of what a program said go into an error.
const lastLines = 15

// last returns the last lines.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

// all returns what is kept.
func (t *tail) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// command returns the program under test, as the shell is to run it.
func (b *bench) command(l *lab.Lab) string {
	if b.own() {
		debug := ""
		if b.log != nil {
			debug = " --debug"
		}
		return fmt.Sprintf("'%s' --config='%s'%s monitor", b.program, l.ConfigPath(), debug)
	}
	return strings.NewReplacer("{config}", l.ConfigPath(), "{dir}", l.Dir).Replace(b.settings.command)
}

// launch starts the program on the router.
func (b *bench) launch(l *lab.Lab) (*program, error) {
	p := &program{done: make(chan struct{}), ready: make(chan struct{}), tail: &tail{log: b.log}}
	path := filepath.Join(l.Dir, "notify")
	_ = os.Remove(path)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("make the socket of sd_notify: %w", err)
	}
	// It outlives the context, to be observed until the bed closes: kill ends it.
	p.cmd = exec.CommandContext(context.Background(), "/bin/sh", "-c", "exec "+b.command(l))
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = l.Dir, p.tail, p.tail
	p.cmd.Env = append(environment(), "NOTIFY_SOCKET="+path)
	if err := l.Router.Start(p.cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start the program: %w", err), socket.Close())
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		socket.Close()
	}()
	go p.listen(socket)
	return p, nil
}

// listen waits for the program's word that it is ready. The end of the program ends it.
func (p *program) listen(socket *net.UnixConn) {
	buffer := make([]byte, 4096)
	said := false
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return
		}
		if !said && strings.Contains("\n"+string(buffer[:n])+"\n", "\nREADY=1\n") {
			said = true
			close(p.ready)
		}
	}
}

// environment is this process's own, without what makes programs believe they were the bench.
func environment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FTR_") && !strings.HasPrefix(v, "NOTIFY_SOCKET=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// kill ends the program at once (SIGKILL) and waits.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// ended tells whether the program ended by itself, and what it said.
func (p *program) ended() error {
	select {
	case <-p.done:
		why := fmt.Sprint(p.err) // there is none to wrap if it ended well
		return fmt.Errorf("the program ended by itself (%s); it said:\n%s", why, p.tail.last())
	default:
		return nil
	}
}

// waitReady waits for the program's word; one that never gives it gets a second.
func (p *program) waitReady(ctx context.Context, b *bench) error {
	limit := 20 * time.Second
	if !b.own() {
		limit = time.Second
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ready:
		return nil
	case <-p.done:
		return p.ended()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		if b.own() {
			return fmt.Errorf("the program was not ready within %s; it said:\n%s", limit, p.tail.last())
		}
		return nil
	}
}

// prepareRouter makes the router fit: with our own rules, or with a script.
func (b *bench) prepareRouter(ctx context.Context, l *lab.Lab) error {
	if b.own() {
		return l.ApplyRules(ctx)
	}
	if b.prepare == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", b.prepare)
	cmd.Dir, cmd.Env = l.Dir, append(environment(), variables(l)...)
	var out []byte
	err := l.Router.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare the router: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// variables tell a script about the router.
func variables(l *lab.Lab) []string {
	list := []string{"BENCH_CONFIG=" + l.ConfigPath(), "BENCH_DIR=" + l.Dir, "BENCH_LAN=lan0", fmt.Sprintf("BENCH_LINES=%d", len(l.Plan.Lines))}
	for i, line := range l.Plan.Lines {
		list = append(list, fmt.Sprintf("BENCH_LINE%d=%s %s %s", i+1, line.Interface, line.Address, line.Gateway))
	}
	var targets []string
	for _, t := range l.Plan.Targets {
		targets = append(targets, t.String())
	}
	return append(list, "BENCH_TARGETS="+strings.Join(targets, " "))
}

// cleanup takes back what our program did to the router.
func (b *bench) cleanup(l *lab.Lab) error {
	return l.Router.Do(func() error { return netns.Run(b.program, "--config="+l.ConfigPath(), "cleanup") })
}
