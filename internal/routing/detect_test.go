package routing_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

func TestDetect(t *testing.T) {
	timed := link("eth3", "198.51.100.9/24", "2001:db8:3::2/64")
	timed.Addresses[0].Dynamic = true
	six := via(254, 9, 1024, hop("eth1", "fe80::1"))
	six.Family, six.Destination = config.IPv6, netip.MustParsePrefix("::/0")
	obs := &routing.Observation{
		Links: []routing.Link{
			link("lo", "127.0.0.1/8"), link("eth0"), link("eth1", "192.0.2.2/24", "fd00::2/64", "2001:db8:1::2/64", "fe80::2/64"), link("eth2", "10.1.0.2/24"), timed,
			link("eth4", "203.0.113.130/25"), ppp("ppp0", "203.0.113.5", "203.0.113.1"), link("lan0", "192.168.1.1/24"), link("odd0", "100.64.0.1/10"),
			link("docker0", "172.17.0.1/16"), link("virbr0", "192.168.122.1/24"), ppp("tun0", "10.8.0.2", "10.8.0.1"),
		},
		Defaults: []routing.Route{
			via(254, 3, 0, hop("eth1", "192.0.2.1")), via(254, 3, 10, hop("eth1", "192.0.2.254")),
			via(254, 16, 200, hop("eth2", "10.1.0.9")), via(254, 16, 100, hop("eth9", "172.16.0.1"), hop("eth2", "10.1.0.1")),
			via(254, 3, 0, hop("eth3", "198.51.100.1")), six,
		},
		Leases: map[string]netip.Addr{"eth4": addr("203.0.113.129")},
	}
	want := []config.Found{
		{Interface: "eth1", Type: config.Static, Address: addr("192.0.2.2"), Gateway: addr("192.0.2.1"), Address6: addr("2001:db8:1::2"), Gateway6: addr("fe80::1"), Guess: "it has a default route, and nothing tells of DHCP"},
		{Interface: "eth2", Type: config.DHCP, Address: addr("10.1.0.2"), Gateway: addr("10.1.0.1"), Guess: "its default route was made by a DHCP client"},
		{Interface: "eth3", Type: config.DHCP, Address: addr("198.51.100.9"), Gateway: addr("198.51.100.1"), Address6: addr("2001:db8:3::2"), Guess: "it has a default route, and its address has a lifetime as DHCP gives it"},
		{Interface: "eth4", Type: config.DHCP, Address: addr("203.0.113.130"), Gateway: addr("203.0.113.129"), Guess: "a DHCP client holds a lease for it"},
		{Interface: "ppp0", Type: config.PPP, Address: addr("203.0.113.5"), Gateway: addr("203.0.113.1"), Guess: "it is a point-to-point link with the peer 203.0.113.1"},
	}
	uplinks, lan := routing.Detect(obs)
	if diff := cmp.Diff(want, uplinks, byValue); diff != "" {
		t.Errorf("uplinks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lan0"}, lan); diff != "" {
		t.Errorf("LAN (-want +got):\n%s", diff)
	}
}
