package probe_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"ftr/internal/netns"
)

// impostor answers echo requests that arrive in a namespace, in its own way.
func impostor(t *testing.T, ns *netns.NS, source string, forge func(*icmp.Echo)) {
	t.Helper()
	check(t, ns.Run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"))
	var listen, speak net.PacketConn
	check(t, ns.Do(func() (err error) {
		if listen, err = net.ListenPacket("ip4:icmp", "0.0.0.0"); err != nil {
			return err
		}
		speak, err = net.ListenPacket("ip4:icmp", source)
		return err
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := listen.ReadFrom(buffer)
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(1, buffer[:n])
			if err != nil || m.Type != ipv4.ICMPTypeEcho {
				continue
			}
			echo := m.Body.(*icmp.Echo)
			forge(echo)
			answer, err := (&icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: echo}).Marshal(nil)
			if err == nil {
				_, err = speak.WriteTo(answer, from)
			}
			if err != nil {
				t.Errorf("answer: %v", err)
			}
		}
	}()
	t.Cleanup(func() {
		check(t, listen.Close())
		check(t, speak.Close())
		<-done
	})
}

// Only the target's own, complete answer counts.
func TestImpostors(t *testing.T) {
	honest := func(*icmp.Echo) {}
	tests := map[string]struct {
		source   string
		forge    func(*icmp.Echo)
		accepted bool
	}{
		"honest":            {"198.51.100.1", honest, true},
		"another source":    {"10.1.0.1", honest, false},
		"corrupted payload": {"198.51.100.1", func(e *icmp.Echo) { e.Data[1] ^= 1 }, false},
		"payload cut":       {"198.51.100.1", func(e *icmp.Echo) { e.Data = e.Data[:1] }, false},
		"no payload":        {"198.51.100.1", func(e *icmp.Echo) { e.Data = nil }, false},
		"another sequence":  {"198.51.100.1", func(e *icmp.Echo) { e.Seq = (e.Seq + 1) & 0xffff }, false},
		"another id":        {"198.51.100.1", func(e *icmp.Echo) { e.ID ^= 0x8000 }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			isp := provider(t, "isp")
			connect(t, 1, isp)
			heard := make(chan struct{}, 1000)
			impostor(t, isp, tt.source, func(e *icmp.Echo) {
				tt.forge(e)
				heard <- struct{}{}
			})
			// The first echoes may be lost to neighbour discovery.
			p, err := prober(t), error(nil)
			eventually(t, "the impostor hears an echo", func() bool {
				_, err = ask(p, 150*time.Millisecond, device(1), families[0].source(1), target4)
				return len(heard) > 0 && (err == nil || !tt.accepted)
			})
			if tt.accepted && err != nil {
				t.Errorf("honest answer: %v", err)
			}
			if !tt.accepted {
				refused(t, err, "no answer within 150ms")
			}
		})
	}
}

// A forged refusal of an echo that was never sent, or of another one, is nobody's.
func TestForgedRefusal(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	quote := func(target netip.Addr, e *icmp.Echo) []byte {
		inner, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: e}).Marshal(nil)
		check(t, err)
		header := make([]byte, 20, 20+len(inner))
		header[0], header[8], header[9] = 0x45, 64, 1
		binary.BigEndian.PutUint16(header[2:], uint16(20+len(inner)))
		copy(header[12:], families[0].source(1).AsSlice())
		copy(header[16:], target.AsSlice())
		return append(header, inner...)
	}
	var forged atomic.Int32
	var speak net.PacketConn
	check(t, isp.Do(func() (err error) {
		speak, err = net.ListenPacket("ip4:icmp", "10.1.0.1")
		return err
	}))
	t.Cleanup(func() { check(t, speak.Close()) })
	impostor(t, isp, "198.51.100.1", func(e *icmp.Echo) {
		wrong := *e
		wrong.Data = append([]byte(nil), e.Data...)
		wrong.Data[0] ^= 1
		for _, quoted := range [][]byte{quote(netip.MustParseAddr("203.0.113.1"), e), quote(target4, &wrong)} {
			b, err := (&icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Code: 1, Body: &icmp.DstUnreach{Data: quoted}}).Marshal(nil)
			if err == nil {
				_, err = speak.WriteTo(b, &net.IPAddr{IP: families[0].source(1).AsSlice()})
			}
			if err != nil {
				t.Errorf("forge: %v", err)
			}
			forged.Add(1)
		}
	})
	answers(t, prober(t), device(1), families[0].source(1), target4)
	if forged.Load() == 0 {
		t.Error("no refusal was forged")
	}
}
