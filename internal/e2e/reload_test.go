package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ftr/internal/lab"
)

// lineKeys is the entry of a line in the configuration.
func (b *bed) lineKeys(i int) string {
	line := b.Plan.Lines[i]
	return fmt.Sprintf("- interface: %s\n  type: static\n  ip: %s\n  gateway: %s\n  description: %s\n  priority_group: 1\n",
		line.Interface, line.Address, line.Gateway, line.Provider)
}

// New configurations add, remove and rename uplinks while 50 connections a second are made, over lines
// that stay and lines that come and go: none fails but what is under way over a line while that is
// removed, and what is established is not disturbed.
func TestReload(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	whole := b.Config()
	b.begin(whole)
	stays := b.download(0)
	b.pause(2 * time.Second)
	stays.ResetGap()
	knocks := b.knockOnce()
	two, three := b.lineKeys(1), b.lineKeys(2)
	carried, removals := 3, [][2]time.Time(nil)
	reload := func(what, text string, lines ...int) {
		t.Helper()
		b.must(b.WriteConfig(text))
		began := time.Now()
		if out, code := b.output("reload"); code != 0 {
			t.Fatalf("%s: exit code %d: %s", what, code, out)
		}
		b.reloaded(what, lines...)
		if removed := len(lines) < carried; removed {
			removals = append(removals, [2]time.Time{began, time.Now()})
		}
		carried = len(lines)
		b.pause(300 * time.Millisecond)
	}
	pid := b.DaemonPID()
	reload("other names", edit(t, whole, "Provider 1", "First", "Provider 3", "Third"), 0, 1, 2)
	if out, _ := b.output("status"); !strings.Contains(out, "First") || strings.Contains(out, "Provider 1") {
		t.Errorf("the status has the old name:\n%s", out)
	}
	reload("one is gone", edit(t, whole, three, ""), 0, 1)
	b.wait("nothing is left of it", soon, func() bool { return b.table(4) == "" })
	if rules := b.ip("rule"); strings.Contains(rules, b.Plan.Lines[2].Address.String()) {
		t.Errorf("of what is gone is left:\n%s", rules)
	}
	reload("it is back", whole, 0, 1, 2)
	begun := b.download(2)
	since := time.Now()
	reload("two are gone", edit(t, whole, two+three, ""), 0)
	b.says("Provider 3: its connections were released: it is not in the configuration any more", since, soon)
	begun.Stop()
	reload("one is new", edit(t, whole, three, ""), 0, 1)
	b.must(b.WriteConfig("uplinks: ["))
	if out, code := b.output("reload", "--runtime-dir="+b.Dir+"/runtime"); code != 2 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("a bad file: exit code %d: %s", code, out)
	}
	b.reloaded("a bad file", 0, 1)
	reload("as before", whole, 0, 1, 2)
	b.allSucceed("reloads", slices.DeleteFunc(knocks.end(), func(a lab.Attempt) bool {
		return slices.ContainsFunc(removals, func(r [2]time.Time) bool { return a.Start.Before(r[1]) && a.Start.Add(a.Took).After(r[0]) })
	}))
	b.undisturbed("reloads", stays)
	if b.DaemonPID() != pid {
		t.Error("it is another process now")
	}
	// Marks go by the place in the list, and the firewall rules by them.
	since = time.Now()
	b.must(b.WriteConfig(edit(t, whole, two, "")))
	if out, code := b.output("reload"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	b.says("the marks of uplinks have changed: load the rules of generate_iptables again, at once: Provider 3 (2 instead of 3)", since, soon)
	b.reloaded("the one in the middle is gone", 0, 2)
}

// lastTable finds the rule for new connections.
var lastTable = regexp.MustCompile(`from all lookup (\d+) proto 117`)

