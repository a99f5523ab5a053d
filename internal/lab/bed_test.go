package lab_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

func TestMain(m *testing.M) {
	os.Exit(netns.Private(func() int {
		code := m.Run()
		if exe, err := program(); err == nil {
			os.RemoveAll(filepath.Dir(exe))
		}
		return code
	}))
}

// newLab builds a lab whose router is set up by hand: the state that the program would make, in
// ip(8) and iptables-restore(8) words.
func newLab(t *testing.T, options lab.Options) *lab.Lab {
	t.Helper()
	if options.Name == "" {
		options.Name = strings.ToLower(t.Name()) + "-"
	}
	l, err := lab.New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

func routeByHand(t *testing.T, l *lab.Lab) {
	t.Helper()
	n := len(l.Plan.Lines)
	mangle, nat, ways := "*mangle\n", "*nat\n", ""
	mangle += "-A PREROUTING -i lan0 -j CONNMARK --restore-mark\n-A PREROUTING -i dmz0 -j CONNMARK --restore-mark\n"
	var commands []string
	for i, line := range l.Plan.Lines {
		commands = append(commands,
			fmt.Sprintf("route add default via %s dev %s table %d", line.Gateway, line.Interface, 1+i),
			fmt.Sprintf("rule add from %s lookup %d priority %d", line.Address, 1+i, 20000+i),
			fmt.Sprintf("rule add fwmark %d lookup %d priority %d", 1+i, 1+i, 20000+n+i))
		ways += fmt.Sprintf(" nexthop via %s dev %s weight %d", line.Gateway, line.Interface, max(1, line.Weight))
		mangle += fmt.Sprintf("-A PREROUTING -i %s -m conntrack --ctstate NEW -j CONNMARK --set-mark %d\n", line.Interface, 1+i)
		mangle += fmt.Sprintf("-A POSTROUTING -o %s -m conntrack --ctstate NEW -j CONNMARK --set-mark %d\n", line.Interface, 1+i)
		nat += fmt.Sprintf("-A PREROUTING -i %s -p tcp --dport 80 -j DNAT --to-destination 192.168.2.2\n", line.Interface)
		nat += fmt.Sprintf("-A POSTROUTING -o %s -j SNAT --to-source %s\n", line.Interface, line.Address)
	}
	commands = append(commands, fmt.Sprintf("route add default table %d%s", 1+n, ways),
		fmt.Sprintf("rule add lookup main suppress_prefixlength 0 priority %d", 19999),
		fmt.Sprintf("rule add lookup %d priority %d", 1+n, 20000+2*n))
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv4/fib_multipath_hash_policy"} {
		if err := l.Router.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Router.Batch(commands...); err != nil {
		t.Fatal(err)
	}
	if err := l.Router.Input(mangle+"COMMIT\n"+nat+"COMMIT\n", "iptables-restore"); err != nil {
		t.Fatal(err)
	}
}

func lines(rates ...lab.Rate) []lab.Line {
	var list []lab.Line
	for i, r := range rates {
		list = append(list, lab.Line{Rate: r * lab.Mbit, Weight: i + 1})
	}
	return list
}

// downloadOn opens downloads until one runs on the wanted line.
func downloadOn(t *testing.T, l *lab.Lab, line int, rate int64) *lab.Download {
	t.Helper()
	for range 50 {
		d, err := l.StartDownload(t.Context(), l.Plan.Servers[0], 0, rate)
		if err != nil {
			t.Fatal(err)
		}
		if d.Line == line {
			t.Cleanup(d.Stop)
			return d
		}
		d.Stop()
	}
	t.Fatalf("none of 50 downloads ran on line %d", line+1)
	return nil
}

// Not in parallel with others: it measures the bed at its full speed.
func TestRatesAndShares(t *testing.T) {
	l := newLab(t, lab.Options{Lines: lines(10, 20, 30)})
	routeByHand(t, l)

	attempts := l.Spread(t.Context(), l.Plan.Servers[0], 1000, patience)
	if n := attempts.Failed(); n > 0 {
		t.Fatalf("%d of 1000 connections failed", n)
	}
	for i, share := range attempts.Shares(3) {
		if want := float64(i+1) / 6; math.Abs(share-want) > 0.05 {
			t.Errorf("line %d carried %.3f of the connections, want %.3f", i+1, share, want)
		}
	}

	for i, line := range l.Plan.Lines {
		runsAt(t, l, i, line.Rate)
	}
	if err := l.Slow(2, 5*lab.Mbit); err != nil {
		t.Fatal(err)
	}
	runsAt(t, l, 2, 5*lab.Mbit)
}

// runsAt measures a download on a line, after the first moments in which TCP looks for the rate. A
// busy machine gets a few tries.
func runsAt(t *testing.T, l *lab.Lab, line int, rate lab.Rate) {
	t.Helper()
	d := downloadOn(t, l, line, 0)
	defer d.Stop()
	speed := 0.0
	for range 5 {
		speeds, err := lab.Speed(t.Context(), []*lab.Download{d}, 700*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		speed = speeds[0]
		if ratio := speed / rate.Payload(); ratio >= 0.95 && ratio <= 1.05 {
			return
		}
	}
	t.Errorf("line %d of %s: %.2f Mbit/s of payload, want %.2f", line+1, rate, speed, rate.Payload())
}

func TestCutLoseRestore(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: lines(0, 0)})
	routeByHand(t, l)
	echo(t, l)
	through := func(line int) int { return echoes(t, l, line, l.Plan.Targets[0], 20) }
	check := func(what string, want [2]int) {
		t.Helper()
		// A wire that was just plugged in needs a moment.
		err := l.WaitFor(t.Context(), fmt.Sprintf("%v of 20 datagrams answered on lines 1 and 2", want), patience, func() (bool, error) {
			return [2]int{through(0), through(1)} == want, nil
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("at first", [2]int{20, 20})
	do(l.Cut(0))
	check("line 1 cut", [2]int{0, 20})
	// Silent: the carrier is there and the gateway answers.
	if n := echoes(t, l, 0, l.Plan.Lines[0].Gateway, 20); n != 20 {
		t.Errorf("line 1 cut: its gateway answered %d of 20 datagrams", n)
	}
	do(l.Restore(0))
	check("line 1 restored", [2]int{20, 20})
	do(l.CutCarrier(1))
	unplugged(t, l, "wan2")
	do(l.Restore(1))
	check("line 2 restored", [2]int{20, 20})
	for _, direction := range []lab.Direction{lab.Up, lab.Down} {
		do(l.Lose(0, 100, direction))
		check(fmt.Sprintf("line 1 loses all packets in direction %d", direction), [2]int{0, 20})
	}
	do(l.Restore(0))
	do(l.Lose(0, 50, lab.Both))
	received := echoes(t, l, 0, l.Plan.Targets[0], 400)
	// 50 % each way leave 25 % of the echoes: 100 of 400, standard deviation 8.7.
	if received < 60 || received > 140 {
		t.Errorf("50 %% loss both ways: %d of 400 echoes came back, want about 100", received)
	}
	if err := l.Cut(2); err == nil || !strings.Contains(err.Error(), "line 3: there are lines 1 to 2") {
		t.Errorf("cut of a line that does not exist: %v", err)
	}
}

func TestIncoming(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: []lab.Line{{}, {SharedGateway: true}, {SharedGateway: true}}})
	routeByHand(t, l)
	for i := range l.Plan.Lines {
		for _, dmz := range []bool{false, true} {
			if n, err := l.Incoming(t.Context(), i, 20, dmz, patience); n != 20 {
				t.Errorf("line %d, DMZ %v: %d of 20 answered: %v", i+1, dmz, n, err)
			}
		}
		if n, err := l.Foreign(i); n != 0 || err != nil {
			t.Errorf("provider %d dropped %d packets of others' addresses, %v", i+1, n, err)
		}
	}
	// The bed must see a router that answers through the wrong line.
	if err := l.Router.Batch("rule del priority 20001", "rule add from "+l.Plan.Lines[1].Address.String()+" lookup 1 priority 20001"); err != nil {
		t.Fatal(err)
	}
	if n, _ := l.Incoming(t.Context(), 1, 2, false, 300*time.Millisecond); n != 0 {
		t.Errorf("%d of 2 connections were answered through the wrong line", n)
	}
	if n, err := l.Foreign(0); n == 0 || err != nil {
		t.Errorf("provider 1 dropped %d packets of line 2's address, %v", n, err)
	}
}

// Two labs stand at once in one process, and what happens in one is not seen in the other.
func TestTwoLabs(t *testing.T) {
	t.Parallel()
	a := newLab(t, lab.Options{Name: "a-", Lines: lines(0, 0)})
	b := newLab(t, lab.Options{Name: "b-", Lines: lines(0, 0)})
	routeByHand(t, a)
	routeByHand(t, b)
	if err := a.Cut(0); err != nil {
		t.Fatal(err)
	}
	if err := a.Cut(1); err != nil {
		t.Fatal(err)
	}
	if n := a.Spread(t.Context(), a.Plan.Servers[0], 10, 300*time.Millisecond).Failed(); n != 10 {
		t.Errorf("all lines of lab a are cut, but only %d of 10 connections failed", n)
	}
	if n := b.Spread(t.Context(), b.Plan.Servers[0], 10, patience).Failed(); n != 0 {
		t.Errorf("in lab b %d of 10 connections failed", n)
	}
}

// A connection that came about by a retry alone says so.
func TestResent(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: lines(0)})
	routeByHand(t, l)
	if err := l.Cut(0); err != nil {
		t.Fatal(err)
	}
	late := make(chan lab.Attempt, 1)
	go func() { late <- l.Attempt(t.Context(), l.Plan.Servers[0], patience) }()
	sent := func() bool {
		out, err := l.Client.Output("ss", "-Htn", "state", "syn-sent")
		return err == nil && strings.TrimSpace(out) != ""
	}
	for began := time.Now(); !sent(); {
		if time.Since(began) > patience {
			t.Fatal("the connection does not begin")
		}
	}
	if err := l.Restore(0); err != nil {
		t.Fatal(err)
	}
	if a := <-late; a.Err != nil || a.Resent == 0 || a.Took < 900*time.Millisecond {
		t.Errorf("a connection over a line that comes back: %d segments sent again, after %s, %v", a.Resent, a.Took, a.Err)
	}
	if a := l.Attempt(t.Context(), l.Plan.Servers[0], patience); a.Err != nil || a.Resent != 0 && a.Took < 900*time.Millisecond {
		t.Errorf("a connection over a line that is well: %d segments sent again, after %s, %v", a.Resent, a.Took, a.Err)
	}
}

func TestKnockSeesTheOutage(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: lines(0, 0)})
	routeByHand(t, l)
	var cut, restored time.Time
	attempts := knock(t, l, 1500*time.Millisecond, func(at time.Duration) error {
		if at == 500*time.Millisecond {
			cut = time.Now()
			return l.Cut(0)
		}
		restored = time.Now()
		return l.Restore(0)
	})
	outage := attempts.Outage(cut)
	if attempts.Failed() == 0 || outage < 100*time.Millisecond || outage > restored.Sub(cut)+500*time.Millisecond {
		t.Errorf("line cut for %s: %d of %d connections failed, over %s", restored.Sub(cut), attempts.Failed(), len(attempts), outage)
	}
}

// unplugged waits until an interface of the router is seen to have no carrier.
func unplugged(t *testing.T, l *lab.Lab, name string) {
	t.Helper()
	err := l.WaitFor(t.Context(), name+" to be unplugged", patience, func() (bool, error) {
		out, err := l.Router.Output("ip", "link", "show", "dev", name)
		return strings.Contains(out, "NO-CARRIER"), err
	})
	if err != nil {
		t.Error(err)
	}
}
