package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long something may take that must happen: a guard, also on a busy machine.
const patience = 30 * time.Second

// program builds ftr once for the tests of this file.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "lab-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ftr")
	if out, err := exec.Command("go", "build", "-o", path, "ftr/cmd/ftr").CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build ftr: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return path, os.Chmod(dir, 0o755)
})

// user is somebody who runs labs: the registry is in their home.
type user struct {
	t    *testing.T
	home string
	id   uint32
	exe  string
	seen *string // by the latest condition
}

// newUser makes an ordinary user, or root. Where the tests themselves run without root there is no
// other user to become, and no need to.
func newUser(t *testing.T, ordinary bool) user {
	t.Helper()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("/tmp", "lab-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	u := user{t: t, home: home, exe: exe, seen: new(string)}
	// What the user starts gets its signal when the thread ends that started it, not only when the tests end; threads of
	// other tests do end.
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(ids)); ordinary && len(fields) == 3 && fields[2] != "1" {
		u.id = 65534
		if err := os.Chown(home, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// ftr prepares `ftr lab` with arguments.
func (u user) ftr(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, u.exe, append([]string{"lab"}, args...)...)
	cmd.Dir = u.home
	// Not the tests' own environment: in it, the program would believe that it is inside already.
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + u.home, "XDG_RUNTIME_DIR=" + u.home, "SHELL=/bin/sh"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if u.id != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.id, Gid: u.id}
	}
	return cmd
}

// try runs `ftr lab` with arguments and returns what it said.
func (u user) try(args ...string) (string, error) {
	out, err := u.ftr(u.t.Context(), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// stand starts a lab that stays, and waits until it can be asked.
func (u user) stand(name string) *exec.Cmd {
	u.t.Helper()
	var out bytes.Buffer
	cmd := u.ftr(context.WithoutCancel(u.t.Context()), "--no-scenario", "--name", name, "--rates", "10,20")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.until("the lab "+name+" is standing", func() bool {
		text, _ := u.try("status", "--name", name)
		return strings.Count(text, "yes") == 2
	})
	return cmd
}

// sees returns a condition, and notes what it was judged by.
func (u user) sees(ok bool, text string, err error) bool {
	*u.seen = fmt.Sprintf("%s, %v", text, err)
	return ok
}

// until waits for a condition.
func (u user) until(what string, condition func() bool) {
	u.t.Helper()
	*u.seen = ""
	limit := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-limit:
			u.t.Fatalf("not within %s: %s; there is: %s", patience, what, *u.seen)
		case <-tick.C:
		}
	}
}

