package firewall_test

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// dialFrom connects from an address and port.
func dialFrom(ns *netns.NS, local, remote string) (*conn, error) {
	c := &conn{}
	from, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: patience, LocalAddr: from}
	err = ns.Do(func() (err error) {
		c.Conn, err = dialer.DialContext(context.Background(), "tcp", remote)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, c.greeted()
}

// mainDefault is the default route that the test puts into main.
func mainDefault() []routing.Route {
	return []routing.Route{{
		Family: config.IPv4, Table: 254, Type: routing.Unicast, Destination: netip.MustParsePrefix("0.0.0.0/0"),
		NextHops: []routing.NextHop{{Interface: "wan1", Gateway: netip.MustParseAddr("100.64.1.1"), Weight: 1}},
	}}
}

// dnsmasq runs a resolver on port 5353 of a host until the test ends.
func (b *policyBed) dnsmasq(ns *netns.NS, options ...string) {
	b.t.Helper()
	cmd := exec.Command("dnsmasq", append([]string{"--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port=5353", "--bind-interfaces",
		"--user=root", "--group=root", "--pid-file", "--keep-in-foreground", "--log-facility=-", "--log-queries"}, options...)...)
	var log strings.Builder
	cmd.Stderr = &log
	if err := ns.Do(cmd.Start); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if b.t.Failed() {
			b.t.Log(log.String())
		}
	})
}

// resolve asks a server for a name from the client until it answers.
func (b *policyBed) resolve(t *testing.T, server, name string) {
	t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var c net.Conn
		err := b.client.Do(func() (err error) {
			c, err = new(net.Dialer).DialContext(ctx, "udp4", server)
			return err
		})
		return c, err
	}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 300*time.Millisecond)
		addresses, err := resolver.LookupNetIP(attempt, "ip4", name)
		done()
		if err == nil && len(addresses) == 1 && addresses[0].Unmap() == netip.MustParseAddr(internet) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("resolve %s: %v, %v", name, addresses, err)
		}
	}
}
