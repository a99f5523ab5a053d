package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// patience is how long a hint may take on a busy machine.
const patience = 20 * time.Second

// watching is a running Watch.
type watching struct {
	t     *testing.T
	hints chan struct{}
	count atomic.Int64
	stop  func() error
}

// watch starts Watch, waits until it listens, and stops it at the end of the test.
func watch(t *testing.T, k *kernel.Kernel) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: t, hints: make(chan struct{}, 100000)}
	done := make(chan error, 1)
	go func() {
		done <- k.Watch(ctx, func() { w.count.Add(1); w.hints <- struct{}{} })
	}()
	w.stop = func() error { cancel(); return <-done }
	t.Cleanup(func() { cancel() })
	w.expect("the start")
	return w
}

func (w *watching) expect(what string) {
	w.t.Helper()
	select {
	case <-w.hints:
	case <-time.After(patience):
		w.t.Fatalf("no hint after %s", what)
	}
}

// settle takes all hints of what has been done so far: the kernel sends notifications in order, so the
// one for a mark comes last.
func (w *watching) settle(world *realWorld, mark int) {
	w.t.Helper()
	before := w.count.Load()
	world.script(fmt.Sprintf("rule add priority %d lookup 77", mark))
	deadline := time.After(patience)
	for w.count.Load() == before {
		select {
		case <-w.hints:
		case <-deadline:
			w.t.Fatal("no hint for a new rule")
		}
	}
	for len(w.hints) > 0 {
		<-w.hints
	}
}

func TestWatchHints(t *testing.T) {
	w := newRealWorld(t, "watch")
	w.script(`
		link add w0 type veth peer name w0-x
		link set w0 addrgenmode none
		link set w0-x addrgenmode none
		link set w0-x up
		link set w0 up
		addr add 192.0.2.2/24 dev w0
		route add default via 192.0.2.1 table 7
	`)
	events := []struct{ name, commands string }{
		{"link down and up", "link set w0 down\nlink set w0 up"},
		{"carrier loss", "link set w0-x down"},
		{"new link", "link add w1 type veth peer name w1-x"},
		{"new address", "addr add 192.0.2.3/24 dev w0"},
		{"lost address", "addr del 192.0.2.3/24 dev w0"},
		{"IPv6 address", "addr add 2001:db8::2/64 dev w0 nodad"},
		{"default in main", "route add default via 192.0.2.1"},
		{"route in a table", "route add 198.51.100.0/24 via 192.0.2.1 table 7"},
		{"IPv6 route in a table", "-6 route add unreachable default table 7"},
		{"rule", "rule add priority 9 lookup 7"},
		{"IPv6 rule", "-6 rule add priority 9 lookup 7"},
		{"neighbour failed", "neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 dev w0\nneigh change 192.0.2.9 nud failed dev w0"},
		{"rp_filter", "!echo 2 > /proc/sys/net/ipv4/conf/w0/rp_filter"},
		{"IPv6 forwarding", "!echo 1 > /proc/sys/net/ipv6/conf/w0/forwarding"},
		{"own nft table", "!nft add table ip ftr_evidence"},
		{"flushed ruleset", "!nft flush ruleset"},
		{"neighbour back", "neigh change 192.0.2.9 lladdr 02:00:00:00:00:01 nud reachable dev w0"},
	}
	watching := watch(t, w.Kernel)
	for i, e := range events {
		watching.settle(w, 1000+i)
		w.run(e.commands)
		watching.expect(e.name)
	}
	if err := watching.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
}

// TestWatchSysctls: the kernel tells of every sysctl that is not looked for.
func TestWatchSysctls(t *testing.T) {
	w := newRealWorld(t, "sysctls")
	w.script("link add w0 type veth peer name w0-x\nlink set w0 up")
	cfg, problems := config.Parse("test.conf", []byte(`
uplinks: [{interface: w0, type: dhcp, priority_group: 1, ipv6: auto}]
downlinks: {lan: lan0}
tests: {ips: [198.51.100.1, "2001:db8::1"]}
`))
	if cfg == nil {
		t.Fatal(problems)
	}
	scope := routing.ScopeOf(cfg)
	silent := routing.Unannounced(scope.Sysctls)
	watching := watch(t, w.Kernel)
	told := 0
	for i, key := range scope.Sysctls {
		if slices.Contains(silent, key) {
			continue
		}
		told++
		w.run("!echo 1 > /proc/sys/" + key)
		watching.settle(w, 1000+i)
		w.run("!echo 0 > /proc/sys/" + key)
		watching.expect(key)
	}
	if told < 5 || len(silent) < 3 {
		t.Errorf("%d sysctls are announced and %d are not", told, len(silent))
	}
}

// run runs ip(8) commands, or after "!" a shell command.
func (w *realWorld) run(commands string) {
	w.t.Helper()
	command, shell := strings.CutPrefix(commands, "!")
	if !shell {
		w.script(commands)
	} else if err := w.ns.Run("sh", "-c", command); err != nil {
		w.t.Fatal(err)
	}
}

