package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// narrow is a size of packets that some link on the way takes, and the hosts know nothing of.
const narrow = 1300

// errorsBed is a bed whose lines are chosen by port: 8000 the first, and so on.
type errorsBed struct {
	*policyBed
	internetHost, clientHost, serverHost string
	kept                                 string // the client's public address, which is the third line's; or ""
	counted                              map[string]string
}

const byPort = `
policies:
  - {name: one, destination_port: 8000, uplinks: one}
  - {name: two, destination_port: 8001, uplinks: two}
  - {name: three, destination_port: 8002, uplinks: three}
forwards:
  - {name: web, protocol: [tcp, udp], port: 8080, to: "%s"}
`

func newErrorsBed(t *testing.T, name string) *errorsBed {
	b := &errorsBed{internetHost: internet, clientHost: "192.168.1.10", serverHost: serverDMZ}
	switch name {
	case "IPv4":
		b.policyBed = newPolicyBed(t, fmt.Sprintf(byPort, serverDMZ+":80"))
	case "IPv4, public":
		b.policyBed = newPolicyBed(t, fmt.Sprintf(byPort, serverDMZ+":80"))
		b.kept = "203.0.113.2"
		b.ip(b.client, "addr add 203.0.113.2/24 dev eth0")
		b.ip(b.router, "addr add 203.0.113.1/24 dev lan0")
		b.ip(b.providers[2], "route add 203.0.113.0/24 via 100.64.2.2")
		b.ip(b.internet, "route add 203.0.113.0/24 via 198.18.2.1 src "+internet)
	case "IPv6, kept":
		b.policyBed = newPolicyBed6(t, fmt.Sprintf(byPort, web6(serverDMZ6, 80)), "nat: prefix", "nat: none")
		b.kept = delegated6(2).Addr().Next().Next().String()
		b.ip(b.client, "addr add "+b.kept+"/64 dev eth0 nodad")
		b.ip(b.router, "addr add "+netip.MustParseAddr(b.kept).Prev().String()+"/64 dev lan0 nodad")
	default:
		b.policyBed = newPolicyBed6(t, fmt.Sprintf(byPort, web6(serverDMZ6, 80)))
	}
	if b.family == config.IPv6 {
		b.internetHost, b.clientHost, b.serverHost = internet6, client6, serverDMZ6
	}
	b.counted = map[string]string{}
	for _, ns := range append([]*netns.NS{b.client, b.server, b.router, b.internet}, b.providers...) {
		b.counted[ns.Name] = b.errorsOf(ns)
	}
	for i := range 3 {
		b.serve(b.internet, net.JoinHostPort(b.internetHost, fmt.Sprint(8000+i)))
	}
	b.serve(b.server, net.JoinHostPort(b.serverHost, "80"))
	if b.kept != "" {
		b.serve(b.client, net.JoinHostPort(b.kept, "80"))
	}
	return b
}

// source is the address that the client uses over a line.
func (b *errorsBed) source(line int) string {
	if line == 2 && b.kept != "" {
		return b.kept
	}
	return b.clientHost
}

// towards are the ways in which a line is asked from outside.
func (b *errorsBed) towards(line int) []string {
	all := []string{net.JoinHostPort(b.address(line).String(), "8080")}
	if line == 2 && b.kept != "" {
		all = append(all, net.JoinHostPort(b.kept, "80"))
	}
	return all
}

// route has a host reach a destination as before, but for what the words add.
func (b *errorsBed) route(ns *netns.NS, destination, words string) {
	b.t.Helper()
	flag := "-4"
	if b.family == config.IPv6 {
		flag = "-6"
	}
	out, err := ns.Output("ip", flag, "route", "show", destination)
	if err != nil || strings.Count(out, "\n") != 1 {
		b.t.Fatalf("routes of %s to %s: %q, %v", ns.Name, destination, out, err)
	}
	out, _, _ = strings.Cut(strings.NewReplacer("linkdown", "", "pref medium", "").Replace(out), "mtu lock")
	fields := strings.Fields(out)
	if err := ns.Run("ip", append([]string{flag, "route", "replace"}, append(fields, strings.Fields(words)...)...)...); err != nil {
		b.t.Fatal(err)
	}
}

// large wants that a connection carries large packets both ways.
func large(c *conn) error {
	defer c.Close()
	text := strings.Repeat("0123456789", 3000)
	done := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintln(c, text)
		done <- err
	}()
	c.SetReadDeadline(time.Now().Add(patience)) // TCP waits before it sends again what was too large
	var err error
	if !c.lines.Scan() {
		err = fmt.Errorf("read: end of connection: %w", c.lines.Err())
	}
	got := c.lines.Text()
	if err = errors.Join(err, <-done); err != nil || got != text {
		return fmt.Errorf("%d of %d bytes came back: %w", len(got), len(text), err)
	}
	return nil
}

