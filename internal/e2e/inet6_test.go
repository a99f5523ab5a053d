package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// newInet6Bed makes a lab of three lines with this IPv6, and a configuration with a managed firewall.
func newInet6Bed(t *testing.T, kind lab.Inet6) (*bed, string) {
	t.Helper()
	lines := three()
	for i := range lines {
		lines[i].Inet6 = kind
	}
	b := newBed(t, lines)
	return b, b.Config() + "firewall: managed\n"
}

// start6 starts the program and waits until both families are in use on all lines.
func (b *bed) start6(config string) {
	b.t.Helper()
	b.must(b.WriteConfig(config))
	b.must(b.StartDaemon(b.t.Context()))
	b.uses(10*time.Second, 0, 1, 2)
	b.uses6(10*time.Second, 0, 1, 2)
	b.wait("the firewall table", soon, func() bool {
		out, err := b.Router.Output("nft", "list", "table", "inet", "ftr")
		return err == nil && strings.Contains(out, "deal6")
	})
}

// uses6 waits until new connections over IPv6 use exactly these lines.
func (b *bed) uses6(limit time.Duration, lines ...int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("lines %v (from 0) in use over IPv6", lines), limit, func() bool {
		return slices.Equal(b.selected6(), lines) && b.steered("-6", lines)
	})
}

func (b *bed) selected6() []int {
	hops, err := b.Selected6()
	b.must(err)
	var lines []int
	for _, h := range hops {
		lines = append(lines, h.Line)
	}
	slices.Sort(lines)
	return lines
}

// spread6 opens n connections over IPv6; all must succeed.
func (b *bed) spread6(what string, n int) []float64 {
	b.t.Helper()
	attempts := b.Spread(b.t.Context(), b.Plan.Servers6[0], n, 5*time.Second)
	b.allSucceed(what, attempts)
	return attempts.Shares(len(b.Plan.Lines))
}

// An uplink whose IPv6 alone dies: IPv4 stays on it, IPv6 moves, within the same time, for a LAN behind
// masquerading, and over link-local gateways.
func TestIPv6(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.FixedIPv6)
	b.start6(text)
	if shares := b.spread6("all is well", 30); slices.Contains(shares, 0) {
		t.Errorf("over IPv6 the lines carry %v", shares)
	}
	b.own6()
	b.Plan.Servers = b.Plan.Servers6 // those who knock use IPv6

	const margin = time.Second // of a busy machine
	knocks := b.knock(clientPatience)
	b.pause(300 * time.Millisecond)
	cut := time.Now()
	b.must(b.CutFamily6(0))
	b.uses6(soon, 1, 2)
	b.pause(clientPatience + 500*time.Millisecond)
	attempts := knocks.end()
	t.Logf("IPv6 alone is silent: connections failed for %s, %d of %d", attempts.Outage(cut), attempts.Failed(), len(attempts))
	if attempts.Outage(cut) > 2*time.Second+margin || attempts.Failed() == 0 {
		t.Errorf("connections failed for %s", attempts.Outage(cut))
	}
	if got := b.selected(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("IPv4 uses the lines %v", got)
	}
	status, _ := b.output("status")
	for _, want := range []string{"IPv4", "IPv6", "New IPv6 connections use: Provider 2"} {
		if !strings.Contains(status, want) {
			t.Errorf("status does not say %q:\n%s", want, status)
		}
	}
	b.allSucceed("without the dead line", b.spreadOnce(b.Plan.Servers6[0], 30))
	b.must(b.Restore(0))
	b.uses6(20*time.Second, 0, 1, 2)

	knocks = b.knock(clientPatience)
	b.pause(300 * time.Millisecond)
	cut = time.Now()
	b.must(b.CutCarrier(1))
	b.uses6(soon, 0, 2)
	b.pause(clientPatience + 500*time.Millisecond)
	attempts = knocks.end()
	t.Logf("carrier: connections failed for %s, %d of %d", attempts.Outage(cut), attempts.Failed(), len(attempts))
	if attempts.Outage(cut) > margin {
		t.Errorf("after the loss of the carrier connections failed for %s", attempts.Outage(cut))
	}
	b.must(b.Restore(1))
	b.uses6(20*time.Second, 0, 1, 2)
	b.uses(20*time.Second, 0, 1, 2)
	b.repaired6()
	b.noLeaks()
	b.cleaned6()
}

