package kernel_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// peers are the networks of a router with one line: a client inside, and a host outside.
type peers struct {
	*realWorld
	client, outside *netns.NS
}

func newPeers(t *testing.T) *peers {
	w := newRealWorld(t, "router")
	p := &peers{realWorld: w, client: namespace(t, "client"), outside: namespace(t, "outside")}
	w.script(`
		link add lan0 type veth peer name eth0 netns client
		addr add 192.168.1.1/24 dev lan0
		addr add fd00:1::1/64 dev lan0 nodad
		link set lan0 up
		link add w0 type veth peer name eth0 netns outside
		addr add 192.0.2.2/24 dev w0
		addr add fd00:2::2/64 dev w0 nodad
		link set w0 up
	`)
	for ns, lines := range map[*netns.NS][]string{
		p.client:  {"addr add 192.168.1.2/24 dev eth0", "addr add fd00:1::2/64 dev eth0 nodad", "link set eth0 up", "route add default via 192.168.1.1", "route add ::/0 via fd00:1::1"},
		p.outside: {"addr add 192.0.2.1/24 dev eth0", "addr add fd00:2::1/64 dev eth0 nodad", "link set eth0 up", "route add 192.168.1.0/24 via 192.0.2.2", "route add fd00:1::/64 via fd00:2::2"},
	} {
		if err := ns.Batch(lines...); err != nil {
			t.Fatal(err)
		}
	}
	err := w.ns.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
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

// echo answers datagrams on a port, and only accepts TCP connections.
func echo(t *testing.T, ns *netns.NS, port string) {
	t.Helper()
	var datagrams net.PacketConn
	var listener net.Listener
	err := ns.Do(func() (err error) {
		if datagrams, err = net.ListenPacket("udp", ":"+port); err == nil {
			listener, err = net.Listen("tcp", ":"+port)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		b := make([]byte, 100)
		for {
			n, from, err := datagrams.ReadFrom(b)
			if err != nil {
				return
			}
			datagrams.WriteTo(b[:n], from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	t.Cleanup(func() { datagrams.Close(); listener.Close(); <-done; <-done })
}

// dial connects from a namespace, for as long as the test runs.
func dial(t *testing.T, ns *netns.NS, network, address string) net.Conn {
	t.Helper()
	var c net.Conn
	err := ns.Do(func() (err error) {
		dialer := net.Dialer{Timeout: patience}
		c, err = dialer.Dial(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ping sends an ICMP echo request and waits for the reply.
func ping(t *testing.T, ns *netns.NS, f config.Family, address string) {
	t.Helper()
	network, m, reply := "ip4:icmp", icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1}}, byte(ipv4.ICMPTypeEchoReply)
	if f == config.IPv6 {
		network, m.Type, reply = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, byte(ipv6.ICMPTypeEchoReply)
	}
	b, err := m.Marshal(nil) // the kernel computes the checksum of ICMPv6
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ns, network, strings.Trim(address, "[]"))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	header := map[config.Family]int{config.IPv4: 20}[f] // a connected socket gives it, for IPv4
	for b = make([]byte, 100); b[header] != reply; {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a datagram and waits for the echo.
func ask(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
}

// dropped drops what goes to the ports 10 and 11.
const dropped = " priority 0; meta l4proto { tcp, udp } th dport { 10, 11 } drop;"

// meanwhile has a rule of somebody else's in a host.
func (p *peers) meanwhile(ns *netns.NS, rule string, do func()) {
	p.t.Helper()
	const table = "inet others"
	if err := ns.Run("nft", "add table "+table+" { chain any { type filter "+rule+" }; }"); err != nil {
		p.t.Fatal(err)
	}
	do()
	if err := ns.Run("nft", "delete table "+table); err != nil {
		p.t.Fatal(err)
	}
}

// attempts has the client try to connect so many times from one port, a packet each, to nobody who answers.
func (p *peers) attempts(f config.Family, address string, count int) {
	p.t.Helper()
	from := net.TCPAddr{IP: net.ParseIP(map[config.Family]string{config.IPv4: "192.168.1.2", config.IPv6: "fd00:1::2"}[f]), Port: 4000}
	for range count {
		err := p.client.Do(func() error {
			dialer := net.Dialer{Timeout: 50 * time.Millisecond, LocalAddr: &from}
			c, err := dialer.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err
		})
		if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() {
			p.t.Fatalf("connect to nobody: %v", err)
		}
	}
}
