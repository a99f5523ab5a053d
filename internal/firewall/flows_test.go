package firewall_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// selectionChanges: connections that exist stay where they are, UDP without an answer too; new ones
// go to what is selected.
func (b *bed) selectionChanges(t *testing.T) {
	var open []*conn
	for range 30 {
		open = append(open, b.mustDial(t, "", internet+":80"))
		c, err := dial(b.router, "", internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		open = append(open, c)
	}
	datagrams := b.datagrams(t)
	for _, selection := range [][]int{{2}, {1}, {0, 1}, {0, 1, 2}} {
		b.talkThrough(t, open, selection)
		datagrams(selection)
		if c := b.mustDial(t, "", internet+":80"); len(selection) == 1 && b.lineOf(c.seen.Addr()) != selection[0] {
			t.Errorf("selection %v: a new connection used %s", selection, c.seen)
		}
	}
	b.noLeaks(t)
}

// datagrams opens UDP flows from the client and returns a function that sends one more on each and
// wants it to arrive from the flow's first address.
func (b *bed) datagrams(t *testing.T) func(selection []int) {
	var sink *net.UDPConn
	err := b.internet.Do(func() (err error) {
		sink, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(internet+":53")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	flows, first := make([]net.Conn, 12), make([]netip.AddrPort, 12)
	send := func(selection []int) {
		for i, flow := range flows {
			if _, err := flow.Write([]byte("datagram")); err != nil {
				t.Fatal(err)
			}
			sink.SetReadDeadline(time.Now().Add(patience))
			_, from, err := sink.ReadFromUDPAddrPort(make([]byte, 64))
			if err != nil {
				t.Fatalf("selection %v: datagram of flow %s lost: %v", selection, first[i], err)
			}
			if first[i].IsValid() && from != first[i] {
				t.Errorf("selection %v: flow of %s now comes from %s", selection, first[i], from)
			}
			first[i] = from
		}
	}
	for i := range flows {
		err := b.client.Do(func() (err error) {
			flows[i], err = net.Dial("udp4", internet+":53")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { flows[i].Close() })
	}
	send(nil)
	return send
}

// loadLate loads the rules while there are connections that know no marks: they stay where they are.
func (b *bed) loadLate(t *testing.T, variant string) {
	rules := merged(t, b.cfg)
	_, unmarking, _ := strings.Cut(rules, "\n*nat\n")
	b.load(variant, "*nat\n"+unmarking)
	b.serve(b.internet, internet+":8080")
	var open []*conn
	for range 20 {
		open = append(open, b.mustDial(t, "", internet+":8080"))
	}
	b.load(variant, rules)
	b.talkThrough(t, open, []int{0, 1, 2}, []int{0}, []int{1}, []int{0, 1, 2})
	b.noLeaks(t)
}

// talkThrough changes the selection and wants all connections to go on each time.
func (b *bed) talkThrough(t *testing.T, open []*conn, selections ...[]int) {
	t.Helper()
	for _, selection := range selections {
		b.selects(selection...)
		for _, c := range open {
			if err := c.talk(); err != nil {
				t.Fatalf("selection %v: a connection with the address %s broke: %v", selection, c.seen, err)
			}
		}
	}
}

// ownInside: the router's own connections from an inside address keep the line that they began on.
func (b *bed) ownInside(t *testing.T) {
	var open []*conn
	for range 20 {
		c, err := dial(b.router, routerLAN, internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		open = append(open, c)
	}
	b.talkThrough(t, open, []int{0}, []int{2}, []int{0, 1, 2})
	b.noLeaks(t)
}
