package probe_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/probe"
)

// at is an address and port of a target.
func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// listen listens for TCP in a namespace.
func listen(t *testing.T, ns *netns.NS, address string) net.Listener {
	t.Helper()
	var l net.Listener
	check(t, ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return l
}

// accept gives every connection to a function, which closes it.
func accept(t *testing.T, l net.Listener, handle func(net.Conn)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// serve serves HTTP on a listener until the test ends; slow handlers end with their request's context.
func serve(t *testing.T, l net.Listener, handler http.Handler) {
	s := &http.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		check(t, s.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// twoLines makes line 1 and line 2, to providers with the same targets. The default route in main is
// line 2's, so that what is not bound to line 1 leaves by line 2.
func twoLines(t *testing.T) (right, wrong *netns.NS, p *probe.Prober) {
	t.Helper()
	right, wrong, p = provider(t, "right"), provider(t, "wrong"), prober(t)
	connect(t, 1, right)
	connect(t, 2, wrong)
	check(t, netns.Run("ip", "route", "add", "default", "via", "10.2.0.1", "dev", device(2)))
	check(t, netns.Run("ip", "-6", "route", "add", "default", "via", "fd00:2::1", "dev", device(2)))
	for _, f := range families {
		for n := 1; n <= 2; n++ {
			answers(t, p, device(n), f.source(n), f.target)
		}
	}
	return right, wrong, p
}

// watchStrays counts in a namespace what comes from line 1's addresses but over another line. What the
// kernel says to latecomers for a socket that is closed is not ours: it follows rules alone.
func watchStrays(t *testing.T, ns *netns.NS) (none func() bool) {
	t.Helper()
	check(t, ns.Run("nft", `table inet strays {
		chain in {
			type filter hook prerouting priority -400;
			tcp flags rst accept
			icmp type destination-unreachable accept
			icmpv6 type destination-unreachable accept
			ip saddr 10.1.0.2 counter comment "stray"
			ip6 saddr fd00:1::2 counter comment "stray"
		}
	}`))
	return func() bool {
		out, err := ns.Output("nft", "list", "table", "inet", "strays")
		check(t, err)
		if strings.Count(out, `counter packets 0 bytes 0 comment "stray"`) == 2 {
			return true
		}
		t.Log(out)
		return false
	}
}

// honest runs, at a provider, servers that answer to every method at every target address.
func honest(t *testing.T, ns *netns.NS) {
	t.Helper()
	for _, f := range families {
		accept(t, listen(t, ns, at(f.target, 7)), func(c net.Conn) { c.Close() })
		serve(t, listen(t, ns, at(f.target, 80)), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		}))
		nameserver(t, ns, at(f.target, 53), respond)
	}
}

// methods are targets at the honest servers, one for each method without TLS. n is the line.
func methods(f family, n int) []config.Target {
	return []config.Target{
		config.Echo(f.target),
		{Method: config.TCP, Address: f.target, Port: 7},
		{Method: config.DNS, Address: f.target, Port: 53, Name: "example.com"},
		{Method: config.HTTP, Address: f.target, Path: "/", Status: 204},
		{Method: config.Gateway, Address: f.neighbour(n)},
	}
}

// Every method leaves through its line although the default route leads elsewhere, and nothing leaves
// through another line where its own has no route.
func TestMethodsKeepToTheirLine(t *testing.T) {
	right, wrong, p := twoLines(t)
	honest(t, right)
	none := watchStrays(t, wrong)
	for _, f := range families {
		for _, target := range methods(f, 1) {
			rtt, err := probeBy(p, timeout, device(1), f.source(1), target)
			if err != nil || rtt <= 0 || rtt > timeout {
				t.Errorf("%s %v: %v, %v", f.name, target, rtt, err)
			}
		}
	}
	// Without its route, IPv4 asks on the line for the target itself, and this provider answers.
	check(t, rules(1, "del"))
	for _, f := range families {
		for _, target := range methods(f, 1)[:4] {
			if f.name == "IPv6" {
				_, err := probeBy(p, timeout, device(1), f.source(1), target)
				refused(t, err, "network is unreachable")
				continue
			}
			_, _ = probeBy(p, 100*time.Millisecond, device(1), f.source(1), target)
		}
	}
	check(t, rules(1, "add"))
	if !none() {
		t.Error("probes of line 1 left through line 2")
	}
}

// A line that swallows everything, or has lost its address or interface, is told apart in words.
func TestMethodsThroughBrokenLines(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	honest(t, isp)
	p := prober(t)
	each := func(timeout time.Duration, want string) {
		t.Helper()
		for _, f := range families {
			for _, target := range methods(f, 1)[1:4] {
				_, err := probeBy(p, timeout, device(1), f.source(1), target)
				if !sameReason(fmt.Sprint(err), strings.ReplaceAll(want, "SOURCE", f.source(1).String())) {
					t.Errorf("%s %v: %v, want %s", f.name, target, err, want)
				}
			}
		}
	}
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
	}
	each(timeout, "<nil>")
	check(t, isp.Run("nft", `table inet cut { chain in { type filter hook prerouting priority 0; meta l4proto { tcp, udp } drop; }; }`))
	each(150*time.Millisecond, "no answer within 150ms")
	check(t, isp.Run("nft", "delete table inet cut"))
	check(t, netns.Run("ip", "addr", "add", "10.1.0.9/24", "dev", device(1)))
	check(t, netns.Run("ip", "addr", "del", "10.1.0.2/24", "dev", device(1)))
	check(t, netns.Run("ip", "addr", "del", "fd00:1::2/64", "dev", device(1)))
	each(timeout, "address SOURCE is not assigned to this host")
	address(t, 1)
	check(t, netns.Run("ip", "link", "del", device(1)))
	each(timeout, "no such device eth1")
	plug(t, 1, isp)
	answers(t, p, device(1), families[0].source(1), target4)
	answers(t, p, device(1), families[1].source(1), target6)
	each(timeout, "<nil>")
}
