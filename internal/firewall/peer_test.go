package firewall_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"ftr/internal/netns"
)

// patience is how long something may take that must happen: a guard, also on a busy machine.
const patience = 20 * time.Second

// serve answers on a TCP address: first with the address that it sees, then with what it is sent.
func (b *bed) serve(ns *netns.NS, address string) {
	b.t.Helper()
	var listener net.Listener
	err := ns.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				// A connection whose peer vanished must not keep the cleanup waiting.
				defer context.AfterFunc(ctx, func() { c.Close() })()
				echo(c)
			})
		}
	})
	b.t.Cleanup(func() { end(); listener.Close(); running.Wait() })
}

func echo(c net.Conn) {
	defer c.Close()
	fmt.Fprintln(c, c.RemoteAddr())
	for lines := bufio.NewScanner(c); lines.Scan(); {
		fmt.Fprintln(c, lines.Text())
	}
}

// conn is a connection to an echo server.
type conn struct {
	net.Conn
	lines *bufio.Scanner
	seen  netip.AddrPort // our address as the server sees it
}

// dial connects from a host, from its address local if that is not empty, and talks for a while.
func dial(ns *netns.NS, local, remote string) (*conn, error) {
	c := &conn{}
	dialer := net.Dialer{Timeout: patience}
	if local != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(local)}
	}
	err := ns.Do(func() (err error) {
		c.Conn, err = dialer.DialContext(context.Background(), "tcp", remote)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.greeted(); err != nil {
		return nil, fmt.Errorf("%s from %s to %s: %w", ns.Name, c.LocalAddr(), remote, err)
	}
	return c, nil
}

// greeted reads our address as the server sees it, and talks for a while; it closes what fails.
func (c *conn) greeted() error {
	c.lines = bufio.NewScanner(c)
	line, err := c.read()
	if err == nil {
		c.seen, err = netip.ParseAddrPort(line)
	}
	if err == nil {
		err = c.talk()
	}
	if err != nil {
		c.Close()
	}
	return err
}

// talk exchanges a few packets.
func (c *conn) talk() error {
	for i := range 4 {
		want := fmt.Sprint("line ", i)
		if _, err := fmt.Fprintln(c, want); err != nil {
			return err
		}
		if got, err := c.read(); err != nil || got != want {
			return fmt.Errorf("sent %q, got %q: %w", want, got, err)
		}
	}
	return nil
}

func (c *conn) read() (string, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	if !c.lines.Scan() {
		return "", fmt.Errorf("read: end of connection: %w", c.lines.Err())
	}
	return c.lines.Text(), nil
}
