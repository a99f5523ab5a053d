package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The daemon is stopped, killed and started again, and what it wrote is deleted by hand, while 50
// connections a second are made: none fails, and what was deleted is back within a second.
func TestLife(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	state := func() string { return b.ip("rule") + b.tables() }
	want := state()

	knocks := b.knockOnce()
	for range 2 {
		b.must(b.StopDaemon())
		b.unchanged("stopped", want, state)
		b.restart()
		b.unchanged("started again", want, state)
		b.must(b.KillDaemon())
		b.unchanged("killed", want, state)
		b.restart()
		b.unchanged("started after it was killed", want, state)
	}
	undone := func(commands ...string) {
		t.Helper()
		since := time.Now()
		b.must(b.Router.Batch(commands...))
		b.wait("what "+commands[0]+" did is undone", soon, func() bool { return state() == want })
		b.says("put back what another program removed or changed", since, soon)
	}
	// Without one of these, packets still find their way by the others.
	undone("rule del priority 20001")
	undone("rule del priority 20003")
	undone("route flush table 2")
	undone("route del default table 4 metric 0")
	undone("route del default table 4 metric 1")
	b.allSucceed("stopped, killed, started, deleted by hand", knocks.end())
	b.noLeaks()

	// With one of these nobody can be served until it is undone.
	undone("rule del priority 19999")
	undone("route replace default via 100.64.1.1 dev wan1 table 2")
	undone("rule flush", "rule add lookup main priority 32766", "rule add lookup default priority 32767",
		"route flush table 1", "route flush table 2", "route flush table 3", "route flush table 4")
	b.spread("all deleted by hand", 60)
}

// restart starts the daemon again and waits until it has judged the lines.
func (b *bed) restart() {
	b.t.Helper()
	since := time.Now()
	b.must(b.StartDaemon(b.t.Context()))
	b.says("Initial default route uplinks: Provider 1, Provider 2, Provider 3", since, 10*time.Second)
}

func (b *bed) unchanged(what, want string, state func() string) {
	b.t.Helper()
	if got := state(); got != want {
		b.t.Errorf("%s: rules and routes are\n%s\nwant\n%s", what, got, want)
	}
}

// tables returns the routes of all tables of the program.
func (b *bed) tables() string {
	var all strings.Builder
	for n := range len(b.Plan.Lines) + 1 {
		fmt.Fprintf(&all, "table %d\n%s", 1+n, b.table(1+n))
	}
	return all.String()
}

// The daemon needs no more than the capabilities CAP_NET_ADMIN and CAP_NET_RAW.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	const caps = "-all,+net_admin,+net_raw"
	before := []string{"setpriv", "--inh-caps=" + caps, "--ambient-caps=" + caps, "--bounding-set=" + caps, "--no-new-privs"}
	user := "0"
	if nobodyExists() {
		user = "65534"
		before = append(before, "--reuid="+user, "--regid="+user, "--clear-groups")
	}
	b := newBed(t, three(), before...)
	b.must(b.WriteConfig(b.Config()))
	b.must(os.Chmod(b.Dir, 0o755))
	if out, err := exec.Command("chown", "-R", user+":"+user, b.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.must(b.ApplyRules(t.Context()))
	b.must(b.StartDaemon(t.Context()))
	b.uses(10*time.Second, 0, 1, 2)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.DaemonPID()))
	b.must(err)
	for _, want := range []string{"\nCapEff:\t0000000000003000\n", "\nUid:\t" + user + "\t" + user + "\t" + user + "\t" + user + "\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the daemon's status has no %q:\n%s", want, status)
		}
	}
	for key, want := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv4/fib_multipath_hash_policy": "1", "net/ipv4/icmp_errors_use_inbound_ifaddr": "1",
		"net/ipv4/conf/wan1/rp_filter": "2", "net/ipv4/conf/wan3/ignore_routes_with_linkdown": "1",
	} {
		value, err := b.Router.Output("cat", "/proc/sys/"+key)
		b.must(err)
		if strings.TrimSpace(value) != want {
			t.Errorf("%s is %s, want %s", key, value, want)
		}
	}
	for i, share := range b.spread("at first", 90) {
		if share == 0 {
			t.Errorf("line %d carried none of 90 connections", i+1)
		}
	}
	b.incoming("at first", 20)
	since := time.Now()
	b.must(b.Cut(0))
	b.uses(10*time.Second, 1, 2)
	b.must(b.CutCarrier(1))
	b.uses(10*time.Second, 2)
	b.must(b.Restore(0))
	b.must(b.Restore(1))
	b.uses(10*time.Second, 0, 1, 2)
	b.spread("lines restored", 30)
	if info, err := os.Stat(b.Dir + "/ftr.log"); err != nil || info.Size() == 0 {
		t.Errorf("the log file: %v", err)
	}
	b.must(b.StopDaemon())
	out, code := b.output("cleanup")
	if code != 0 || strings.Contains(b.ip("rule"), "lookup 4") {
		t.Errorf("cleanup: exit code %d, said:\n%s\nrules left:\n%s", code, out, b.ip("rule"))
	}
	for _, e := range b.Log().Entries() {
		if e.Time.After(since) && (strings.Contains(e.Text, "ERROR") || strings.Contains(e.Text, "WARN")) {
			t.Errorf("the daemon complains: %s", e.Text)
		}
	}
}

// nobodyExists tells whether there are other users in here: without root, there is just one.
func nobodyExists() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Contains(string(ids), "4294967295")
}
