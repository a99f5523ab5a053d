package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// A router hears a solicitation as RFC 4861 §6.1.1 wants it: from the link, of the interface that was named.
func TestSolicit(t *testing.T) {
	w := newRealWorld(t, "asks")
	other := newRealWorld(t, "asked")
	for _, lines := range []string{
		"link add wan0 type veth peer name lan0 netns asked", "link set wan0 addrgenmode none up address 02:00:00:00:00:05",
		"addr add fe80::5/64 dev wan0 nodad",
	} {
		if err := w.ip(lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(other.ip("link set lan0 addrgenmode none up"), other.ip("addr add fe80::1/64 dev lan0 nodad")); err != nil {
		t.Fatal(err)
	}
	var conn *icmp.PacketConn
	if err := other.ns.Do(func() (err error) {
		if conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); err != nil {
			return err
		}
		device, err := net.InterfaceByName("lan0")
		if err != nil {
			return err
		}
		p := conn.IPv6PacketConn()
		var filter ipv6.ICMPFilter
		filter.SetAll(true)
		filter.Accept(ipv6.ICMPTypeRouterSolicitation)
		return errors.Join(p.JoinGroup(device, &net.IPAddr{IP: net.ParseIP("ff02::2")}), p.SetICMPFilter(&filter),
			p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true))
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	packet := make([]byte, 100)
	for heard := false; !heard; { // a link may come up late
		if err := w.Solicit(ctx, "wan0"); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, control, from, err := conn.IPv6PacketConn().ReadFrom(packet)
		if heard = err == nil; !heard {
			continue
		}
		got := fmt.Sprintf("%x from %s to %s, hop limit %d", append(packet[:2], packet[4:n]...), from.(*net.IPAddr).IP, control.Dst, control.HopLimit)
		if diff := cmp.Diff("8500000000000101020000000005 from fe80::5 to ff02::2, hop limit 255", got); diff != "" {
			t.Errorf("solicitation (-want +got)\n%s", diff)
		}
	}
	if err := w.Solicit(ctx, "wan9"); err == nil || !strings.HasPrefix(err.Error(), "ask for routers on wan9: ") {
		t.Errorf("of an interface that is not there: %v", err)
	}
	if err := w.RemoveAddress("wan0", netip.MustParseAddr("fe80::5")); err != nil {
		t.Fatal(err)
	}
	if err := w.Solicit(ctx, "wan0"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("without an address on the link: %v", err)
	}
	cancel()
	if err := w.Solicit(ctx, "wan0"); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
