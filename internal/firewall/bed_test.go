package firewall_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// The addresses of the bed. Line i is 100.64.i.0/24, the router .2 and its provider .1; the server of
// the DMZ has the address that the examples in the generated rules use.
const (
	routerLAN = "192.168.1.1"
	serverDMZ = "192.0.2.10"
	internet  = "198.51.100.1"
)

// bed is a router between a LAN, a DMZ and providers, all of which lead to one internet host:
//
//	client ── lan0 ┐        ┌ wan0 ── provider0 ┐
//	               ├ router ┼ wan1 ── provider1 ┼ internet
//	server ── dmz0 ┘        └ wan2 ── provider2 ┘
//
// The providers do as providers do: they drop packets that come from the router with an address
// which is not theirs, so that whatever leaves by a wrong line is lost, and counted.
type bed struct {
	t                                *testing.T
	cfg                              *config.Config
	family                           config.Family // that its connections are of
	client, server, router, internet *netns.NS
	providers                        []*netns.NS
}

// newBed builds the hosts and the router's rules, routes and sysctls as docs/architecture.md has them.
func newBed(t *testing.T, cfg *config.Config) *bed {
	b := &bed{t: t, cfg: cfg, family: config.IPv4,
		client: namespace(t, "client"), server: namespace(t, "server"),
		router: namespace(t, "router"), internet: namespace(t, "internet")}
	for _, ns := range []*netns.NS{b.client, b.server, b.router, b.internet} {
		b.sysctl(ns, "conf/all/rp_filter", "0")
		b.sysctl(ns, "conf/default/rp_filter", "0")
		b.sysctl6(ns, "conf/default/accept_dad", "0") // hosts that look for duplicates are deaf for a second or two
	}
	b.sysctl(b.router, "ip_forward", "1")
	b.sysctl(b.router, "fib_multipath_hash_policy", "1")
	b.sysctl(b.router, "icmp_errors_use_inbound_ifaddr", "1")
	b.ip(b.router,
		"link add lan0 type veth peer name eth0 netns client", "addr add "+routerLAN+"/24 dev lan0", "link set lan0 up",
		"link add dmz0 type veth peer name eth0 netns server", "addr add 192.0.2.1/24 dev dmz0", "link set dmz0 up")
	b.ip(b.client, "addr add 192.168.1.10/24 dev eth0", "link set eth0 up", "route add default via "+routerLAN)
	b.ip(b.server, "addr add "+serverDMZ+"/24 dev eth0", "link set eth0 up", "route add default via 192.0.2.1")
	b.ip(b.internet, "addr add "+internet+"/32 dev lo")
	for i := range cfg.Uplinks {
		b.line(i)
	}
	b.policy()
	b.connected()
	return b
}

// connected waits until neighbours hear each other: a loaded kernel may take seconds to see that a link has
// come up, and sends nothing before.
func (b *bed) connected() {
	b.t.Helper()
	b.reaches(b.client, routerLAN)
	b.reaches(b.server, "192.0.2.1")
	for i, provider := range b.providers {
		b.reaches(provider, b.address(i).String())
		b.reaches(provider, fmt.Sprintf("198.18.%d.2", i))
	}
}

// reaches waits until a host refuses a connection.
func (b *bed) reaches(from *netns.NS, address string) {
	b.t.Helper()
	dialer := net.Dialer{Timeout: 300 * time.Millisecond}
	for deadline := time.Now().Add(patience); ; {
		err := from.Do(func() error {
			_, err := dialer.DialContext(b.t.Context(), "tcp", address+":9")
			return err
		})
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return
		case time.Now().After(deadline):
			b.t.Fatalf("%s does not reach %s: %v", from.Name, address, err)
		}
	}
}

// line builds one uplink, its provider and the provider's way to the internet host.
func (b *bed) line(i int) {
	provider := namespace(b.t, fmt.Sprintf("provider%d", i))
	b.providers = append(b.providers, provider)
	b.sysctl(provider, "ip_forward", "1")
	b.sysctl(provider, "conf/all/rp_filter", "1")
	b.sysctl6(provider, "conf/default/accept_dad", "0")
	b.ip(b.router, fmt.Sprintf("link add wan%d type veth peer name router netns provider%[1]d", i),
		fmt.Sprintf("addr add 100.64.%d.2/24 dev wan%[1]d", i), fmt.Sprintf("link set wan%d up", i))
	b.ip(b.internet, fmt.Sprintf("link add line%d type veth peer name internet netns provider%[1]d", i),
		fmt.Sprintf("addr add 198.18.%d.2/24 dev line%[1]d", i), fmt.Sprintf("link set line%d up", i))
	b.ip(provider,
		fmt.Sprintf("addr add 100.64.%d.1/24 dev router", i), "link set router up",
		fmt.Sprintf("addr add 198.18.%d.1/24 dev internet", i), "link set internet up",
		fmt.Sprintf("route add %s via 198.18.%d.2", internet, i))
	b.ip(b.internet, fmt.Sprintf("route add 100.64.%d.0/24 via 198.18.%[1]d.1 src %[2]s", i, internet))
	b.sysctl(b.router, fmt.Sprintf("conf/wan%d/rp_filter", i), "2")
}