// reloaded waits until new connections use exactly these lines. The table that they use has a number that
// follows from the number of uplinks.
func (b *bed) reloaded(what string, lines ...int) {
	b.t.Helper()
	b.wait(what, soon, func() bool {
		rules := lastTable.FindAllStringSubmatch(b.ip("rule"), -1)
		if len(rules) != 1 {
			return false // that of the configuration before is still there
		}
		table, err := strconv.Atoi(rules[0][1])
		b.must(err)
		routes := b.table(table)
		for i, line := range b.Plan.Lines {
			if strings.Contains(routes, "dev "+line.Interface+" ") != slices.Contains(lines, i) {
				return false
			}
		}
		return true
	})
}

// What others do to sysctls and to the tables that count traffic is undone within a second and told.
func TestSysctlsAndTables(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.begin(b.Config())
	b.wait("the table that counts traffic", soon, func() bool { return b.counters() != "" })
	table := b.counters()
	whole := func() bool { return b.counters() == table }
	for key, value := range map[string]string{
		"net/ipv4/conf/wan2/rp_filter":                   "2",
		"net/ipv4/conf/wan3/ignore_routes_with_linkdown": "1",
		"net/ipv4/fib_multipath_hash_policy":             "1",
		"net/ipv4/ip_forward":                            "1",
	} {
		since := time.Now()
		b.must(b.Router.Sysctl(key, "0"))
		b.wait(key+" is put back", soon, func() bool {
			now, err := b.Router.Output("cat", "/proc/sys/"+key)
			b.must(err)
			return strings.TrimSpace(now) == value
		})
		b.says("put back what another program removed or changed: sysctl -w "+key+"="+value, since, soon)
	}
	// The lab's own rules are iptables', in tables that would go as well.
	for _, command := range []string{"flush table ip ftr_evidence", "delete table ip ftr_evidence"} {
		since := time.Now()
		b.must(b.Router.Run("nft", command))
		b.says("the table that counts traffic was removed or changed by another program: making it again", since, soon)
		b.wait("the tables are made again after "+command, soon, whole)
	}
	since := time.Now()
	b.must(b.Router.Run("nft", "flush ruleset"))
	b.says("the table that counts traffic was removed or changed by another program: making it again", since, soon)
	b.wait("the tables are made again", soon, whole)
	b.uses(soon, 0, 1, 2)
}

// counters returns the table that counts traffic, without the counts; "" if there is none.
func (b *bed) counters() string {
	out, err := b.Router.Output("nft", "--stateless", "list table ip ftr_evidence")
	if err != nil {
		return ""
	}
	return out
}

// More happens than the daemon can hear of: the kernel drops notifications, and it looks at everything
// when it can.
func TestNotificationsLost(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.begin(b.Config())
	state := func() string { return b.ip("rule") + b.tables() }
	want := state()
	b.pause(time.Second)
	pid := b.DaemonPID()
	b.must(syscall.Kill(pid, syscall.SIGSTOP)) // as on a machine that is too busy
	var burst []string
	for i := range 250 {
		burst = append(burst, fmt.Sprintf("route add default dev lo metric %d table 77", 10+i))
	}
	drops := func() string {
		text, err := b.Router.Output("cat", "/proc/net/netlink")
		b.must(err)
		var lost []string
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); f[0] != "sk" && f[1] == "0" && f[8] != "0" {
				lost = append(lost, f[2]+" lost "+f[8])
			}
		}
		return strings.Join(lost, ", ")
	}
	b.must(b.Router.Batch("rule del priority 20001", "route flush table 2"))
	for began := time.Now(); drops() == ""; {
		if time.Since(began) > 20*time.Second {
			text, _ := os.ReadFile("/proc/net/netlink")
			t.Fatalf("the kernel has not dropped a notification:\n%s", text)
		}
		b.must(b.Router.Batch(burst...))
		b.must(b.Router.Run("ip", "route", "flush", "table", "77"))
	}
	t.Log(drops())
	b.must(b.Router.Batch("rule del priority 20004", "route del default table 4 metric 0"))
	since := time.Now()
	b.must(syscall.Kill(pid, syscall.SIGCONT))
	b.wait("all is as it was", soon, func() bool { return state() == want })
	b.says("put back what another program removed or changed", since, soon)
	// It hears what comes after.
	b.must(b.CutCarrier(0))
	b.uses(soon, 1, 2)
}
