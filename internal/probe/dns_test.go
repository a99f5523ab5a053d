package probe_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// nameserver answers queries by UDP with what the function makes of them, until the test ends.
func nameserver(t *testing.T, ns *netns.NS, address string, answer func(query dnsmessage.Message) [][]byte) {
	t.Helper()
	speak(t, ns, address, address, answer)
}

// speak is a nameserver that answers from another address.
func speak(t *testing.T, ns *netns.NS, address, from string, answer func(dnsmessage.Message) [][]byte) {
	t.Helper()
	var in, out net.PacketConn
	check(t, ns.Do(func() (err error) {
		if in, err = net.ListenPacket("udp", address); err != nil {
			return err
		}
		out = in
		if from != address {
			out, err = net.ListenPacket("udp", from)
		}
		return err
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			n, client, err := in.ReadFrom(b)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if err := query.Unpack(b[:n]); err != nil {
				t.Errorf("query: %v", err)
				continue
			}
			for _, packet := range answer(query) {
				if _, err := out.WriteTo(packet, client); err != nil {
					t.Errorf("answer: %v", err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		in.Close()
		out.Close()
		<-done
	})
}

// respond is the honest answer: the name does not exist.
func respond(query dnsmessage.Message) [][]byte {
	return edited(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError })(query)
}

// edited makes a responder that edits an honest answer.
func edited(edit func(*dnsmessage.Message)) func(dnsmessage.Message) [][]byte {
	return func(m dnsmessage.Message) [][]byte {
		m.Response = true
		edit(&m)
		b, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return [][]byte{b}
	}
}

func raw(b ...byte) func(dnsmessage.Message) [][]byte {
	return func(dnsmessage.Message) [][]byte { return [][]byte{b} }
}

// Any answer of the server counts, but only its own, to this very query.
func TestDNSAnswers(t *testing.T) {
	other := dnsmessage.MustNewName("example.org.")
	rcode := func(c dnsmessage.RCode) func(dnsmessage.Message) [][]byte {
		return edited(func(m *dnsmessage.Message) { m.RCode = c })
	}
	tests := []struct {
		what     string
		answer   func(dnsmessage.Message) [][]byte
		accepted bool
	}{
		{"NXDOMAIN", respond, true},
		{"SERVFAIL", rcode(dnsmessage.RCodeServerFailure), true},
		{"REFUSED", rcode(dnsmessage.RCodeRefused), true},
		{"a record", edited(func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
			}}
		}), true},
		{"truncated", edited(func(m *dnsmessage.Message) { m.Truncated = true }), true},
		{"name in capitals", edited(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("EXAMPLE.com.") }), true},
		{"forgeries before the answer", func(m dnsmessage.Message) [][]byte {
			forged := edited(func(m *dnsmessage.Message) { m.ID++ })(m)
			return append(append(forged, []byte{1}), respond(m)...)
		}, true},
		{"another id", edited(func(m *dnsmessage.Message) { m.ID ^= 0x0100 }), false},
		{"another name", edited(func(m *dnsmessage.Message) { m.Questions[0].Name = other }), false},
		{"another type", edited(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }), false},
		{"another class", edited(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), false},
		{"no question", edited(func(m *dnsmessage.Message) { m.Questions = nil }), false},
		{"two questions", edited(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), false},
		{"the query itself", edited(func(m *dnsmessage.Message) { m.Response = false }), false},
		{"another operation", edited(func(m *dnsmessage.Message) { m.OpCode = 5 }), false},
		{"empty", raw(), false},
		{"noise", raw(1, 2, 3, 4, 5), false},
		{"nothing", func(dnsmessage.Message) [][]byte { return nil }, false},
	}
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		for i, tt := range tests {
			t.Run(f.name+" "+tt.what, func(t *testing.T) {
				port := uint16(1000 + i)
				asked := make(chan dnsmessage.Question, 1000)
				nameserver(t, isp, at(f.target, port), func(m dnsmessage.Message) [][]byte {
					asked <- m.Questions[0]
					return tt.answer(m)
				})
				target := config.Target{Method: config.DNS, Address: f.target, Port: port, Name: "example.com"}
				wait := timeout
				if !tt.accepted {
					wait = 60 * time.Millisecond
				}
				var err error
				eventually(t, "the server is asked", func() bool {
					_, err = probeBy(p, wait, device(1), f.source(1), target)
					return len(asked) > 0
				})
				want := map[string]dnsmessage.Type{"IPv4": dnsmessage.TypeA, "IPv6": dnsmessage.TypeAAAA}[f.name]
				if q := <-asked; q.Name.String() != "example.com." || q.Type != want {
					t.Errorf("asked for %v", q)
				}
				switch {
				case !tt.accepted:
					refused(t, err, "no answer within 60ms")
				case err != nil:
					t.Error(err)
				}
			})
		}
	}
}

// An answer from another address or port than the server's is not the server's.
func TestDNSFromAnotherSource(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		for i, from := range []string{at(f.neighbour(1), 1000), at(f.target, 999)} {
			port := uint16(1000 + i)
			heard := make(chan struct{}, 1000)
			speak(t, isp, at(f.target, port), from, func(m dnsmessage.Message) [][]byte {
				heard <- struct{}{}
				return respond(m)
			})
			target := config.Target{Method: config.DNS, Address: f.target, Port: port, Name: "example.com"}
			eventually(t, f.name+" server hears the query", func() bool {
				_, err := probeBy(p, 150*time.Millisecond, device(1), f.source(1), target)
				refused(t, err, "no answer within 150ms")
				return len(heard) > 0
			})
		}
	}
}

func TestDNSRefusals(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[0]
	answers(t, p, device(1), f.source(1), f.target)
	for _, tt := range []struct {
		address, name, want string
	}{
		{f.target.String(), "example.com", "port unreachable by 198.51.100.1"},
		{f.target.String(), "example..com", "write DNS query for example..com: packing Question: Name: zero length segment"},
		{f.target.String(), strings.Repeat("a", 300), `ask DNS for "aaaaaaaaaaaaaaaaaaaa"...: a name has at most 253 characters`},
	} {
		target := config.Target{Method: config.DNS, Address: netip.MustParseAddr(tt.address), Name: tt.name}
		_, err := probeBy(p, timeout, device(1), f.source(1), target)
		refused(t, err, tt.want)
	}
	check(t, netns.Run("nft", `table inet own { chain out { type filter hook output priority 0; udp dport 53 drop; }; }`))
	_, err := probeBy(p, timeout, device(1), f.source(1), config.Target{Method: config.DNS, Address: f.target, Name: "example.com"})
	refused(t, err, "a firewall rule of this host drops the probe")
	check(t, netns.Run("nft", "delete table inet own"))
}