// transfers carries large packets on each line: connections from inside, from outside and of the router.
func (b *errorsBed) transfers(t *testing.T, own bool) {
	t.Helper()
	try := func(what string, from *netns.NS, local, remote string) {
		t.Helper()
		c, err := dial(from, local, remote)
		if err == nil {
			err = large(c)
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 3 {
		try(fmt.Sprintf("line %d, from inside", i), b.client, b.source(i), net.JoinHostPort(b.internetHost, fmt.Sprint(8000+i)))
		for _, to := range b.towards(i) {
			try(fmt.Sprintf("line %d, from outside to %s", i, to), b.internet, "", to)
		}
		if own {
			try(fmt.Sprintf("line %d, the router", i), b.router, b.address(i).String(), net.JoinHostPort(b.internetHost, "8000"))
		}
	}
	b.noLeaks(t)
}

var errorBeds = []string{"IPv4", "IPv4, public", "IPv6", "IPv6, kept"}

// Packets that are too large somewhere are told to who sent them, wherever that is, and the transfer goes on:
// behind the provider, on the line itself, and inside.
func TestTrafficTooLarge(t *testing.T) {
	for _, name := range errorBeds {
		t.Run(name, func(t *testing.T) {
			b := newErrorsBed(t, name)
			inside, outside := []string{"192.168.1.0/24", "192.0.2.0/24"}, b.internetHost
			if b.family == config.IPv6 {
				inside, outside = []string{"fd00:0:0:1::/64", "fd00:0:0:2::/64"}, "2001:db8:ffff::/64"
			}
			switch {
			case b.kept != "" && b.family == config.IPv6:
				inside = append(inside, "2001:db8:2:1000::/64")
			case b.kept != "":
				inside = append(inside, "203.0.113.0/24")
			}
			t.Run("inside", func(t *testing.T) {
				for _, n := range inside {
					b.route(b.router, n, fmt.Sprintf("mtu lock %d", narrow))
				}
				b.transfers(t, false)
				b.told(t, b.router)
			})
			for _, n := range inside {
				b.route(b.router, n, "")
			}
			b.forget()
			t.Run("behind the provider", func(t *testing.T) {
				for _, p := range b.providers {
					b.route(p, outside, fmt.Sprintf("mtu lock %d", narrow))
				}
				b.transfers(t, true)
				b.told(t, b.providers...)
			})
			for _, p := range b.providers {
				b.route(p, outside, "")
			}
			b.forget()
			t.Run("the line", func(t *testing.T) {
				for i, p := range b.providers {
					b.ip(b.router, fmt.Sprintf("link set wan%d mtu %d", i, narrow))
					b.ip(p, fmt.Sprintf("link set router mtu %d", narrow))
				}
				b.transfers(t, true)
				b.told(t, b.router)
			})
		})
	}
}

// forget has all hosts forget what was told them, and counts anew.
func (b *errorsBed) forget() {
	b.t.Helper()
	for _, ns := range append([]*netns.NS{b.client, b.server, b.router, b.internet}, b.providers...) {
		for _, flag := range []string{"-4", "-6"} {
			if err := ns.Run("ip", flag, "route", "flush", "cache"); err != nil {
				b.t.Fatal(err)
			}
		}
		b.counted[ns.Name] = b.errorsOf(ns)
	}
}

// told wants that hosts have sent errors about packets that are too large since they forgot.
func (b *errorsBed) told(t *testing.T, hosts ...*netns.NS) {
	t.Helper()
	for _, ns := range hosts {
		if now := b.errorsOf(ns); now == b.counted[ns.Name] {
			t.Errorf("%s told nobody that a packet is too large: %s", ns.Name, now)
		}
	}
}

// errorsOf is a host's counter of such errors.
func (b *errorsBed) errorsOf(ns *netns.NS) string {
	b.t.Helper()
	counter := "IcmpOutDestUnreachs"
	if b.family == config.IPv6 {
		counter = "Icmp6OutPktTooBigs"
	}
	out, err := ns.Output("nstat", "-asz", counter)
	if err != nil || !strings.Contains(out, counter) {
		b.t.Fatalf("counters of %s: %q, %v", ns.Name, out, err)
	}
	return out
}

// report is an ICMP error as a host receives it.
type report struct {
	kind   string
	from   netip.Addr
	source netip.Addr // of the packet that it is about
}

// hear receives the ICMP errors that come to a host about datagrams to port, until the test ends.
func (b *errorsBed) hear(ns *netns.NS) <-chan report {
	b.t.Helper()
	network, protocol, header := "ip4:icmp", 1, ipv4.HeaderLen
	if b.family == config.IPv6 {
		network, protocol, header = "ip6:ipv6-icmp", 58, ipv6.HeaderLen
	}
	var conn *icmp.PacketConn
	if err := ns.Do(func() (err error) {
		conn, err = icmp.ListenPacket(network, "")
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	reports := make(chan report, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for packet := make([]byte, 2000); ; {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(protocol, packet[:n])
			if err != nil {
				continue
			}
			var quoted []byte
			switch body := m.Body.(type) {
			case *icmp.DstUnreach:
				quoted = body.Data
			case *icmp.TimeExceeded:
				quoted = body.Data
			}
			if len(quoted) < header {
				continue
			}
			source, _ := netip.AddrFromSlice(quoted[12:16])
			if b.family == config.IPv6 {
				source, _ = netip.AddrFromSlice(quoted[8:24])
			}
			address, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
			reports <- report{fmt.Sprint(m.Type), address.Unmap(), source}
		}
	}()
	b.t.Cleanup(func() { conn.Close(); <-done })
	return reports
}

// datagram sends one with so many hops to live and returns what is reported of it.
func (b *errorsBed) datagram(ns *netns.NS, reports <-chan report, local, remote string, hops int) (report, error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return errors.Join(raw.Control(func(fd uintptr) {
			if b.family == config.IPv6 {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS, hops)
			} else {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, hops)
			}
		}))
	}}
	if local != "" {
		dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(local)}
	}
	var c net.Conn
	err := ns.Do(func() (err error) {
		c, err = dialer.DialContext(context.Background(), "udp", remote)
		return err
	})
	if err != nil {
		return report{}, err
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return report{}, err
	}
	select {
	case r := <-reports:
		return r, nil
	case <-time.After(patience):
		return report{}, fmt.Errorf("nothing is heard of a datagram from %s to %s", c.LocalAddr(), remote)
	}
}