// Two labs of an ordinary user stand at once; each obeys its own commands; one is stopped, one is
// killed, and nothing remains of either.
func TestStandingLabs(t *testing.T) {
	t.Parallel()
	u := newUser(t, true)
	a, b := u.stand("a"), u.stand("b")

	if text, err := u.try("status", "--name", "c"); err == nil || !strings.Contains(text, `no lab named "c" is standing`) {
		t.Errorf("a lab that is not there: %s, %v", text, err)
	}
	if text, err := u.try("cut", "1"); err == nil || !strings.Contains(text, "choose with --name one of a, b") {
		t.Errorf("which of the two: %s, %v", text, err)
	}
	if text, err := u.try("--no-scenario", "--name", "a"); err == nil || !strings.Contains(text, `a lab named "a" is standing already`) {
		t.Errorf("a second lab of the same name: %s, %v", text, err)
	}
	if text, err := u.try("cut", "1", "--name", "a"); err != nil || text != "line 1: 10 Mbit/s, cut" {
		t.Errorf("cut: %s, %v", text, err)
	}
	u.until("the daemon of lab a takes line 1 out", func() bool {
		text, err := u.try("status", "--name", "a")
		return u.sees(strings.Count(text, "yes") == 1, text, err)
	})
	if text, err := u.try("status", "--name", "b"); err != nil || strings.Count(text, "yes") != 2 {
		t.Errorf("lab b after a cut in lab a: %s, %v", text, err)
	}
	if text, err := u.try("slow", "wan2", "512kbit", "--name", "a"); err != nil || text != "line 2: 0.512 Mbit/s" {
		t.Errorf("slow: %s, %v", text, err)
	}
	if text, err := u.try("exec", "client", "--name", "b", "--", "ip", "-4", "-o", "addr", "show", "dev", "eth0"); err != nil || !strings.Contains(text, "192.168.1.2/24") {
		t.Errorf("exec: %s, %v", text, err)
	}
	shell := u.ftr(t.Context(), "shell", "router", "--name", "b")
	shell.Stdin = strings.NewReader("ip -4 -o addr show dev wan2\nexit 7\n")
	if out, err := shell.CombinedOutput(); shell.ProcessState.ExitCode() != 7 || !strings.Contains(string(out), "100.64.2.2/24") {
		t.Errorf("shell: %s, %v", out, err)
	}
	if text, err := u.try("exec", "nobody", "--name", "b", "--", "true"); err == nil || !strings.Contains(text, `host "nobody": the lab has client, internet, router, server, isp1, isp2`) {
		t.Errorf("a host that is not there: %s, %v", text, err)
	}

	if text, err := u.try("stop", "--name", "a"); err != nil {
		t.Errorf("stop: %s, %v", text, err)
	}
	if err := a.Wait(); err != nil {
		t.Errorf("the stopped lab: %v\n%s", err, a.Stdout)
	}
	inside := u.inside("b")
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = b.Wait()
	u.until("all of the killed lab is gone", func() bool { return len(alive(inside)) == 0 })
	// The kernel closes the socket of a process that was killed a moment after the process has left its namespaces.
	u.until("no lab is standing", func() bool {
		text, err := u.try("status")
		return err != nil && strings.Contains(text, "no lab is standing")
	})
}

// inside returns the process namespace of a lab.
func (u user) inside(name string) string {
	u.t.Helper()
	text, err := u.try("exec", "router", "--name", name, "--", "readlink", "/proc/self/ns/pid")
	if err != nil || !strings.HasPrefix(text, "pid:[") {
		u.t.Fatalf("the lab's process namespace: %s, %v", text, err)
	}
	return text
}

// alive returns the processes of a process namespace; the ended ones that wait for their parent (state
// Z, proc_pid_stat(5)) are not.
func alive(namespace string) []string {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	var list []string
	for _, link := range links {
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "stat"))
		if target, _ := os.Readlink(link); err == nil && target == namespace && !bytes.Contains(stat, []byte(") Z ")) {
			list = append(list, link)
		}
	}
	return list
}

// tags are the marks of HTML.
var tags = regexp.MustCompile("<[^>]*>")

// happened returns the part of a report that tells what was done to the network and what the router said.
func happened(page []byte) string {
	_, rest, _ := strings.Cut(string(page), "<pre>")
	text, _, _ := strings.Cut(rest, "</pre>")
	return html.UnescapeString(tags.ReplaceAllString(text, ""))
}

// The whole scenario with the real program, as users run it.
func TestScenario(t *testing.T) {
	u := newUser(t, false)
	out, err := u.try("--quick", "--report", "report.html")
	page, unread := os.ReadFile(filepath.Join(u.home, "report.html"))
	if err != nil || !strings.Contains(out, "expectations held in") {
		t.Fatalf("%v\n%s\nIn the report:\n%s", err, out, happened(page))
	}
	if unread != nil || !bytes.Contains(page, []byte("expectations held")) {
		t.Errorf("report: %d bytes, %v", len(page), unread)
	}
	if said := happened(page); !strings.Contains(said, "line 2 is cut silently upstream") || !strings.Contains(said, "Uplinks status change") {
		t.Errorf("what happened, in the report:\n%s", said)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	u := newUser(t, true)
	for want, args := range map[string][]string{
		"1 lines: want 2 to 250":              {"--lines", "1"},
		`rate "fast"`:                         {"--rates", "fast"},
		"interval -1s: want more than 0":      {"--interval", "-1s"},
		"no lab is standing: start one with ": {"cut", "1"},
	} {
		if text, err := u.try(args...); err == nil || !strings.Contains(text, want) {
			t.Errorf("ftr lab %v: %q, %v; want %q", args, text, err, want)
		}
	}
}
