package kernel_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/kernel"
)

// The kernel's own answer tells table and next hops, by mark, for forwarded packets and for own ones.
func TestLookup(t *testing.T) {
	w := newRealWorld(t, "lookup")
	err := w.ns.Batch(
		"link add w0 type veth peer name p0", "link add w1 type veth peer name p1", "link add lan0 type veth peer name l0",
		"link set w0 up", "link set p0 up", "link set w1 up", "link set p1 up", "link set lan0 up", "link set l0 up",
		"addr add 192.0.2.2/24 dev w0", "addr add 198.51.100.2/24 dev w1", "addr add 10.0.0.1/24 dev lan0",
		"addr add 2001:db8:1::2/64 dev w0 nodad", "addr add 2001:db8:2::1/64 dev lan0 nodad",
		"rule add fwmark 0x100/0xff00 lookup 101", "rule add fwmark 0x200/0xff00 lookup 102", "rule add fwmark 0x300/0xff00 lookup 103",
		"route add default via 192.0.2.1 dev w0 table 101",
		"route add default table 102 nexthop via 192.0.2.1 dev w0 weight 1 nexthop via 198.51.100.1 dev w1 weight 3",
		"route add unreachable default table 103", "route add 2001:db8:9::/48 via 2001:db8:1::1 dev w0 table 101")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"ip -6 rule add fwmark 0x100/0xff00 lookup 101", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	} {
		words := strings.Fields(command)
		if err := w.ns.Run(words[0], words[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	packet := config.Packet{Source: netip.MustParseAddr("10.0.0.9"), Destination: netip.MustParseAddr("203.0.113.1"), Inside: "lan0", Protocol: 6, SourcePort: 1000, DestinationPort: 443}
	own := config.Packet{Destination: packet.Destination, Protocol: 1}
	inner := packet
	inner.Destination = netip.MustParseAddr("10.0.0.77")
	six := config.Packet{Source: netip.MustParseAddr("2001:db8:2::9"), Destination: netip.MustParseAddr("2001:db8:9::1"), Inside: "lan0", Protocol: 17, SourcePort: 1, DestinationPort: 2}
	for _, test := range []struct {
		name   string
		packet config.Packet
		mark   uint32
		table  uint32
		hops   []string
	}{
		{"forwarded", packet, 0x100, 101, []string{"w0"}},
		{"foreign bits", packet, 0xab0105, 101, []string{"w0"}},
		{"several", packet, 0x200, 102, []string{"w0", "w1"}},
		{"unreachable", packet, 0x300, 0, nil},
		{"no route", packet, 0, 0, nil},
		{"own", own, 0x200, 102, []string{"w0", "w1"}},
		{"inside", inner, 0, 254, []string{"lan0"}},
		{"IPv6", six, 0x100, 101, []string{"w0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			route, err := w.Lookup(t.Context(), test.packet, test.mark)
			if test.hops == nil {
				if !errors.Is(err, kernel.ErrNoWay) {
					t.Fatalf("%v, error %v", route, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var hops []string
			for _, h := range route.NextHops {
				hops = append(hops, h.Interface)
			}
			if diff := cmp.Diff(test.hops, hops); diff != "" || route.Table != test.table {
				t.Errorf("table %d, want %d (-want +got)\n%s", route.Table, test.table, diff)
			}
		})
	}
	missing := packet
	missing.Inside = "nothing"
	if _, err := w.Lookup(t.Context(), missing, 0); err == nil || errors.Is(err, kernel.ErrNoWay) {
		t.Errorf("from an interface that does not exist: %v", err)
	}
}

func TestInSet(t *testing.T) {
	w := newRealWorld(t, "inset")
	a := netip.MustParseAddr("203.0.113.9")
	if err := w.ns.Run("nft", "table inet ftr { set bank { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 }; }; }"); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[netip.Addr]bool{a: true, netip.MustParseAddr("203.0.114.9"): false} {
		if got, err := w.InSet(t.Context(), "bank", address); got != want || err != nil {
			t.Errorf("%s: %t, %v", address, got, err)
		}
	}
	kernel.SetNftPaths(w.Kernel, "no-such-program")
	if _, err := w.InSet(t.Context(), "bank", a); !errors.Is(err, kernel.ErrNoNft) {
		t.Errorf("without nft: %v", err)
	}
}
