package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/lab"
)

// inTime is how long a connection may take that must not fail and had to send something again: less than the second
// after which TCP sends a lost SYN again (RFC 6298 §2.1), so that a retry hides nothing. Where nothing was lost, a busy
// machine may be slower.
const inTime = 900 * time.Millisecond

// onceOnly takes those attempts for failed that came about by a retry.
func onceOnly(attempts lab.Attempts) lab.Attempts {
	for i := range attempts {
		if a := &attempts[i]; a.Err == nil && a.Took > inTime && a.Resent > 0 {
			a.Err = fmt.Errorf("it took a retry: segments sent again: %d", a.Resent)
		}
	}
	return attempts
}

// soon bounds the wait for what takes milliseconds: a guard that holds on a busy machine, too. How long things take is
// measured by ftr-bench.
const soon = 10 * time.Second

// bed is a lab whose router runs the built program.
type bed struct {
	*lab.Lab
	t *testing.T
}

// newBed builds a lab of its own for the test. before the program, words may stand that start it.
func newBed(t *testing.T, lines []lab.Line, before ...string) *bed {
	t.Helper()
	return newBedNamed(t, strings.ReplaceAll(strings.ToLower(t.Name()), "/", ".")+".", lines, before...)
}

// newBedNamed is newBed for a test that needs several; the names of their hosts begin with name.
func newBedNamed(t *testing.T, name string, lines []lab.Line, before ...string) *bed {
	t.Helper()
	program := os.Getenv(programEnv)
	if program == "" {
		t.Fatalf("%s is not set: TestMain has not built the program", programEnv)
	}
	l, err := lab.New(t.Context(), lab.Options{
		Name: name, Lines: lines, Command: append(before, program),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{l, t}
	t.Cleanup(func() {
		if t.Failed() {
			var said strings.Builder
			for _, e := range l.Log().Entries() {
				fmt.Fprintf(&said, "%s %s\n", e.Time.Format("05.000"), e.Text)
			}
			t.Logf("the lab's log:\n%s", said.String())
		}
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return b
}

// three are lines without limits, of weight 1.
func three() []lab.Line { return make([]lab.Line, 3) }

// start writes a configuration, loads the firewall rules that the program makes of it, and starts it.
func (b *bed) start(config string) {
	b.t.Helper()
	b.must(b.WriteConfig(config))
	b.must(b.ApplyRules(b.t.Context()))
	b.must(b.StartDaemon(b.t.Context()))
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// edit replaces parts of a configuration: old, new, old, new ... Each must be there.
func edit(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the configuration has no %q:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// wait waits for a condition; without it in time the test ends.
func (b *bed) wait(what string, limit time.Duration, condition func() bool) {
	b.t.Helper()
	b.must(b.WaitFor(b.t.Context(), what, limit, func() (bool, error) { return condition(), nil }))
}

// uses waits until new connections use exactly these lines.
func (b *bed) uses(limit time.Duration, lines ...int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("lines %v (from 0) in use", lines), limit, func() bool {
		return slices.Equal(b.selected(), lines) && b.ruled() && b.steered("-4", lines)
	})
}

// steered tells whether the turn of each of the lines leads to it, where they are dealt: that is written after the
// default route. The family is an option of ip(8).
func (b *bed) steered(family string, lines []int) bool {
	b.t.Helper()
	text, err := os.ReadFile(b.ConfigPath())
	b.must(err)
	cfg, problems := config.Parse(b.ConfigPath(), text)
	if cfg == nil {
		b.t.Fatalf("the configuration is wrong: %v", problems)
	}
	for _, s := range cfg.Steers {
		if s.Policy != 0 || !slices.Contains(lines, s.Uplink) {
			continue
		}
		routes, err := b.Router.Output("ip", family, "route", "show", "table", strconv.Itoa(int(s.Table)))
		if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
			b.t.Fatal(err)
		}
		best, _, _ := strings.Cut(routes, "\n") // of the lowest metric
		if !strings.Contains(best, " dev "+cfg.Uplinks[s.Uplink].Interface+" ") {
			return false
		}
	}
	return true
}

// ruled tells whether the rule that leads to the default route is there: it is made last.
func (b *bed) ruled() bool {
	for rule := range strings.Lines(b.ip("rule")) {
		if strings.Contains(rule, "from all lookup") && strings.Contains(rule, "proto 117") && !strings.Contains(rule, "suppress_prefixlength") {
			return true
		}
	}
	return false
}

// selected returns the lines that new connections use now.
func (b *bed) selected() []int {
	hops, err := b.Selected()
	b.must(err)
	var lines []int
	for _, h := range hops {
		lines = append(lines, h.Line)
	}
	slices.Sort(lines)
	return lines
}

// says waits until the daemon has said something since a time.
func (b *bed) says(text string, since time.Time, limit time.Duration) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%q in the log", text), limit, func() bool { return b.Log().Contains(text, since) })
}

// knocking opens 50 new connections a second until it is stopped.
type knocking struct {
	stop     context.CancelFunc
	done     sync.WaitGroup
	attempts lab.Attempts
	once     bool // none may need a retry
}

func (b *bed) knock(timeout time.Duration) *knocking {
	ctx, stop := context.WithCancel(b.t.Context())
	k := &knocking{stop: stop}
	k.done.Go(func() {
		b.Knock(ctx, 50, timeout, func(a lab.Attempt) { k.attempts = append(k.attempts, a) })
	})
	b.t.Cleanup(func() { k.end() })
	return k
}

// knockOnce is knock for connections of which none may need a retry.
func (b *bed) knockOnce() *knocking {
	k := b.knock(soon)
	k.once = true
	return k
}

// spreadOnce opens n connections of which none may need a retry.
func (b *bed) spreadOnce(server netip.Addr, n int) lab.Attempts {
	return onceOnly(b.Spread(b.t.Context(), server, n, soon))
}

// end stops and returns what was recorded, in order.
func (k *knocking) end() lab.Attempts {
	k.stop()
	k.done.Wait()
	if k.once {
		return onceOnly(k.attempts.Sorted())
	}
	return k.attempts.Sorted()
}

// pause lets traffic run for a while.
func (b *bed) pause(d time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	<-ctx.Done()
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		b.t.Fatal(err)
	}
}

// allSucceed fails the test for each connection that failed.
func (b *bed) allSucceed(what string, attempts lab.Attempts) {
	b.t.Helper()
	if len(attempts) == 0 {
		b.t.Fatalf("%s: no connection was tried", what)
	}
	if n := attempts.Failed(); n > 0 {
		i := slices.IndexFunc(attempts, func(a lab.Attempt) bool { return a.Err != nil })
		a := attempts[i]
		b.t.Errorf("%s: %d of %d connections failed, the first at %s after %s: %v", what, n, len(attempts), a.Start.Format("05.000"), a.Took, a.Err)
		out, err := b.Router.Output("conntrack", "-L", "-p", "tcp", "--state", "SYN_SENT")
		b.t.Logf("connections without an answer: %v\n%s", err, out)
	}
}

// spread opens n connections; all must succeed. It returns the shares of the lines.
func (b *bed) spread(what string, n int) []float64 {
	b.t.Helper()
	attempts := b.Spread(b.t.Context(), b.Plan.Servers[0], n, 5*time.Second)
	b.allSucceed(what, attempts)
	return attempts.Shares(len(b.Plan.Lines))
}

// incoming wants n of n connections to each line's address answered, by the router and by the server
// in the DMZ, and nothing leaving through a line that it does not belong to.
func (b *bed) incoming(what string, n int) {
	b.t.Helper()
	for i := range b.Plan.Lines {
		for _, dmz := range []bool{false, true} {
			if got, err := b.Incoming(b.t.Context(), i, n, dmz, 3*time.Second); got != n {
				b.t.Errorf("%s, line %d, DMZ %v: %d of %d answered: %v", what, i+1, dmz, got, n, err)
			}
		}
	}
	b.noLeaks()
}

// noLeaks wants that no packet has left through a line that its address does not belong to.
func (b *bed) noLeaks() {
	b.t.Helper()
	for i := range b.Plan.Lines {
		n, err := b.Foreign(i)
		b.must(err)
		if n > 0 {
			b.t.Errorf("%d packets with another line's address left through line %d", n, i+1)
		}
	}
}

// output runs the program on the router and returns all that it says, and its exit code.
func (b *bed) output(args ...string) (string, int) {
	b.t.Helper()
	cmd, err := b.Program(b.t.Context(), args...)
	b.must(err)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = b.Router.Do(cmd.Run)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// ip returns what ip(8) says on the router.
func (b *bed) ip(args ...string) string {
	b.t.Helper()
	out, err := b.Router.Output("ip", args...)
	b.must(err)
	return out
}

// table returns the routes of a table; none if there is no such table yet.
func (b *bed) table(n int) string {
	b.t.Helper()
	out, err := b.Router.Output("ip", "route", "show", "table", fmt.Sprint(n))
	if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
		b.t.Fatal(err)
	}
	return out
}

// download opens an endless, slow download on a line.
func (b *bed) download(line int) *lab.Download {
	b.t.Helper()
	d, err := b.DownloadOn(b.t.Context(), line, 100<<10)
	b.must(err)
	b.t.Cleanup(d.Stop)
	return d
}

// undisturbed wants that downloads ran without a pause since their ResetGap.
func (b *bed) undisturbed(what string, downloads ...*lab.Download) {
	b.t.Helper()
	for _, d := range downloads {
		if !d.Alive() || d.Gap() > inTime {
			b.t.Errorf("%s: the download on line %d: runs %v, longest pause %s", what, d.Line+1, d.Alive(), d.Gap())
		}
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
