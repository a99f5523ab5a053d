package e2e_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A policy whose lines are dead refuses its connections, also in the moment in which a new configuration adds or
// removes policies before it: no first packet is taken for another policy's.
func TestManagedReloadBlock(t *testing.T) {
	t.Parallel()
	const closed = "- {name: closed, protocol: udp, destination_port: 7777, uplinks: [wan3], last_resort: block}\n"
	const other = "- {name: other, destination_port: 443, uplinks: [wan1, wan2], sticky: source}\n"
	b, text := newManagedBed(t, three())
	text += "policies:\n"
	b.begin(text + closed)
	b.must(b.CutCarrier(2))
	b.uses(soon, 0, 1)
	b.strays([]string{text + other + closed, text + closed})
}

// A policy that loses one of its lines by a new configuration keeps to the others: no first packet that was dealt to
// that line leaves by one that the policy does not have.
func TestManagedReloadLines(t *testing.T) {
	t.Parallel()
	const two = "policies: [{name: kept, protocol: udp, destination_port: 7777, uplinks: [wan2, wan3], last_resort: block}]\n"
	const one = "policies: [{name: kept, protocol: udp, destination_port: 7777, uplinks: [wan2], last_resort: block}]\n"
	b, text := newManagedBed(t, three())
	b.begin(text + two)
	b.wait("the deal of the policy", soon, func() bool { return strings.Contains(b.rules(), "numgen inc mod 2 ") })
	b.strays([]string{text + one, text + two}, 1, 2)
}

// strays reloads with one configuration after another, four times, while each millisecond a first packet to port 7777 is
// sent, and wants none to leave but by the allowed lines.
func (b *bed) strays(configs []string, allowed ...int) {
	b.t.Helper()
	address := netip.AddrPortFrom(b.Plan.Servers[0], 7777).String()
	server, err := b.Internet.ListenPacket(b.t.Context(), "udp4", address)
	b.must(err)
	var sent, right, astray atomic.Int64
	var work sync.WaitGroup
	work.Go(func() {
		for message := make([]byte, 16); ; {
			_, from, err := server.ReadFrom(message)
			if err != nil {
				return // it is closed at the end
			}
			if line, known := b.Plan.LineOf(from.(*net.UDPAddr).AddrPort().Addr()); known && slices.Contains(allowed, line) {
				right.Add(1)
			} else {
				astray.Add(1)
			}
		}
	})
	stop := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(stop)
		server.Close()
		work.Wait()
	})
	b.t.Cleanup(end)
	work.Go(func() { b.firsts(address, &sent, stop) })
	for _, text := range slices.Repeat(configs, 4) {
		b.must(b.WriteConfig(text))
		before := b.rules()
		if out, code := b.output("reload"); code != 0 {
			b.t.Fatalf("reload: %d: %s", code, out)
		}
		b.wait("the table of the new configuration", soon, func() bool { return b.rules() != before })
		at := sent.Load()
		b.wait("more packets", soon, func() bool { return sent.Load() > at+50 })
	}
	end()
	b.t.Logf("%d first packets, %d left as they may, %d astray", sent.Load(), right.Load(), astray.Load())
	if n := astray.Load(); n > 0 {
		b.t.Errorf("of %d first packets %d left by lines that the policy does not have", sent.Load(), n)
	}
	if n := right.Load(); len(allowed) > 0 && n < sent.Load()*9/10 {
		b.t.Errorf("of %d first packets only %d left by the policy's lines", sent.Load(), n)
	}
}

// firsts sends a packet from a new port each millisecond.
func (b *bed) firsts(address string, sent *atomic.Int64, stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		conn, err := b.Client.Dial(b.t.Context(), "udp4", address)
		if err != nil {
			b.t.Errorf("open a socket: %v", err)
			return
		}
		_, _ = conn.Write([]byte("first")) // it may be refused
		conn.Close()
		sent.Add(1)
	}
}
