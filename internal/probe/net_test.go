package probe_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/probe"
)

// roleEnv makes the test binary probe the loopback as somebody with few rights.
const roleEnv = "FTR_PROBE_TEST_ROLE"

// The router is the process's own namespace; each provider is another one. Lines are veth pairs with
// addresses 10.N.0.2 and fd00:N::2 at our end, .1 at the provider's. No default route is in main: only
// the rules from our addresses lead anywhere.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case os.Getenv(roleEnv) != "":
		os.Exit(m.Run()) // in the namespaces of the test that started it
	case flag.Lookup("test.fuzz").Value.String() != "":
		os.Exit(m.Run()) // a fuzz worker talks to its parent through descriptors that it must inherit
	}
	os.Exit(netns.Private(func() int {
		// A tentative link-local address keeps the kernel from soliciting for a second or two.
		if err := netns.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

var (
	target4 = netip.MustParseAddr("198.51.100.1")
	target6 = netip.MustParseAddr("2001:db8:ff::1")
)

// family is what differs between the address families in these tests.
type family struct {
	name   string
	target netip.Addr
	format string // of our address on line N
	icmp   string // nft's name of the protocol
}

var families = []family{
	{"IPv4", target4, "10.%d.0.2", "icmp"},
	{"IPv6", target6, "fd00:%d::2", "icmpv6"},
}

// source returns our address on line n.
func (f family) source(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(f.format, n)) }

// neighbour returns the provider's address on line n.
func (f family) neighbour(n int) netip.Addr { return f.source(n).Prev() }

// provider makes a namespace that holds the targets.
func provider(t *testing.T, name string) *netns.NS {
	t.Helper()
	ns, err := netns.New(name)
	check(t, err)
	t.Cleanup(func() { check(t, ns.Close()) })
	check(t, ns.Batch("addr add 198.51.100.1/32 dev lo", "addr add 2001:db8:ff::1/128 dev lo nodad"))
	return ns
}

// device returns the name of our end of line n.
func device(n int) string { return fmt.Sprintf("eth%d", n) }

// connect makes line n to a provider.
func connect(t *testing.T, n int, ns *netns.NS) {
	t.Helper()
	plug(t, n, ns)
	t.Cleanup(func() { check(t, netns.Run("ip", "link", "del", device(n))) })
	check(t, rules(n, "add"))
	t.Cleanup(func() { check(t, rules(n, "del")) })
}

// rules adds or deletes the rules from our addresses of line n.
func rules(n int, verb string) error {
	table := fmt.Sprint(1000 + n)
	return errors.Join(
		netns.Run("ip", "rule", verb, "from", fmt.Sprintf("10.%d.0.2", n), "lookup", table),
		netns.Run("ip", "-6", "rule", verb, "from", fmt.Sprintf("fd00:%d::2", n), "lookup", table))
}

// plug makes the interfaces, addresses and routes of line n.
func plug(t *testing.T, n int, ns *netns.NS) {
	t.Helper()
	check(t, netns.Run("ip", "link", "add", device(n), "type", "veth", "peer", "name", device(n), "netns", ns.Name))
	check(t, ns.Batch(
		fmt.Sprintf("addr add 10.%d.0.1/24 dev eth%d", n, n),
		fmt.Sprintf("addr add fd00:%d::1/64 dev eth%d nodad", n, n),
		fmt.Sprintf("link set eth%d up", n)))
	address(t, n)
	check(t, netns.Run("ip", "link", "set", device(n), "up"))
	routes(t, n)
}

func address(t *testing.T, n int) {
	t.Helper()
	check(t, netns.Run("ip", "addr", "add", fmt.Sprintf("10.%d.0.2/24", n), "dev", device(n)))
	check(t, netns.Run("ip", "addr", "add", fmt.Sprintf("fd00:%d::2/64", n), "dev", device(n), "nodad"))
}

// routes fills the table of line n.
func routes(t *testing.T, n int) {
	t.Helper()
	table := fmt.Sprint(1000 + n)
	check(t, netns.Run("ip", "route", "replace", "default", "via", fmt.Sprintf("10.%d.0.1", n), "dev", device(n), "table", table))
	check(t, netns.Run("ip", "-6", "route", "replace", "default", "via", fmt.Sprintf("fd00:%d::1", n), "dev", device(n), "table", table))
}

// prober makes a prober that is closed at the end.
func prober(t *testing.T) *probe.Prober {
	p := probe.New()
	t.Cleanup(func() { check(t, p.Close()) })
	return p
}

// probeBy asks by any method, with a time-out.
func probeBy(p *probe.Prober, timeout time.Duration, device string, source netip.Addr, target config.Target) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.Probe(ctx, device, source, target, false)
}

// ask asks by ICMP echo, with a time-out.
func ask(p *probe.Prober, timeout time.Duration, device string, source, target netip.Addr) (time.Duration, error) {
	return probeBy(p, timeout, device, source, config.Echo(target))
}

// answers probes until there is an answer, for neighbours and links that need a moment.
func answers(t *testing.T, p *probe.Prober, device string, source, target netip.Addr) {
	t.Helper()
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		if _, err = ask(p, 200*time.Millisecond, device, source, target); err == nil {
			return
		}
	}
	t.Fatalf("%v through %s from %v: %v", target, device, source, err)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(timeout); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// silent checks that a probe ends with its time-out for a reason. On a busy machine, the time may be over
// before the probe has come as far as the reason says: then it has more.
func silent(t *testing.T, p *probe.Prober, source netip.Addr, target config.Target, want string) {
	t.Helper()
	for wait := 200 * time.Millisecond; ; wait *= 4 {
		_, err := probeBy(p, wait, device(1), source, target)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want a time-out", err)
			return
		}
		if want := fmt.Sprintf("%s within %v", want, wait); sameReason(err.Error(), want) || wait > timeout {
			refused(t, err, want)
			return
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that a probe fails for a reason.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !sameReason(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// sameReason compares reasons. A timeout may be said to be shorter than it was: on a busy machine, the
// probe begins later than its timeout.
func sameReason(got, want string) bool {
	const within = "no answer within "
	gotBefore, gotTime, _ := strings.Cut(got, within)
	wantBefore, wantTime, ok := strings.Cut(want, within)
	if !ok || gotBefore != wantBefore {
		return got == want
	}
	said, err1 := time.ParseDuration(gotTime)
	most, err2 := time.ParseDuration(wantTime)
	return err1 == nil && err2 == nil && said > 0 && said <= most
}
