package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ftr/internal/netns"
)

// patience is how long a test waits for anything that must happen.
const patience = 20 * time.Second

// poll calls f until it returns true.
func poll(ts *testscript.TestScript, what func() string, f func() bool) {
	limit := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-limit:
			ts.Fatalf("waited for %s in vain: %s", patience, what())
		case <-tick.C:
		}
	}
}

// code runs a command that must end with an exact exit code: code 2 ftr check
func code(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND...")
	}
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await waits until a file holds a regular expression, and as often as wanted: await FILE REGEXP [N]
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [N]")
	}
	wanted := 1
	if len(args) == 3 {
		wanted, _ = strconv.Atoi(args[2])
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	poll(ts, func() string { return fmt.Sprintf("%s in:\n...%s", args[1], text[max(0, len(text)-2000):]) }, func() bool {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		return len(pattern.FindAll(text, -1)) >= wanted
	})
}

// until repeats a command until it succeeds: until COMMAND...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND...")
	}
	poll(ts, func() string { return strings.Join(args, " ") }, func() bool { return ts.Exec(args[0], args[1:]...) == nil })
}

// running is a command in the background.
type running struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs a command in the background, with its output in NAME.log and its process in $NAME:
// start NAME COMMAND...
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND...")
	}
	output, err := os.OpenFile(ts.MkAbs(args[0]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer output.Close()
	command := args[1]
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, command)); err == nil {
			command = filepath.Join(dir, command)
			break
		}
	}
	r := &running{cmd: exec.Command(command, args[2:]...), done: make(chan struct{})}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = ts.MkAbs("."), output, output
	for _, name := range []string{"PATH", "GORACE", "WORK", "TMPDIR", "LC_ALL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"} {
		if value := ts.Getenv(name); value != "" {
			r.cmd.Env = append(r.cmd.Env, name+"="+value)
		}
	}
	ts.Check(r.cmd.Start())
	go func() {
		defer close(r.done)
		r.cmd.Wait() // its state is asked for by end
	}()
	ts.Defer(func() {
		r.cmd.Process.Kill()
		<-r.done
	})
	ts.Value(processes{}).(map[string]*running)[args[0]] = r
	ts.Setenv(args[0], strconv.Itoa(r.cmd.Process.Pid))
}

// processes is the key of what start started.
type processes struct{}

// end sends a signal and waits for the end with an exact exit code, -1 after a fatal signal:
// end NAME SIGNAL CODE. The signal "none" only waits.
func end(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "none": 0}
	if neg || len(args) != 3 {
		ts.Fatalf("usage: end NAME SIGNAL CODE")
	}
	r := ts.Value(processes{}).(map[string]*running)[args[0]]
	if err := r.cmd.Process.Signal(signals[args[1]]); err != nil && args[1] != "none" {
		ts.Fatalf("%s: %v", args[0], err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		ts.Fatalf("%s still runs %s after the signal %s", args[0], patience, args[1])
	}
	if got := strconv.Itoa(r.cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("%s: exit code %s, want %s:\n%s", args[0], got, args[2], ts.ReadFile(args[0]+".log"))
	}
}

// network builds N lines eth1 ... ethN with the addresses 192.0.i.2, to providers that are 192.0.i.1
// and know the targets 198.18.0.1 and 198.18.0.2, and the LAN eth0: network N. $INTERNET is the
// namespace behind the lines.
func network(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: network N")
	}
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	name := "internet-" + ts.Name()
	internet, err := netns.New(name)
	ts.Check(err)
	ts.Defer(func() { internet.Close() })
	ts.Setenv("INTERNET", name)
	there := []string{"address add 198.18.0.1/32 dev lo", "address add 198.18.0.2/32 dev lo"}
	here := []string{"link add eth0 type bridge", "address add 10.0.0.1/24 dev eth0", "link set eth0 up"}
	for i := 1; i <= count; i++ {
		here = append(here,
			fmt.Sprintf("link add eth%d type veth peer name isp%d netns %s", i, i, name),
			fmt.Sprintf("address add 192.0.%d.2/24 dev eth%d", i, i),
			fmt.Sprintf("link set eth%d up", i))
		there = append(there,
			fmt.Sprintf("address add 192.0.%d.1/24 dev isp%d", i, i),
			fmt.Sprintf("link set isp%d up", i))
	}
	ts.Check(batch(here))
	ts.Check(internet.Batch(there...))
	var routes []byte
	poll(ts, func() string { return "the carrier of all lines:\n" + string(routes) }, func() bool {
		routes, err = exec.Command("ip", "route", "show", "table", "all").Output()
		return err == nil && !bytes.Contains(routes, []byte("linkdown"))
	})
}

func batch(lines []string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, out)
	}
	return nil
}
