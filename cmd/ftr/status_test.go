package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
	"ftr/internal/web"
)

func TestStatus(t *testing.T) {
	p, dir, _ := daemonOf(t)
	for _, tt := range []struct {
		name     string
		snapshot status.Snapshot
		code     int
		says     []string
	}{
		{"well", status.Snapshot{Uplinks: []status.Uplink{line("Fibre", "eth1", health.Up), line("Cable", "eth2", health.Up)}}, 0,
			[]string{"OK: All 2 uplinks are well.\n", "Fibre", "yes, 50 %", "8.0 ms", "New connections use: Fibre 50 %, Cable 50 %.\n"}},
		{"one down", status.Snapshot{Uplinks: []status.Uplink{line("Fibre", "eth1", health.Up), line("Cable", "eth2", health.Down)}}, 1,
			[]string{"DEGRADED: Cable (eth2) is down.\n", "New connections use: Fibre 100 %.\n"}},
		{"a warning", status.Snapshot{Uplinks: []status.Uplink{line("Fibre", "eth1", health.Up)}, Warnings: []routing.Warning{{Text: "it rains", Cure: "open the umbrella"}}}, 1,
			[]string{"DEGRADED: 1 warning.\n", "it rains\n", "what to do: open the umbrella\n"}},
		{"all down", status.Snapshot{Uplinks: []status.Uplink{line("Cable", "eth2", health.Down)}}, 2,
			[]string{"DOWN: No uplink is known to work.\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.set(func(p *puppet) { p.snapshot = &tt.snapshot })
			code, out, bad := call(t, t.Context(), "status", "--runtime-dir", dir)
			if code != tt.code || bad != "" || strings.ContainsRune(out, '\x1b') {
				t.Errorf("exit code %d, want %d; %s%s", code, tt.code, out, bad)
			}
			for _, want := range tt.says {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			var v status.View
			if code, out, _ := call(t, t.Context(), "status", "--json", "--runtime-dir", dir); code != tt.code || json.Unmarshal([]byte(out), &v) != nil || len(v.Uplinks) != len(tt.snapshot.Uplinks) {
				t.Errorf("--json: exit code %d, %s", code, out)
			}
		})
	}
}

// The daemon is found by flag, by the file, and also where the file is bad.
func TestStatusFindsTheDaemon(t *testing.T) {
	_, dir, _ := daemonOf(t, line("Fibre", "eth1", health.Up))
	file := filepath.Join(t.TempDir(), "f.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := config.Example() + "\npaths:\n  runtime: " + dir + "\n"
	if strings.Contains(config.Example(), "\npaths:") {
		good = regexp.MustCompile(`(?s)\npaths:.*`).ReplaceAllString(config.Example(), "\npaths:\n  runtime: "+dir+"\n")
	}
	write(good)
	if code, out, bad := call(t, t.Context(), "status", "--config", file); code != 0 {
		t.Errorf("by the file: exit code %d, %s%s", code, out, bad)
	}
	write("uplinks: [")
	if code, out, bad := call(t, t.Context(), "status", "--config", file, "--runtime-dir", dir); code != 0 {
		t.Errorf("beside a bad file: exit code %d, %s%s", code, out, bad)
	}
	t.Setenv("RUNTIME_DIRECTORY", dir)
	if code, out, bad := call(t, t.Context(), "status", "--config", file); code != 0 {
		t.Errorf("by systemd's environment: exit code %d, %s%s", code, out, bad)
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"uplink", "eth1"}, {"uplink", "eth1", "down"}, {"reload"}} {
		code, out, bad := call(t, t.Context(), append(args, "--runtime-dir", dir)...)
		want := "ftr: no monitor runs with the runtime directory " + dir + "; start it: systemctl start ftr"
		if code != 3 || out != "" || !strings.HasPrefix(bad, want) {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, bad)
		}
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("ftr: process %d works here, but nobody listens at %s", os.Getpid(), web.Socket(dir))
	if code, _, bad := call(t, t.Context(), "status", "--runtime-dir", dir); code != 3 || !strings.HasPrefix(bad, want) {
		t.Errorf("a daemon without socket: exit code %d, %s", code, bad)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if pid := holder(dir); pid != "" {
		t.Errorf("process %s holds a lock that was given back", pid)
	}
}

// Monitoring programs must not take a typing error for lines that are down.
func TestStatusRefusesWrongWords(t *testing.T) {
	for _, args := range [][]string{{"status", "now"}, {"status", "--jsn"}, {"status", "--json", "--watch"}} {
		if code, _, bad := call(t, t.Context(), args...); code != 3 || bad == "" {
			t.Errorf("%v: exit code %d, %s", args, code, bad)
		}
	}
}

func TestUnreached(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("ask the daemon: %w", fs.ErrPermission), 3, "you may not ask the daemon: ask the daemon: permission denied; run it with sudo"},
		{context.DeadlineExceeded, 3, "the daemon does not answer; see its log, and if it hangs start it again: systemctl restart ftr"},
		{&web.Error{Code: web.Forbidden, Message: "only root"}, 1, "only root"},
		{&web.Error{Code: web.Failure, Message: "disk full"}, 1, "disk full"},
		{&web.Error{Code: web.BadConfig, Message: "f has 1 error"}, 2, "f has 1 error"},
		{&web.Error{Code: web.UnknownUplink, Message: "no such uplink"}, 2, "no such uplink"},
		{&web.Error{Code: web.Starting, Message: "try again"}, 3, "try again"},
	} {
		var exit *exitError
		if err := unreached(tt.err, t.TempDir()); !errors.As(err, &exit) || exit.code != tt.code || err.Error() != tt.says {
			t.Errorf("%v: exit code %d: %v", tt.err, exit.code, err)
		}
	}
	if err := unreached(nil, ""); err != nil {
		t.Errorf("no error became %v", err)
	}
}

