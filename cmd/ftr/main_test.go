package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"ftr/internal/netns"
)

// TestMain runs the tests in private namespaces, and this program where a script calls it by one of
// its names.
func TestMain(m *testing.M) {
	commands := map[string]func(){"ftr": main, "fault_tolerant_router": main}
	if commands[filepath.Base(os.Args[0])] != nil {
		testscript.Main(m, commands)
	}
	os.Exit(netns.Private(func() int {
		testscript.Main(m, commands)
		return 0
	}))
}

// TestScripts runs the scripts, each in a network namespace of its own.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		// UPDATE_SCRIPTS=1 writes what was printed into the scripts: read the difference.
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:         func(env *testscript.Env) error { return setup(env, root) },
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": code, "await": await, "until": until, "start": start, "end": end,
			"network": network, "mailserver": mailServer, "manager": manager,
		},
	})
}

// setup prepares the place of one script: its network namespace, its files and its commands.
func setup(env *testscript.Env, root string) error {
	// Commands are started by this goroutine. Its thread is never unlocked: it ends with the script.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	// Link-local addresses come when they please, and are none of the program's business.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := netns.Run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	bin := filepath.Join(env.WorkDir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for name, script := range wrappers() {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			return err
		}
	}
	path := env.Getenv("PATH")
	programs, _, _ := strings.Cut(path, string(filepath.ListSeparator))
	env.Setenv("PATH", bin+string(filepath.ListSeparator)+path)
	env.Values[processes{}] = map[string]*running{}
	env.Setenv("ROOT", root)
	env.Setenv("STATE_DIRECTORY", filepath.Join(env.WorkDir, "state"))
	env.Setenv("RUNTIME_DIRECTORY", filepath.Join(env.WorkDir, "run"))
	env.Setenv("LC_ALL", "C")
	// The race detector would let each command wait for a second before it ends.
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS", "GOTOOLCHAIN"} {
		env.Setenv(name, os.Getenv(name))
	}
	// Other users run the program too.
	for _, dir := range []string{env.WorkDir, filepath.Dir(env.WorkDir), programs, filepath.Dir(programs)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// wrappers are commands of the scripts: plain runs another one as somebody without any privilege,
// capable as somebody with just the two capabilities that the unit gives, and kernelstate prints all
// that the program could change.
func wrappers() map[string]string {
	// Where the tests run in a user namespace of one user, nobody else exists: there the same user
	// goes on without the privileges of root.
	who := "--reuid 65534 --regid 65534 --clear-groups"
	if mapped, err := os.ReadFile("/proc/self/uid_map"); err != nil || strings.Fields(string(mapped))[2] == "1" {
		who = "--securebits +noroot,+noroot_locked"
	}
	return map[string]string{
		"plain":   "exec setpriv " + who + " --inh-caps -all --ambient-caps -all --bounding-set -all \"$@\"",
		"capable": "exec setpriv " + who + " --inh-caps -all,+net_admin,+net_raw --ambient-caps -all,+net_admin,+net_raw --bounding-set -all,+net_admin,+net_raw \"$@\"",
		// Somebody who may look because of his group, and no more.
		"member":   `exec setpriv --reuid 65534 --regid 4242 --clear-groups --inh-caps -all --ambient-caps -all --bounding-set -all "$@"`,
		"down":     `ftr uplink "$1" --runtime-dir "$RUNTIME_DIRECTORY" | grep -q " down "`,
		"cmpstate": `kernelstate | cmp - "$1"`,
		"kernelstate": `ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/fib_multipath_hash_policy /proc/sys/net/ipv4/icmp_errors_use_inbound_ifaddr | sort`,
	}
}