// TestEvents holds what hints tell beside "look again".
func TestEvents(t *testing.T) {
	w := newRealWorld(t, "events")
	w.script("link add w0 type veth peer name w0-x\nlink set w0-x up\nlink set w0 up\naddr add 192.0.2.2/24 dev w0")
	obs := observe(t, w)
	link, ok := obs.Link("w0")
	if !ok {
		t.Fatal("no link w0")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hints, done := make(chan routing.Hint, 1000), make(chan error, 1)
	go func() { done <- w.Events(ctx, func(h routing.Hint) { hints <- h }) }()
	expect := func(what string, want routing.Hint) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case h := <-hints:
				if h == want {
					return
				}
			case <-deadline:
				t.Fatalf("no hint %+v after %s", want, what)
			}
		}
	}
	expect("the start", routing.Hint{})
	w.script("neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 dev w0\nneigh change 192.0.2.9 nud failed dev w0")
	expect("a neighbour failed", routing.Hint{Neighbour: netip.MustParseAddr("192.0.2.9"), Interface: link.Index})
	if err := w.SetEvidence(ctx, both, []string{"w0"}); err != nil {
		t.Fatal(err)
	}
	expect("new tables", routing.Hint{Ruleset: true})
	for len(hints) > 0 {
		<-hints
	}
	w.run("!nft flush ruleset")
	expect("a flushed ruleset", routing.Hint{Ruleset: true})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Events ended with %v", err)
	}
}

// TestEventsOfSets: elements of sets that others fill are no news, those of our own are, and so are the sets.
func TestEventsOfSets(t *testing.T) {
	w := newRealWorld(t, "sets")
	want := managedTable(managedConfig(t, 1), 1) // with the set seen
	want.Objects = append(want.Objects, firewall.Object{Kind: firewall.Set, Name: "own", Header: "type ipv4_addr;", Lines: []string{"10.0.0.1"}})
	if _, err := w.SetFirewall(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hints, done := make(chan routing.Hint, 1000), make(chan error, 1)
	go func() { done <- w.Events(ctx, func(h routing.Hint) { hints <- h }) }()
	heard := func() (rules int) {
		t.Helper()
		w.run("!ip link add last type veth peer name last-x") // told of after all that came before
		w.run("!ip link del last")
		for deadline := time.After(patience); ; {
			select {
			case h := <-hints:
				if !h.Ruleset {
					return rules
				}
				rules++
			case <-deadline:
				t.Fatal("no hint of a link")
			}
		}
	}
	heard()
	for _, test := range []struct {
		do   string
		news bool
	}{
		{"add element inet ftr seen { 10.0.0.7 }", false},
		{"delete element inet ftr seen { 10.0.0.7 }", false},
		{"add element inet ftr own { 10.0.0.7 }", true},
		{"delete element inet ftr own { 10.0.0.7 }", true},
		{"delete set inet ftr seen", true},
	} {
		for len(hints) > 0 {
			<-hints
		}
		w.run("!nft " + test.do)
		rules := 0
		for deadline := time.Now().Add(patience); rules == 0 && test.news && time.Now().Before(deadline); {
			rules += heard()
		}
		if rules += heard(); (rules > 0) != test.news {
			t.Errorf("%s: %d hints", test.do, rules)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Events ended with %v", err)
	}
}

// TestWatchIsQuiet holds that a busy router does not keep the daemon awake: neither its own changes nor
// a BGP daemon nor the life of neighbours is news.
func TestWatchIsQuiet(t *testing.T) {
	w := newRealWorld(t, "quiet")
	w.script(`
		link add w0 type veth peer name w0-x
		link set w0 addrgenmode none
		link set w0-x addrgenmode none
		link set w0-x up
		link set w0 up
		addr add 192.0.2.2/24 dev w0
		neigh add 192.0.2.9 lladdr 02:00:00:00:00:01 nud stale dev w0
	`)
	w.carrier("w0", "w0-x") // that would be news
	watching := watch(t, w.Kernel)
	watching.settle(w, 1000)
	before := watching.count.Load()

	gw := via("w0", "192.0.2.1", 1)
	if err := apply(replace(def(7, gw)), del(def(7, gw)), add(lookup(9, 7)), del(lookup(9, 7)))(w); err != nil {
		t.Fatal(err)
	}
	w.script(`
		route add 198.51.100.0/24 via 192.0.2.1 proto bgp
		route del 198.51.100.0/24
		neigh change 192.0.2.9 lladdr 02:00:00:00:00:01 nud reachable dev w0
		neigh change 192.0.2.9 lladdr 02:00:00:00:00:01 nud stale dev w0
	`)
	w.run("!nft 'add table ip others; add set ip others s { type ipv4_addr; }; add element ip others s { 192.0.2.7 }; delete table ip others'")
	watching.settle(w, 1001)
	if n := watching.count.Load() - before; n != 1 {
		t.Errorf("%d hints, want only that of the last rule", n)
	}
	if err := watching.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
}

// TestWatchOverflow holds that lost notifications are themselves a hint, and the next ones come.
func TestWatchOverflow(t *testing.T) {
	w := newRealWorld(t, "overflow")
	kernel.SetWatchBuffer(w.Kernel, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started, release, hints, done := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 10000), make(chan error, 1)
	first := true
	go func() {
		done <- w.Watch(ctx, func() {
			if first { // while this hint runs, nobody reads
				first = false
				started <- struct{}{}
				<-release
			}
			hints <- struct{}{}
		})
	}()
	<-started
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("rule add priority %d lookup 7", 100+i))
	}
	if err := w.ns.Batch(lines...); err != nil {
		t.Fatal(err)
	}
	close(release)
	watching := &watching{t: t, hints: hints}
	watching.expect("the start")
	watching.expect("the overflow")
	if kernel.Overflows(w.Kernel) == 0 {
		t.Error("the buffer did not overflow, nothing was tested")
	}
	for len(hints) > 0 {
		<-hints
	}
	w.script("link add w0 type veth peer name w0-x")
	watching.expect("a new link after the overflow")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
}

func TestWatchLeavesNothingBehind(t *testing.T) {
	w := newRealWorld(t, "leak")
	before := goleak.IgnoreCurrent()
	if err := watch(t, w.Kernel).stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Watch(ended, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch with an ended context ended with %v", err)
	}
	goleak.VerifyNone(t, before)
}
