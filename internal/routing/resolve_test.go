package routing_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// byValue lets cmp look at addresses as values.
var byValue = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

// usable is the path of the first uplink, on wan0.
func usable(source, gateway string) routing.Path {
	return routing.Path{Family: config.IPv4, Interface: "wan0", Source: addr(source), Gateway: addr(gateway), Routable: true}
}

// unusable is a path with a problem and no route.
func unusable(source, problem string) routing.Path {
	return routing.Path{Family: config.IPv4, Interface: "wan0", Source: addr(source), Problem: problem}
}

func TestResolve(t *testing.T) {
	const dhcpProtocol = 16
	main := func(metric uint32, gateway string) routing.Route {
		return via(254, dhcpProtocol, metric, hop("wan0", gateway))
	}
	ours := func(table uint32, device, source, gateway string) routing.State {
		return routing.State{Routes: []routing.Route{
			withSource(via(table, routing.RouteProtocol, 0, hop(device, gateway)), source), deadEnd(table),
		}}
	}
	lease := func(g string) map[string]netip.Addr { return map[string]netip.Addr{"wan0": addr(g)} }
	secondary := link("wan0", "192.0.2.9/24")
	secondary.Addresses = []routing.Address{
		{Prefix: netip.MustParsePrefix("192.0.2.5/24"), Secondary: true}, secondary.Addresses[0],
	}
	tentative := link("wan0", "192.0.2.9/24", "192.0.2.10/24")
	tentative.Addresses[0].Tentative = true
	deprecated := link("wan0", "192.0.2.9/24", "192.0.2.10/24")
	deprecated.Addresses[0].Deprecated = true
	down, dark := link("wan0", "192.0.2.2/24"), link("wan0", "192.0.2.2/24")
	down.Up, down.Carrier, dark.Carrier = false, false, false
	full := static("wan0", "192.0.2.2", "192.0.2.1")
	gatewayOnly, addressOnly := static("wan0", "", "192.0.2.1"), static("wan0", "192.0.2.2", "")

	tests := []struct {
		name   string
		uplink config.Uplink
		obs    routing.Observation
		want   routing.Path
	}{
		{"static", full, routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}}, usable("192.0.2.2", "192.0.2.1")},
		{
			"static, one of several addresses", full,
			routing.Observation{Links: []routing.Link{link("wan0", "198.51.100.7/24", "192.0.2.2/24")}},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"static, address not there", full,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.3/24")}},
			unusable("", "address 192.0.2.2 is not on the interface"),
		},
		{"static, address read", gatewayOnly, routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.7/24")}}, usable("192.0.2.7", "192.0.2.1")},
		{
			"static, address ambiguous", gatewayOnly,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.7/24", "198.51.100.1/24")}},
			unusable("", "more than one address on the interface: name one as ip"),
		},
		{
			"static, gateway is the own address", gatewayOnly,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.1/24")}},
			unusable("192.0.2.1", "gateway 192.0.2.1 is the interface's own address"),
		},
		{
			"static, gateway read", addressOnly,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Defaults: []routing.Route{main(0, "192.0.2.254")}},
			usable("192.0.2.2", "192.0.2.254"),
		},
		{
			"static, same gateway from two sides", addressOnly,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Defaults: []routing.Route{main(0, "192.0.2.1")}, Leases: lease("192.0.2.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"static, gateway ambiguous", addressOnly,
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Defaults: []routing.Route{main(0, "192.0.2.1"), main(5, "192.0.2.254")}},
			unusable("192.0.2.2", "more than one gateway known (192.0.2.1 and 192.0.2.254): name one as gateway"),
		},
		{
			"static, no gateway", addressOnly, routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}},
			unusable("192.0.2.2", "no gateway known"),
		},
		{
			"static, gateway off the subnet", static("wan0", "192.0.2.2", "198.51.100.1"),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/32")}},
			routing.Path{Family: config.IPv4, Interface: "wan0", Source: addr("192.0.2.2"), Gateway: addr("198.51.100.1"), OnLink: true, Routable: true},
		},
		{"missing", full, routing.Observation{}, routing.Path{Family: config.IPv4, Interface: "wan0", Problem: "interface does not exist"}},
		{
			"down", full, routing.Observation{Links: []routing.Link{down}},
			routing.Path{Family: config.IPv4, Interface: "wan0", Source: addr("192.0.2.2"), Gateway: addr("192.0.2.1"), Problem: "interface is down"},
		},
		{
			"no carrier: the route can exist, packets cannot", full, routing.Observation{Links: []routing.Link{dark}},
			routing.Path{
				Family: config.IPv4, Interface: "wan0", Source: addr("192.0.2.2"), Gateway: addr("192.0.2.1"),
				Routable: true, Problem: "no carrier",
			},
		},
		{
			"no carrier goes before no address", full, routing.Observation{Links: []routing.Link{{Name: "wan0", Up: true}}},
			routing.Path{Family: config.IPv4, Interface: "wan0", Problem: "no carrier"},
		},
		{
			"VLAN", static("eth0.100", "192.0.2.2", "192.0.2.1"), routing.Observation{Links: []routing.Link{link("eth0"), link("eth0.100", "192.0.2.2/24")}},
			routing.Path{Family: config.IPv4, Interface: "eth0.100", Source: addr("192.0.2.2"), Gateway: addr("192.0.2.1"), Routable: true},
		},
		{"ppp", typed("wan0", config.PPP), routing.Observation{Links: []routing.Link{ppp("wan0", "203.0.113.5", "203.0.113.1")}}, usable("203.0.113.5", "203.0.113.1")},
		{
			"ppp after a change of both", typed("wan0", config.PPP),
			routing.Observation{
				Links: []routing.Link{ppp("wan0", "203.0.113.77", "203.0.113.2")},
				Have:  ours(1, "wan0", "203.0.113.5", "203.0.113.1"),
			},
			usable("203.0.113.77", "203.0.113.2"),
		},
		{"ppp without address", typed("wan0", config.PPP), routing.Observation{Links: []routing.Link{{Name: "wan0", Up: true, Carrier: true, PointToPoint: true}}}, unusable("", "no address")},
		{"ppp without peer: no next hop is needed", typed("wan0", config.PPP), routing.Observation{Links: []routing.Link{ppp("wan0", "203.0.113.5", "")}}, usable("203.0.113.5", "")},
		{
			"ppp on what is no point-to-point interface", typed("wan0", config.PPP),
			routing.Observation{Links: []routing.Link{link("wan0", "203.0.113.5/24")}},
			unusable("203.0.113.5", "no peer address"),
		},
		{
			"dhcp, gateway of the lowest metric", typed("wan0", config.DHCP),
			routing.Observation{
				Links:    []routing.Link{link("wan0", "192.0.2.2/24")},
				Defaults: []routing.Route{main(4294967295, "192.0.2.252"), main(1024, "192.0.2.253"), main(100, "192.0.2.254"), via(254, 3, 0, hop("eth9", "192.0.2.99"))},
				Leases:   lease("192.0.2.1"),
			},
			usable("192.0.2.2", "192.0.2.254"),
		},
		{
			"dhcp, gateway of the lease", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Leases: lease("192.0.2.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"dhcp, stale route of another network", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Defaults: []routing.Route{main(0, "10.0.0.1")}, Leases: lease("192.0.2.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"dhcp, stale lease of another network", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Defaults: []routing.Route{main(0, "192.0.2.1")}, Leases: lease("10.0.0.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"dhcp, gateway outside of the subnet as some providers give it", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/32")}, Leases: lease("10.0.0.1")},
			routing.Path{Family: config.IPv4, Interface: "wan0", Source: addr("192.0.2.2"), Gateway: addr("10.0.0.1"), OnLink: true, Routable: true},
		},
		{
			"dhcp, gateway remembered", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Have: ours(1, "wan0", "192.0.2.2", "192.0.2.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{
			"dhcp, nothing remembered of another address", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Have: ours(1, "wan0", "192.0.2.3", "192.0.2.1")},
			unusable("192.0.2.2", "no gateway known"),
		},
		{
			"dhcp, nothing remembered of another interface", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Have: ours(1, "wan9", "192.0.2.2", "192.0.2.1")},
			unusable("192.0.2.2", "no gateway known"),
		},
		{
			"dhcp, what is known goes before what is remembered", typed("wan0", config.DHCP),
			routing.Observation{
				Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Leases: lease("192.0.2.254"),
				Have: ours(1, "wan0", "192.0.2.2", "192.0.2.1"),
			},
			usable("192.0.2.2", "192.0.2.254"),
		},
		{
			"dhcp, own address is no gateway", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24")}, Leases: lease("192.0.2.2")},
			unusable("192.0.2.2", "no gateway known"),
		},
		{
			"link-local and loopback addresses are ignored", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "169.254.3.4/16", "127.0.0.2/8")}, Leases: lease("192.0.2.1")},
			unusable("", "no address"),
		},
		{
			"IPv6 addresses are not for an IPv4 path", typed("wan0", config.DHCP),
			routing.Observation{Links: []routing.Link{link("wan0", "2001:db8::2/64", "192.0.2.2/24")}, Leases: lease("192.0.2.1")},
			usable("192.0.2.2", "192.0.2.1"),
		},
		{"dhcp, primary before secondary", typed("wan0", config.DHCP), routing.Observation{Links: []routing.Link{secondary}, Leases: lease("192.0.2.1")}, usable("192.0.2.9", "192.0.2.1")},
		{"tentative", typed("wan0", config.DHCP), routing.Observation{Links: []routing.Link{tentative}, Leases: lease("192.0.2.1")}, usable("192.0.2.10", "192.0.2.1")},
		{"deprecated", typed("wan0", config.DHCP), routing.Observation{Links: []routing.Link{deprecated}, Leases: lease("192.0.2.1")}, usable("192.0.2.10", "192.0.2.1")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := routing.Resolve(configure(modern, tt.uplink), &tt.obs)
			if diff := cmp.Diff([]routing.Path{tt.want}, got, byValue); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
			if got[0].Usable() != (tt.want.Problem == "") {
				t.Errorf("Usable = %t with problem %q", got[0].Usable(), got[0].Problem)
			}
		})
	}
}

