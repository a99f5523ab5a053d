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

// knock opens 50 connections a second for a time, calls do every half second, and returns how they went. None
// waits for as long as TCP does before it tries again.
func knock(t *testing.T, l *lab.Lab, length time.Duration, do func(at time.Duration) error) (attempts lab.Attempts) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		l.Knock(ctx, 50, 900*time.Millisecond, func(a lab.Attempt) { attempts = append(attempts, a) })
	})
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for at := 500 * time.Millisecond; at < length; at += 500 * time.Millisecond {
		<-tick.C
		if err := do(at); err != nil {
			t.Fatal(err)
		}
	}
	<-tick.C
	cancel()
	running.Wait()
	return attempts
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
	heard := func(wait time.Duration) bool {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		_, _, err := conn.ReadFrom(make([]byte, 16))
		if err == nil {
			got++
		}
		return err == nil
	}
	for range n {
		if _, err := conn.WriteTo([]byte("echo"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, echoPort))); err != nil {
			continue // without carrier or route nothing is sent, so nothing comes back
		}
		heard(20 * time.Millisecond)
	}
	for got < n && heard(300*time.Millisecond) { // a busy machine answers later
		continue
	}
	return got
}

// tcpFrom is a local address for a connection.
func tcpFrom(a netip.Addr) net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)) }
