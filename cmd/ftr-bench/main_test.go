package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Private(m.Run)) }

// The whole way: flags, lab, the built program, one failure, files and exit status.
func TestOnePhase(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "ftr")
	build := exec.Command("go", "build", "-o", program, "ftr/cmd/ftr")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v: %s", err, out)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	var out, errs bytes.Buffer
	code := run([]string{
		"--program", program, "--runs", "1", "--only", "udp-carrier",
		"--json", file("bench.json"), "--markdown", file("bench.md"), "--chart", file("bench.svg"),
	}, &out, &errs)
	// A busy machine may miss a goal; it must not fail to measure.
	if code != exitOK && !strings.Contains(out.String(), "0 not measured") || errs.Len() > 0 {
		t.Fatalf("exit status %d:\n%s%s", code, &out, &errs)
	}
	for name, want := range map[string]string{
		"bench.json": `"phase": "udp-carrier"`, "bench.md": "| udp-carrier | UDP flow, carrier lost → replies resume | median ≤ 60 ms |", "bench.svg": "replies resume",
	} {
		text, err := os.ReadFile(file(name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want %q in it:\n%.600s", name, err, want, text)
		}
	}
}

// Another program needs nothing of ours: here a script whose router never notices anything.
func TestAnotherProgram(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "prepare")
	err := os.WriteFile(script, []byte(`
set -- $BENCH_LINE1
ways="nexthop via $3 dev $1"
set -- $BENCH_LINE2
ip route add default $ways nexthop via $3 dev $1
sysctl -qw net.ipv4.ip_forward=1
echo "$BENCH_TARGETS" > "$BENCH_DIR/targets"
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{settings: settings{command: "sh -c 'cat {dir}/targets; exec sleep 60' {config}", prepare: script, runs: 1, family: ipv4}}
	d, err := b.newBed(t.Context(), 2, "other-", defaults)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(d.fresh(t.Context()), d.program.ended()); err != nil {
		t.Fatal(err)
	}
	if got := d.program.tail.all(); !strings.Contains(got, d.Plan.Targets[0].String()) {
		t.Errorf("the program said %q, want the targets that the script has written", got)
	}
	if err := d.watch.look(func(s *state) {
		if s.table != 254 || !s.usesAll() {
			t.Errorf("table %d over %d lines is what new connections take, want 254 (main) over 2", s.table, s.best(s.table).count())
		}
	}); err != nil {
		t.Error(err)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--list", "--runs", "0"}, "--runs 0: want 1 to 1000"},
		{[]string{"--list", "--only", "carrier,nothing"}, "--only nothing: there is no such phase"},
		{[]string{"--list", "--family", "5"}, "--family 5: want 4 or 6"},
		{[]string{"--list", "quick"}, `argument "quick": there are only flags`},
		{[]string{"--program", "/nowhere/ftr"}, "no such file"},
	} {
		if _, err := parse(c.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	s, err := parse([]string{"--list", "--quick", "--command", "/usr/bin/other-program --config {config}"}, &bytes.Buffer{})
	if err != nil || s.runs != quickRuns || s.name != "other-program" || s.own() {
		t.Errorf("quick run of another program: %+v, %v", s, err)
	}
}

// newLab builds a lab without a program.
func newLab(t *testing.T, of family, lines int) *lab.Lab {
	t.Helper()
	name := fmt.Sprintf("%s-", strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")))
	l, err := lab.New(t.Context(), lab.Options{Name: name, Lines: slices.Repeat([]lab.Line{of.line()}, lines)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