// repaired6 removes rules and routes over IPv6, which are put back.
func (b *bed) repaired6() {
	b.t.Helper()
	whole := func() string {
		text := b.ip("-6", "rule")
		for _, table := range []string{"1", "4"} {
			out, err := b.Router.Output("ip", "-6", "route", "show", "table", table)
			if err != nil && !strings.Contains(err.Error(), "FIB table does not exist") {
				b.t.Fatal(err)
			}
			text += out
		}
		return text
	}
	want := whole()
	for _, words := range []string{"-6 rule del priority 20000", "-6 rule del priority 20007", "-6 route flush table 1", "-6 route flush table 4"} {
		b.must(b.Router.Run("ip", strings.Fields(words)...))
		b.wait("what is as it was after: ip "+words, soon, func() bool { return whole() == want })
	}
}

// own6 opens connections from the router itself: they use all lines, each with its own address.
func (b *bed) own6() {
	b.t.Helper()
	var used [3]int
	for i := range 30 {
		response, err := b.Router.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers6[i%6], lab.WebPort), "/")
		b.must(err)
		line, err := strconv.Atoi(response.Header.Get(lab.LineHeader))
		b.must(errors.Join(err, response.Body.Close()))
		used[line-1]++
	}
	if slices.Contains(used[:], 0) {
		b.t.Errorf("the router's own connections over IPv6 use the lines %v", used)
	}
	b.noLeaks()
}

// cleaned6 stops the program, cleans up, and wants nothing left over IPv6.
func (b *bed) cleaned6() {
	b.t.Helper()
	b.must(b.StopDaemon())
	if out, code := b.output("cleanup"); code != 0 {
		b.t.Fatalf("cleanup: %d: %s", code, out)
	}
	left := b.ip("-6", "rule") + b.ip("-6", "route", "show", "table", "all")
	if strings.Contains(left, "proto 117") {
		b.t.Errorf("after cleanup there is still\n%s", left)
	}
	for key, want := range map[string]string{"net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/wan1/ignore_routes_with_linkdown": "0", "net/ipv6/conf/wan1/accept_ra": "1"} {
		if got := b.sysctl(key); got != want {
			b.t.Errorf("after cleanup %s is %s, want %s", key, got, want)
		}
	}
}

func (b *bed) sysctl(key string) (value string) {
	b.t.Helper()
	b.must(b.Router.Do(func() error {
		data, err := os.ReadFile("/proc/sys/" + key)
		value = strings.TrimSpace(string(data))
		return err
	}))
	return value
}

// Addresses and gateways come from router advertisements, and stay though forwarding is switched on.
func TestIPv6Advertised(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.AdvertisedIPv6)
	// One line is judged by TCP and HTTP, another by its gateway alone, by neighbour solicitation over IPv6.
	server := b.Plan.Servers6[2]
	text = edit(t, text, "  description: Provider 2\n", fmt.Sprintf(`  description: Provider 2
  tests: {ips: [%s, %s], targets: ["tcp://[%s]:80", "http://[%s]/"], required_successful: 2}
`, b.Plan.Targets[0], b.Plan.Targets[1], server, server),
		"  description: Provider 3\n", "  description: Provider 3\n  tests: {ips: [], targets: [gateway], required_successful: 1}\n")
	b.wait("advertised routes", 10*time.Second, func() bool { return strings.Count(b.ip("-6", "route", "show", "default"), "proto ra") == 3 })
	b.start6(text)
	if got := b.sysctl("net/ipv6/conf/all/forwarding") + b.sysctl("net/ipv6/conf/wan1/accept_ra"); got != "12" {
		t.Errorf("forwarding and accept_ra are %s", got)
	}
	if routes := b.ip("-6", "route", "show", "default"); strings.Count(routes, "proto ra") != 3 {
		t.Errorf("the advertised routes are\n%s", routes)
	}
	if shares := b.spread6("all is well", 30); slices.Contains(shares, 0) {
		t.Errorf("over IPv6 the lines carry %v", shares)
	}
	for i := range 3 {
		b.must(b.CutCarrier(i))
		b.wait(fmt.Sprintf("line %d out of use over IPv6", i+1), soon, func() bool { return !slices.Contains(b.selected6(), i) })
		b.must(b.Restore(i))
		b.uses6(20*time.Second, 0, 1, 2)
	}
	b.noLeaks()
	b.cleaned6()
}

