package e2e_test

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ftr/internal/lab"
)

// udpFlow sends a datagram each 20 ms from one socket to a server on the internet, which says where each
// came from.
type udpFlow struct {
	line    atomic.Int64 // that the latest answered datagram left through
	answers atomic.Int64
}

const flowPort = 5005

// startFlow starts a flow of the client in the LAN and its server, which end with the test.
func (b *bed) startFlow() *udpFlow {
	b.t.Helper()
	return b.flow(b.Client, nil, b.Plan.Servers[0])
}

// flow starts a flow of a host, from one of its addresses if that is given.
func (b *bed) flow(host *lab.Host, local net.Addr, to netip.Addr) *udpFlow {
	b.t.Helper()
	at := netip.AddrPortFrom(to, flowPort).String()
	server, err := b.Internet.ListenPacket(b.t.Context(), "udp", at)
	b.must(err)
	client, err := host.DialFrom(b.t.Context(), local, "udp", at)
	b.must(err)
	f := &udpFlow{}
	var running sync.WaitGroup
	ended := make(chan struct{})
	running.Go(func() { b.echoLines(server) })
	running.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				_, _ = client.Write([]byte{0}) // what is lost is sent again
			}
		}
	})
	running.Go(func() {
		for data := make([]byte, 1); ; {
			if _, err := client.Read(data); err != nil {
				select {
				case <-ended:
					return
				default: // an ICMP error says nothing of the next datagram
					continue
				}
			}
			f.line.Store(int64(data[0]))
			f.answers.Add(1)
		}
	})
	b.t.Cleanup(func() {
		close(ended)
		client.Close()
		server.Close()
		running.Wait()
	})
	return f
}

// echoLines answers each datagram with the line that it came over, until the server is closed.
func (b *bed) echoLines(server net.PacketConn) {
	for data := make([]byte, 1); ; {
		_, from, err := server.ReadFrom(data)
		if err != nil {
			return
		}
		if a, ok := from.(*net.UDPAddr); ok {
			line, _ := b.Plan.LineOf(a.AddrPort().Addr())
			_, _ = server.WriteTo([]byte{byte(line)}, from)
		}
	}
}

// on waits until so many further answers came, and tells whether the flow uses a line.
func (f *udpFlow) on(b *bed, line, more int64) {
	b.t.Helper()
	from := f.answers.Load()
	b.wait("answers to the flow", soon, func() bool { return f.answers.Load() >= from+more })
	if got := f.line.Load(); got != line {
		b.t.Errorf("the flow runs over line %d, want %d", got+1, line+1)
	}
}

// When the preferred line comes back, a flow on the standby line stays there, or moves, as wanted.
func TestFailback(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		line int64 // of the flow in the end
	}{{"keep", 1}, {"move", 0}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, []lab.Line{{Group: 1}, {Group: 2}})
			b.start(b.Config() + "groups: [{priority_group: 1, failback: " + way.name + "}]\n")
			b.uses(10*time.Second, 0)
			b.must(b.CutCarrier(0))
			b.uses(soon, 1)
			f := b.startFlow()
			f.on(b, 1, 10)
			incoming := b.download(1)
			incoming.ResetGap()
			b.must(b.Restore(0))
			b.uses(20*time.Second, 0)
			if way.line == 0 {
				b.wait("the flow on the preferred line", soon, func() bool { return f.line.Load() == 0 })
			}
			f.on(b, way.line, 50)
			if way.name == "keep" {
				b.undisturbed("kept", incoming)
			}
			if share := b.spread("new connections", 20)[0]; share != 1 {
				t.Errorf("%.2f of the new connections use the preferred line, want all", share)
			}
			b.noLeaks()
		})
	}
}
