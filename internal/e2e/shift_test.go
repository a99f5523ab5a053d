package e2e_test

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// A policy whose lines are dead refuses its connections, also in the moment in which a new configuration adds or
// removes policies before it: no first packet is taken for another policy's.
func TestManagedReloadBlock(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	const closed = "- {name: closed, protocol: udp, destination_port: 7777, uplinks: [wan3], last_resort: block}\n"
	without := text + "policies:\n" + closed
	with := text + "policies:\n- {name: other, destination_port: 443, uplinks: [wan1, wan2], sticky: source}\n" + closed
	b.begin(without)
	b.must(b.CutCarrier(2))
	b.uses(5*time.Second, 0, 1)

	address := netip.AddrPortFrom(b.Plan.Servers[0], 7777).String()
	server, err := b.Internet.ListenPacket(t.Context(), "udp4", address)
	b.must(err)
	defer server.Close()
	var sent, leaked atomic.Int64
	go func() {
		for message := make([]byte, 16); ; {
			if _, _, err := server.ReadFrom(message); err != nil {
				return // it is closed at the end
			}
			leaked.Add(1)
		}
	}()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			conn, err := b.Client.Dial(t.Context(), "udp4", address)
			if err != nil {
				t.Errorf("open a socket: %v", err)
				return
			}
			_, _ = conn.Write([]byte("first")) // it is refused
			conn.Close()
			sent.Add(1)
		}
	}()
	for _, text := range slices.Repeat([]string{with, without}, 4) {
		b.must(b.WriteConfig(text))
		before := b.rules()
		if out, code := b.output("reload"); code != 0 {
			t.Fatalf("reload: %d: %s", code, out)
		}
		b.wait("the table of the new configuration", 5*time.Second, func() bool { return b.rules() != before })
		at := sent.Load()
		b.wait("more packets", 5*time.Second, func() bool { return sent.Load() > at+50 })
	}
	close(stop)
	<-done
	if n := leaked.Load(); n > 0 {
		t.Errorf("of %d first packets that a policy refuses %d were let through", sent.Load(), n)
	}
	t.Logf("%d first packets, %d let through", sent.Load(), leaked.Load())
}
