package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/probe"
)

// timeout is for what must happen long before: a guard, also on a busy machine.
const timeout = 20 * time.Second

// Each probe leaves through its own line and no other, also where two lines end at one router.
func TestEachLineCarriesItsProbes(t *testing.T) {
	both, other := provider(t, "both"), provider(t, "other")
	connect(t, 1, both)
	connect(t, 2, both)
	connect(t, 3, other)
	const count = `table inet count {
		chain in {
			type filter hook prerouting priority 0;
			icmp type echo-request iifname vmap { "eth1" : jump n1, "eth2" : jump n2, "eth3" : jump n3 }
			icmpv6 type echo-request iifname vmap { "eth1" : jump n1, "eth2" : jump n2, "eth3" : jump n3 }
		}
		chain n1 { counter comment "line1"; }
		chain n2 { counter comment "line2"; }
		chain n3 { counter comment "line3"; }
	}`
	p := prober(t)
	for _, f := range families {
		for n := 1; n <= 3; n++ {
			answers(t, p, device(n), f.source(n), f.target)
		}
	}
	check(t, both.Run("nft", count))
	check(t, other.Run("nft", count))
	for _, f := range families {
		for n := 1; n <= 3; n++ {
			for range n {
				rtt, err := ask(p, timeout, device(n), f.source(n), f.target)
				if err != nil || rtt <= 0 || rtt > timeout {
					t.Fatalf("%s line %d: %v, %v", f.name, n, rtt, err)
				}
			}
		}
	}
	for ns, lines := range map[*netns.NS][]int{both: {1, 2}, other: {3}} {
		out, err := ns.Output("nft", "list", "table", "inet", "count")
		check(t, err)
		for n := 1; n <= 3; n++ {
			want := 0
			for _, l := range lines {
				if l == n {
					want = 2 * n
				}
			}
			if !strings.Contains(out, fmt.Sprintf(`packets %d bytes %d comment "line%d"`, want, bytesOf(want/2), n)) {
				t.Errorf("%s: want %d packets on line %d:\n%s", ns.Name, want, n, out)
			}
		}
	}
	if p.Sockets() != 6 {
		t.Errorf("%d sockets, want one per line and family", p.Sockets())
	}
	// A source without its line's device goes nowhere, rather than out of another line.
	if _, err := ask(p, 100*time.Millisecond, device(3), families[0].source(1), target4); err == nil {
		t.Error("line 1's address was answered through line 3")
	}
}

// bytesOf is the size of n echoes in IPv4 and n in IPv6.
func bytesOf(n int) int { return n * (20 + 10 + 40 + 10) }