// Modems of one make give every line the same addresses.
func TestResolveSharedAddresses(t *testing.T) {
	cfg := configure(modern, static("wan0", "192.168.1.2", "192.168.1.1"), static("wan1", "192.168.1.3", "192.168.1.1"), typed("wan2", config.DHCP))
	obs := &routing.Observation{
		Links:  []routing.Link{link("wan0", "192.168.1.2/24"), link("wan1", "192.168.1.3/24"), link("wan2", "192.168.1.2/24")},
		Leases: map[string]netip.Addr{"wan2": addr("192.168.1.1")},
	}
	want := []routing.Path{
		{Uplink: 0, Family: config.IPv4, Interface: "wan0", Source: addr("192.168.1.2"), Gateway: addr("192.168.1.1"), Routable: true},
		{Uplink: 1, Family: config.IPv4, Interface: "wan1", Source: addr("192.168.1.3"), Gateway: addr("192.168.1.1"), Routable: true},
		{Uplink: 2, Family: config.IPv4, Interface: "wan2", Source: addr("192.168.1.2"), Gateway: addr("192.168.1.1"), Routable: true},
	}
	got := routing.Resolve(cfg, obs)
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Fatalf("Resolve (-want +got):\n%s", diff)
	}
	// They have the same gateway, told apart by the device.
	state := routing.Want(cfg, obs, got, []routing.Selection{{Family: config.IPv4}})
	wantRoutes := []routing.Route{
		withSource(via(1, 117, 0, hop("wan0", "192.168.1.1")), "192.168.1.2"), deadEnd(1),
		withSource(via(2, 117, 0, hop("wan1", "192.168.1.1")), "192.168.1.3"), deadEnd(2),
		withSource(via(3, 117, 0, hop("wan2", "192.168.1.1")), "192.168.1.2"), deadEnd(3),
	}
	if diff := cmp.Diff(wantRoutes, state.Routes, byValue); diff != "" {
		t.Errorf("Want (-want +got):\n%s", diff)
	}
	// The address that two lines have leads to neither: what is bound to an interface alone follows it.
	wantRules := []string{
		"from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117",
		"from 192.168.1.2 oif wan0 lookup 1 priority 20000 protocol 117",
		"from 192.168.1.3 lookup 2 priority 20001 protocol 117",
		"from 192.168.1.2 oif wan2 lookup 3 priority 20002 protocol 117",
	}
	for i, want := range wantRules {
		if got := state.Rules[i].String(); got != want {
			t.Errorf("rule %d: %q, want %q", i, got, want)
		}
	}
	// With another address the line has a rule like all others.
	obs.Links[2].Addresses = []routing.Address{address("192.168.1.4/24")}
	state = routing.Want(cfg, obs, routing.Resolve(cfg, obs), []routing.Selection{{Family: config.IPv4}})
	for i, want := range []string{"from 192.168.1.2 lookup 1 priority 20000 protocol 117", "from 192.168.1.4 lookup 3 priority 20002 protocol 117"} {
		if got := state.Rules[1+2*i].String(); got != want {
			t.Errorf("rule %d: %q, want %q", 1+2*i, got, want)
		}
	}
}