// Errors on the way reach the sender, from inside and from outside, about the packet that it sent; those of
// the router itself leave by the line on which the packet came, with an address of that line.
func TestTrafficErrors(t *testing.T) {
	for _, name := range errorBeds {
		t.Run(name, func(t *testing.T) {
			b := newErrorsBed(t, name)
			for _, ns := range append([]*netns.NS{b.client, b.server, b.router, b.internet}, b.providers...) {
				b.sysctl(ns, "icmp_ratelimit", "0")
				b.sysctl(ns, "icmp_msgs_burst", "1000")
				b.sysctl6(ns, "icmp/ratelimit", "0")
			}
			inside, outside := b.hear(b.client), b.hear(b.internet)
			for i := range b.providers {
				remote := net.JoinHostPort(b.internetHost, fmt.Sprint(8000+i))
				for _, test := range []struct {
					what string
					hops int
					from string // "": anybody
				}{
					{"destination unreachable", 64, b.internetHost},
					{"time exceeded", 2, ""}, // at the provider
					{"time exceeded", 1, ""}, // at the router
				} {
					r, err := b.datagram(b.client, inside, b.source(i), remote, test.hops)
					if err != nil || r.kind != test.what || r.source.String() != b.source(i) || test.from != "" && r.from.String() != test.from {
						t.Errorf("line %d, %d hops from inside: %+v, %v; want %s", i, test.hops, r, err, test.what)
					}
				}
				for _, to := range b.towards(i) {
					for _, test := range []struct {
						what string
						hops int
					}{{"destination unreachable", 64}, {"time exceeded", 2}} {
						for range 4 {
							r, err := b.datagram(b.internet, outside, "", to, test.hops)
							if err != nil || r.kind != test.what || r.source.String() != b.internetHost || r.from.String() != b.kept && b.lineOf(r.from) != i {
								t.Errorf("line %d, %d hops from outside to %s: %+v of line %d, %v; want %s", i, test.hops, to, r, b.lineOf(r.from), err, test.what)
							}
						}
					}
				}
			}
			if b.family == config.IPv6 { // what is delegated and nowhere inside does not go back and forth
				r, err := b.datagram(b.internet, outside, "", web6("2001:db8:2:1fff::1", 9), 64)
				if err != nil || r.kind != "destination unreachable" || b.lineOf(r.from) != 2 {
					t.Errorf("to an address that nobody has: %+v of line %d, %v", r, b.lineOf(r.from), err)
				}
			}
			b.noLeaks(t)
		})
	}
}