func TestSilence(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	check(t, isp.Run("nft", `table inet cut {
		chain in {
			type filter hook prerouting priority 0;
			icmp type echo-request drop
			icmpv6 type echo-request drop
		}
	}`))
	for _, f := range families {
		began := time.Now()
		_, err := ask(p, 150*time.Millisecond, device(1), f.source(1), f.target)
		refused(t, err, "no answer within 150ms")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > timeout {
			t.Errorf("%s: %v after %v", f.name, err, time.Since(began))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Probe(ctx, device(1), families[0].source(1), config.Echo(target4), false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	check(t, isp.Run("nft", "delete table inet cut"))
	answers(t, p, device(1), families[0].source(1), target4)
}

func TestRefusals(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	check(t, isp.Run("nft", `table inet refuse {
		chain in {
			type filter hook input priority 0;
			ip daddr 198.51.100.1 reject with icmp type host-unreachable
			ip6 daddr 2001:db8:ff::1 reject with icmpv6 type admin-prohibited
		}
	}`))
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.neighbour(1))
	}
	_, err := ask(p, timeout, device(1), families[0].source(1), target4)
	refused(t, err, "host unreachable by 198.51.100.1")
	_, err = ask(p, timeout, device(1), families[1].source(1), target6)
	refused(t, err, "administratively prohibited by 2001:db8:ff::1")

	// The provider forwards, but knows no way.
	check(t, isp.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"))
	_, err = ask(p, timeout, device(1), families[0].source(1), netip.MustParseAddr("203.0.113.9"))
	refused(t, err, "network unreachable by 10.1.0.1")
	_, err = ask(p, timeout, device(1), families[1].source(1), netip.MustParseAddr("2001:db8:99::9"))
	refused(t, err, "network unreachable by fd00:1::1")
}

func TestOurOwnKernelRefuses(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	check(t, netns.Run("nft", `table inet own {
		chain out {
			type filter hook output priority 0;
			icmp type echo-request drop
			icmpv6 type echo-request drop
		}
	}`))
	for _, f := range families {
		_, err := ask(p, timeout, device(1), f.source(1), f.target)
		refused(t, err, "a firewall rule of this host drops the probe")
	}
	check(t, netns.Run("nft", "delete table inet own"))

	check(t, netns.Run("ip", "-6", "route", "del", "default", "dev", device(1), "table", "1001"))
	_, err := ask(p, timeout, device(1), families[1].source(1), target6)
	refused(t, err, "network is unreachable")
	if !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("error %v", err)
	}
	routes(t, 1)
	answers(t, p, device(1), families[1].source(1), target6)
	if p.Sockets() != 2 {
		t.Errorf("%d sockets", p.Sockets())
	}
}

func TestInterfaceDownAndUp(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[0]
	answers(t, p, device(1), f.source(1), f.target)
	check(t, netns.Run("ip", "link", "set", device(1), "down"))
	_, err := ask(p, timeout, device(1), f.source(1), f.target)
	refused(t, err, "network is unreachable")
	check(t, netns.Run("ip", "link", "set", device(1), "up"))
	// The kernel keeps the IPv4 address of an interface that goes down, but not its routes.
	check(t, netns.Run("ip", "addr", "add", "fd00:1::2/64", "dev", device(1), "nodad"))
	routes(t, 1)
	answers(t, p, device(1), f.source(1), f.target)

	// Carrier lost: the provider's end goes down.
	check(t, isp.Run("ip", "link", "set", device(1), "down"))
	if _, err = ask(p, 150*time.Millisecond, device(1), f.source(1), f.target); err == nil {
		t.Error("an answer without carrier")
	}
	check(t, isp.Run("ip", "link", "set", device(1), "up"))
	answers(t, p, device(1), f.source(1), f.target)
}

func TestInterfaceReplaced(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	check(t, netns.Run("ip", "link", "del", device(1)))
	for _, f := range families {
		_, err := ask(p, timeout, device(1), f.source(1), f.target)
		refused(t, err, "no such device eth1")
		if !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if p.Sockets() != 0 {
		t.Errorf("%d sockets of an interface that is gone", p.Sockets())
	}
	plug(t, 1, isp)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	// Replaced between two probes: the sockets are bound to an index that is gone.
	check(t, netns.Run("ip", "link", "del", device(1)))
	plug(t, 1, isp)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	if p.Sockets() != 2 {
		t.Errorf("%d sockets", p.Sockets())
	}
}

func TestInterfaceReplacedWhileWaiting(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	check(t, isp.Run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
	p := prober(t)
	f := families[0]
	waiting := make(chan error, 1)
	go func() {
		_, err := ask(p, timeout, device(1), f.source(1), f.target)
		waiting <- err
	}()
	eventually(t, "the first probe opens its socket", func() bool { return p.Sockets() == 1 })
	check(t, netns.Run("ip", "link", "del", device(1)))
	plug(t, 1, isp)
	if _, err := ask(p, 50*time.Millisecond, device(1), f.source(1), f.target); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("through the new interface: %v", err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "probing through eth1 ended") {
		t.Errorf("who waited on the old interface: %v", err)
	}
}

func TestAddressRemoved(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	// The interface keeps another address, so that only the source is wrong.
	check(t, netns.Run("ip", "addr", "del", "10.1.0.2/24", "dev", device(1)))
	check(t, netns.Run("ip", "addr", "add", "10.1.0.9/24", "dev", device(1)))
	check(t, netns.Run("ip", "addr", "add", "fd00:1::9/64", "dev", device(1), "nodad"))
	check(t, netns.Run("ip", "addr", "del", "fd00:1::2/64", "dev", device(1)))
	routes(t, 1)
	for _, f := range families {
		_, err := ask(p, timeout, device(1), f.source(1), f.target)
		refused(t, err, fmt.Sprintf("address %v is not assigned to this host", f.source(1)))
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	address(t, 1)
	routes(t, 1)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
}

func TestManyAtOnce(t *testing.T) {
	const lines, hosts = 20, 6
	isp := provider(t, "isp")
	var targets []netip.Addr
	for i := range hosts {
		targets = append(targets, netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}))
		check(t, isp.Run("ip", "addr", "add", targets[i].String()+"/32", "dev", "lo"))
	}
	for n := 1; n <= lines; n++ {
		connect(t, n, isp)
	}
	p := prober(t)
	for n := 1; n <= lines; n++ {
		for _, f := range families {
			answers(t, p, device(n), f.source(n), f.target)
		}
	}
	var group sync.WaitGroup
	for n := 1; n <= lines; n++ {
		for _, target := range append(targets, target6) {
			f := families[0]
			if target == target6 {
				f = families[1]
			}
			group.Go(func() {
				for range 5 {
					if _, err := ask(p, timeout, device(n), f.source(n), target); err != nil {
						t.Errorf("line %d, %v: %v", n, target, err)
					}
				}
			})
		}
	}
	group.Wait()
	if p.Sockets() != 2*lines {
		t.Errorf("%d sockets for %d lines", p.Sockets(), lines)
	}
}

func TestIdleSocketsAreClosed(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	p.SetIdle(50 * time.Millisecond)
	f := families[0]
	answers(t, p, device(1), f.source(1), f.target)
	eventually(t, "the idle socket is closed", func() bool { return p.Sockets() == 0 })
	answers(t, p, device(1), f.source(1), f.target)
	// A socket on which somebody waits is not idle.
	check(t, isp.Run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
	_, err := ask(p, 300*time.Millisecond, device(1), f.source(1), f.target)
	refused(t, err, "no answer within 300ms")
}

func TestClose(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	check(t, isp.Run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
	p := probe.New()
	f := families[0]
	waiting := make(chan error, 1)
	go func() {
		_, err := ask(p, time.Minute, device(1), f.source(1), f.target)
		waiting <- err
	}()
	eventually(t, "the probe opens its socket", func() bool { return p.Sockets() == 1 })
	check(t, p.Close())
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("who waited: %v", err)
	}
	if _, err := ask(p, timeout, device(1), f.source(1), f.target); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	check(t, p.Close())
}

func TestWrongArguments(t *testing.T) {
	p := prober(t)
	f4, f6 := families[0], families[1]
	for name, tt := range map[string]struct {
		device         string
		source, target netip.Addr
		want           string
	}{
		"no device":     {"", f4.source(1), target4, "no device to probe through"},
		"mixed":         {"lo", f4.source(1), target6, "source 10.1.0.2 and target 2001:db8:ff::1 are not of one address family"},
		"no source":     {"lo", netip.Addr{}, target6, "source invalid IP and target 2001:db8:ff::1 are not of one address family"},
		"no target":     {"lo", f6.source(1), netip.Addr{}, "source fd00:1::2 and target invalid IP are not of one address family"},
		"no such":       {"eth77", f4.source(1), target4, "no such device eth77"},
		"too long":      {"averyverylongname0", f4.source(1), target4, "no such device averyverylongname0"},
		"not our own":   {"lo", f4.source(99), target4, "address 10.99.0.2 is not assigned to this host"},
		"not our own 6": {"lo", f6.source(99), target6, "address fd00:99::2 is not assigned to this host"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(p, timeout, tt.device, tt.source, tt.target)
			refused(t, err, tt.want)
		})
	}
	if _, err := ask(p, timeout, "lo", netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Errorf("IPv4-mapped addresses: %v", err)
	}
}