// policy gives the router its rules, line tables and default.
func (b *bed) policy() {
	n := b.cfg.Numbers
	var lines []string
	if n.SuppressPriority != 0 {
		lines = append(lines, fmt.Sprintf("rule add priority %d lookup main suppress_prefixlength 0 protocol 117", n.SuppressPriority))
	}
	for i, u := range b.cfg.Uplinks {
		lines = append(lines,
			fmt.Sprintf("rule add priority %d from %s lookup %d protocol 117", u.AddressPriority, b.address(i), u.Table),
			fmt.Sprintf("rule add priority %d fwmark %#x/%#x lookup %d protocol 117", u.MarkPriority, u.Mark, n.Mask, u.Table),
			fmt.Sprintf("route add default via 100.64.%d.1 dev wan%[1]d src %s table %d protocol 117", i, b.address(i), u.Table),
			fmt.Sprintf("route add unreachable default metric 4294967295 table %d protocol 117", u.Table))
	}
	for _, s := range b.cfg.Steers {
		lines = append(lines, fmt.Sprintf("rule add priority %d fwmark %#x/%#x lookup %d protocol 117", n.SteerPriority, s.Mark, n.SteerMask, s.Table))
	}
	lines = append(lines, fmt.Sprintf("rule add priority %d lookup %d protocol 117", n.DefaultPriority, n.DefaultTable))
	b.ip(b.router, lines...)
	b.selects(0, 1, 2)
}

// selects replaces the default route, and those of the steers, as the daemon does when its selection
// changes.
func (b *bed) selects(uplinks ...int) {
	var all strings.Builder
	for _, i := range uplinks {
		all.WriteString(b.hop(i))
	}
	b.leads(b.cfg.Numbers.DefaultTable, all.String())
	for _, s := range b.cfg.Steers {
		if slices.Contains(uplinks, s.Uplink) {
			b.leads(s.Table, b.hop(s.Uplink))
		} else {
			b.leads(s.Table, all.String())
		}
	}
}

func (b *bed) hop(i int) string {
	return fmt.Sprintf(" nexthop via 100.64.%d.1 dev wan%[1]d weight %[2]d", i, b.cfg.Uplinks[i].Weight)
}

func (b *bed) leads(table uint32, hops string) {
	for metric := range 2 {
		b.ip(b.router, fmt.Sprintf("route replace default metric %d table %d protocol 117%s", metric, table, hops))
	}
}

func (b *bed) address(i int) netip.Addr {
	if b.family == config.IPv6 {
		return address6(i)
	}
	return netip.AddrFrom4([4]byte{100, 64, byte(i), 2})
}

// lineOf returns the uplink that an address belongs to, or -1.
func (b *bed) lineOf(a netip.Addr) int {
	for i := range b.cfg.Uplinks {
		if a == b.address(i) || customer6(i).Contains(a) {
			return i
		}
	}
	return -1
}

// noLeaks fails if a provider has met a packet with an address that is not from its line.
func (b *bed) noLeaks(t *testing.T) {
	t.Helper()
	for _, ns := range b.providers {
		out, err := ns.Output("nstat", "-asz", "TcpExtIPReversePathFilter")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(out)
		at := len(fields) - 2
		if at < 0 || !strings.HasSuffix(fields[at-1], "IPReversePathFilter") {
			t.Fatalf("counter of %s not understood: %q", ns.Name, out)
		}
		if fields[at] != "0" {
			t.Errorf("%s was sent %s packets with the address of another line", ns.Name, fields[at])
		}
	}
	if b.family == config.IPv6 {
		b.noLeaks6(t)
	}
}

func (b *bed) ip(ns *netns.NS, lines ...string) {
	b.t.Helper()
	if err := ns.Batch(lines...); err != nil {
		b.t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
}

func (b *bed) sysctl(ns *netns.NS, name, value string) {
	b.t.Helper()
	err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644) })
	if err != nil {
		b.t.Fatalf("set %s in %s: %v", name, ns.Name, err)
	}
}

func namespace(t *testing.T, name string) *netns.NS {
	t.Helper()
	ns, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}
