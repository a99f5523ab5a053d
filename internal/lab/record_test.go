package lab_test

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"ftr/internal/lab"
)

// record is what a run of new connections showed.
type record struct {
	start    time.Time
	attempts lab.Attempts
}

// knock opens 50 connections a second for a time and calls do every half second.
func knock(t *testing.T, l *lab.Lab, length time.Duration, do func(at time.Duration) error) record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	r := record{start: time.Now()}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		l.Knock(ctx, 50, 300*time.Millisecond, func(a lab.Attempt) { r.attempts = append(r.attempts, a) })
	})
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for at := 500 * time.Millisecond; ; at += 500 * time.Millisecond {
		select {
		case <-ctx.Done():
			running.Wait()
			return r
		case <-tick.C:
			if err := do(at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// echoPort is where internet host and providers send datagrams back.
const echoPort = 7

// echo starts the senders-back, which end with the test.
func echo(t *testing.T, l *lab.Lab) {
	t.Helper()
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	for _, host := range append([]*lab.Host{l.Internet}, l.Providers...) {
		conn, err := host.ListenPacket(t.Context(), "udp4", ":"+strconv.Itoa(echoPort))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		running.Go(func() {
			for data := make([]byte, 16); ; {
				n, from, err := conn.ReadFrom(data)
				if err != nil {
					return
				}
				_, _ = conn.WriteTo(data[:n], from)
			}
		})
	}
}

// echoes sends n datagrams from the line's address and returns how many came back.
func echoes(t *testing.T, l *lab.Lab, line int, to netip.Addr, n int) int {
	t.Helper()
	conn, err := l.Router.ListenPacket(t.Context(), "udp4", netip.AddrPortFrom(l.Plan.Lines[line].Address, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := 0
	for range n {
		if _, err := conn.WriteTo([]byte("echo"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, echoPort))); err != nil {
			continue // without carrier or route nothing is sent, so nothing comes back
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.ReadFrom(make([]byte, 16)); err == nil {
			got++
		}
	}
	return got
}

// tcpFrom is a local address for a connection.
func tcpFrom(a netip.Addr) net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)) }