// frames ends a watch after a number of frames.
type frames struct {
	text   []string
	enough int
	stop   func()
}

func (f *frames) Write(p []byte) (int, error) {
	if f.text = append(f.text, string(p)); len(f.text) == f.enough {
		f.stop()
	}
	return len(p), nil
}

func TestWatch(t *testing.T) {
	_, dir, _ := daemonOf(t, line("Fibre", "eth1", health.Up))
	for dir, want := range map[string]string{dir: "OK: The only uplink is well.\n", t.TempDir(): "no monitor runs"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		shown := &frames{enough: 2, stop: cancel}
		if code := run(ctx, []string{"ftr", "status", "--watch", "--runtime-dir", dir}, strings.NewReader(""), shown, shown); code != 0 {
			t.Errorf("exit code %d", code)
		}
		cancel()
		if len(shown.text) != 2 || !strings.HasPrefix(shown.text[0], want) || !strings.HasPrefix(shown.text[1], want) {
			t.Errorf("frames: %q", shown.text)
		}
	}
}

// On a terminal the table fits it and has colours, and each frame replaces the one before.
func TestTerminal(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 5, Col: 77}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if l := layout(terminal); l.Width != 77 || !l.Color {
		t.Errorf("layout of a terminal: %+v", l)
	}
	t.Setenv("NO_COLOR", "1")
	if l := layout(terminal); l.Color {
		t.Error("colours in spite of NO_COLOR")
	}
	if got, want := frame(terminal, "a\nb\n"), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J"; got != want {
		t.Errorf("frame %q, want %q", got, want)
	}
	if got := frame(terminal, "1\n2\n3\n4\n5\n6\n"); strings.Count(got, "\n") != 4 || !strings.Contains(got, "3\x1b[K\r\n… (ftr status shows the rest)") {
		t.Errorf("a frame that is too high: %q", got)
	}
	t.Setenv("COLUMNS", "61")
	if l := layout(&strings.Builder{}); l.Width != 61 || l.Color {
		t.Errorf("layout elsewhere: %+v", l)
	}
}

// The daemon is found by its configuration file although that is refused.
func TestRuntimeDir(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	file := filepath.Join(t.TempDir(), "ftr.conf")
	const start = "uplinks: [{interface: eth1, type: dhcp, priority_group: 1}]\ndownlinks: {lan: eth0}\ntests: {ips: [198.18.0.1]}\npaths: {runtime: /run/elsewhere}\nfirewall: managed\n"
	for what, rest := range map[string]string{
		"good": "", "without the file of a set": "sets: [{name: bank, file: /nowhere/bank}]\n",
		"with an unknown user":        "policies: [{name: backup, user: no-such-user, uplinks: eth1}]\n",
		"with mistakes in other keys": "policies: [{name: backup, uplinks: nowhere}]\nsecurity: 1\n",
	} {
		if err := os.WriteFile(file, []byte(start+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir := (&flags{config: file}).runtimeDir(); dir != "/run/elsewhere" {
			t.Errorf("%s: %s", what, dir)
		}
	}
}