// A router that forwarded before has missed the advertisements, and the next ones may be half an hour away: it
// asks for them and has its lines at once.
func TestIPv6Solicited(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.SolicitedIPv6)
	routes := func() int { return strings.Count(b.ip("-6", "route", "show", "default"), "proto ra") }
	b.wait("the routes that the kernel asks for when links come up", 15*time.Second, func() bool { return routes() == 3 })
	b.must(b.Router.Sysctl("net/ipv6/conf/all/forwarding", "1"))
	b.wait("the kernel to forget them", soon, func() bool { return routes() == 0 })
	b.start6(text)
	b.says("no router has advertised itself: asking for one on wan1", time.Time{}, soon)
	if n := routes(); n != 3 {
		t.Errorf("%d routes of router advertisements, want 3", n)
	}
	if shares := b.spread6("all is well", 30); slices.Contains(shares, 0) {
		t.Errorf("over IPv6 the lines carry %v", shares)
	}
	b.noLeaks()

	// Without IPv6 in the file, nothing of it stays, nor what counts it; what counts IPv4 does.
	b.must(b.WriteConfig(strings.ReplaceAll(text, "  ipv6: auto\n", "")))
	if out, code := b.output("reload"); code != 0 {
		t.Fatalf("reload: %d: %s", code, out)
	}
	b.wait("what counts IPv6 is gone", soon, func() bool {
		counters, err := b.Router.Output("nft", "list", "counters")
		b.must(err)
		return !strings.Contains(counters, "-ip6-") && strings.Contains(counters, "counter sending-ip-wan1 ")
	})
	b.wait("rules and routes of IPv6 are gone", soon, func() bool {
		return !strings.Contains(b.ip("-6", "rule")+b.ip("-6", "route", "show", "table", "all"), "proto 117")
	})
}

// Hosts inside keep their part of the address and get the prefix of the line; a prefix that changes is
// followed without a restart. Where addresses stay, those of a line leave by it and by no other.
func TestIPv6Prefixes(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.FixedIPv6)
	file := func(i int) string { return filepath.Join(b.Dir, "prefix-"+b.Plan.Lines[i].Interface) }
	for i, line := range b.Plan.Lines {
		gateway := fmt.Sprintf("{ip: %q, gateway: \"fe80::1\"}", line.Address6)
		nat := "prefix"
		if i == 2 {
			nat = "none"
		}
		text = edit(t, text, gateway, strings.TrimSuffix(gateway, "}")+", nat: "+nat+", prefix_file: "+file(i)+"}")
	}
	delegate := func(i int, p netip.Prefix) { // as dhclient tells its hooks
		t.Helper()
		b.must(b.Router.Run("env", "PREFIX_DIRECTORY="+b.Dir, "reason=REBIND6", "interface="+b.Plan.Lines[i].Interface,
			"new_ip6_prefix="+p.String(), "../../packaging/prefix-hook"))
	}
	for i, line := range b.Plan.Lines {
		delegate(i, line.Delegated6)
	}
	// A host with an address of the third line.
	own := b.Plan.Lines[2].Delegated6.Addr().Next().Next()
	b.must(b.Client.Batch("addr add " + own.String() + "/64 dev eth0 nodad preferred_lft 0"))
	b.must(b.Router.Batch("addr add " + own.Prev().String() + "/64 dev lan0 nodad"))
	b.start6(text)

	seen := func(from netip.Addr) netip.Addr {
		t.Helper()
		a, err := b.seenAs(from)
		b.must(err)
		return a
	}
	inside := lab.LANClient6.Addr()
	for want := range 2 {
		prefix := b.Plan.Lines[want].Delegated6
		b.wait(fmt.Sprintf("a connection by line %d", want+1), 10*time.Second, func() bool {
			a, err := b.seenAs(inside)
			return err == nil && prefix.Contains(a) && a.As16()[15] == inside.As16()[15]
		})
	}
	for range 9 {
		if got := seen(own); got != own {
			t.Errorf("the host with an address of line 3 is seen as %s, want %s", got, own)
		}
	}
	// The provider gives another prefix: the second half of the one before.
	before := b.Plan.Lines[0].Delegated6
	halves := before.Addr().As16()
	halves[6] |= 0x08
	after := netip.PrefixFrom(netip.AddrFrom16(halves), 53)
	delegate(0, after)
	b.wait("the new prefix", soon, func() bool {
		a, err := b.seenAs(inside)
		return err == nil && after.Contains(a)
	})
	// The line of the host's address dies: what comes from it leaves nowhere, and at once.
	b.must(b.CutFamily6(2))
	b.uses6(soon, 0, 1)
	if a, err := b.seenAs(own); err == nil {
		t.Errorf("the host with an address of the dead line is seen as %s", a)
	}
	for range 6 {
		seen(inside)
	}
	b.noLeaks()
}

// pageTime is how long a page may take to come: who expects none waits as long.
const pageTime = 3 * time.Second

// seenAs opens a connection from one of the client's addresses and returns how the internet sees it.
func (b *bed) seenAs(from netip.Addr) (netip.Addr, error) {
	page, err := b.PageFrom(b.t.Context(), from, netip.AddrPortFrom(b.Plan.Servers6[1], lab.WebPort), pageTime)
	if err != nil {
		return netip.Addr{}, err
	}
	words := strings.Fields(page)
	if len(words) != 3 {
		return netip.Addr{}, fmt.Errorf("the page is %q", page)
	}
	a, err := netip.ParseAddrPort(words[2])
	return a.Addr(), err
}
