package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

// Lines as they come: two behind the same gateway address, one whose gateway is outside of the
// interface's subnet, a VLAN's name, a bridge; and a LAN of two interfaces.
func TestShapes(t *testing.T) {
	t.Parallel()
	b := newBed(t, []lab.Line{{}, {SharedGateway: true}, {SharedGateway: true}, {}, {}})
	lines := b.Plan.Lines
	lines[3].Interface, lines[4].Interface = "eth0.100", "br-wan"
	b.must(b.Router.Batch(
		"addr flush dev wan1", fmt.Sprintf("addr add %s/32 dev wan1", lines[0].Address),
		"link set wan4 down", "link set wan4 name eth0.100", "link set eth0.100 up",
		"addr flush dev wan5", "link add br-wan type bridge", "link set wan5 master br-wan", "link set br-wan up",
		fmt.Sprintf("addr add %s/24 dev br-wan", lines[4].Address),
	))
	second := b.secondLAN()
	b.start(edit(t, b.Config(), "lan: lan0", "lan: [lan0, lan1]"))
	b.uses(20*time.Second, 0, 1, 2, 3, 4)
	for i, line := range lines {
		if want := fmt.Sprintf("default via %s dev %s", line.Gateway, line.Interface); !strings.Contains(b.table(1+i), want) {
			t.Errorf("table %d has no %q:\n%s", 1+i, want, b.table(1+i))
		}
	}
	for i, share := range b.spread("at first", 250) {
		// 50 of 250, standard deviation 6.3.
		if share < 0.1 || share > 0.3 {
			t.Errorf("line %d (%s) carried %.2f of the connections, want about 0.2", i+1, lines[i].Interface, share)
		}
	}
	b.incoming("at first", 20)
	b.fromSecondLAN(second)
	// One of the two behind one gateway breaks, the other goes on.
	b.must(b.Cut(1))
	b.uses(10*time.Second, 0, 2, 3, 4)
	b.must(b.Restore(1))
	b.uses(10*time.Second, 0, 1, 2, 3, 4)
	b.must(b.CutCarrier(4))
	b.must(b.Cut(3))
	b.uses(10*time.Second, 0, 1, 2)
	b.spread("lines 4 and 5 broken", 30)
	b.must(b.Restore(3))
	b.must(b.Restore(4))
	b.uses(10*time.Second, 0, 1, 2, 3, 4)
	b.incoming("all restored", 20)
}

// secondLAN connects another client to the router.
func (b *bed) secondLAN() *lab.Host {
	b.t.Helper()
	ns, err := netns.New(b.Client.Name + "2")
	b.must(err)
	b.t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			b.t.Error(err)
		}
	})
	b.must(b.Router.Batch("link add lan1 type veth peer name eth0 netns "+ns.Name, "addr add 192.168.3.1/24 dev lan1", "link set lan1 up"))
	b.must(ns.Batch("addr add 192.168.3.2/24 dev eth0", "link set eth0 up", "route add default via 192.168.3.1"))
	return &lab.Host{NS: ns}
}

// fromSecondLAN wants the second client's connections spread like the first one's.
func (b *bed) fromSecondLAN(client *lab.Host) {
	b.t.Helper()
	used := map[string]int{}
	for range 50 {
		response, err := client.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[0], lab.WebPort), "/")
		b.must(err)
		used[response.Header.Get(lab.LineHeader)]++
		response.Body.Close()
	}
	if len(used) != len(b.Plan.Lines) || used["none"] > 0 {
		b.t.Errorf("50 connections from the second LAN by line: %v, want all lines used", used)
	}
}
