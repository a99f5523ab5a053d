package routing_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// six is an uplink on wan0 with this IPv6.
func six(i config.Inet6) config.Uplink {
	i.On = true
	return config.Uplink{Interface: "wan0", Type: config.DHCP, Grouped: true, Group: 1, Inet6: i}
}

// advertised is the default route of a router advertisement, which has properties that we never write.
func advertised(metric uint32, gateway string) routing.Route {
	r := via(254, 9, metric, hop("wan0", gateway))
	r.Family, r.Destination, r.Other = config.IPv6, netip.MustParsePrefix("::/0"), true
	return r
}

func TestResolveIPv6(t *testing.T) {
	good := func(source, gateway string) routing.Path {
		return routing.Path{Family: config.IPv6, Interface: "wan0", Source: addr(source), Gateway: addr(gateway), Routable: true}
	}
	bad := func(source, problem string) routing.Path {
		return routing.Path{Family: config.IPv6, Interface: "wan0", Source: addr(source), Problem: problem}
	}
	slaac := link("wan0", "2001:db8:2::5/64", "2001:db8:1::5/64", "fd00::5/64", "fe80::5/64")
	temporary := link("wan0", "2001:db8:1::99/64", "2001:db8:1::5/64", "fe80::5/64")
	temporary.Addresses[0].Secondary = true
	unique := link("wan0", "fd00::5/64", "2001:db8:1::99/64")
	unique.Addresses[1].Secondary = true
	tentative := link("wan0", "2001:db8:1::5/64", "fe80::5/64")
	tentative.Addresses[0].Tentative = true
	deprecated := link("wan0", "2001:db8:2::5/64", "2001:db8:1::5/64", "fe80::5/64")
	deprecated.Addresses[0].Deprecated = true
	router := []routing.Route{advertised(1024, "fe80::1")}
	dialled := ppp("wan0", "192.0.2.2", "192.0.2.1")
	dialled.Addresses = append(dialled.Addresses, address("2001:db8:1::5/64"), address("fe80::5/64"))
	onlink := good("2001:db8::2", "2001:db8:9::1")
	onlink.OnLink = true
	const file = "/run/pd"
	prefix := netip.MustParsePrefix("2001:db8:1200::/48")
	withPrefix := func(p routing.Path) routing.Path {
		p.Prefix = prefix
		return p
	}
	for _, tt := range []struct {
		name  string
		inet6 config.Inet6
		obs   routing.Observation
		want  routing.Path
	}{
		{"nothing there", config.Inet6{}, routing.Observation{}, bad("", "interface does not exist")},
		{"IPv4 alone", config.Inet6{}, routing.Observation{Links: []routing.Link{link("wan0", "192.0.2.2/24", "fe80::5/64")}, Defaults: router}, bad("", "no address")},
		{"advertised; the latest prefix", config.Inet6{}, routing.Observation{Links: []routing.Link{slaac}, Defaults: router}, good("2001:db8:2::5", "fe80::1")},
		{"temporary addresses last", config.Inet6{}, routing.Observation{Links: []routing.Link{temporary}, Defaults: router}, good("2001:db8:1::5", "fe80::1")},
		{"of the internet before local", config.Inet6{}, routing.Observation{Links: []routing.Link{unique}, Defaults: router}, good("2001:db8:1::99", "fe80::1")},
		{"deprecated", config.Inet6{}, routing.Observation{Links: []routing.Link{deprecated}, Defaults: router}, good("2001:db8:1::5", "fe80::1")},
		{"duplicate address detection", config.Inet6{}, routing.Observation{Links: []routing.Link{tentative}, Defaults: router}, bad("", "its address is being checked for a duplicate (DAD), or has one")},
		{
			"no router", config.Inet6{}, routing.Observation{Links: []routing.Link{slaac}, Defaults: []routing.Route{via(254, 16, 0, hop("wan0", "192.0.2.1"))}},
			bad("2001:db8:2::5", "no gateway known: no router has advertised itself"),
		},
		{
			"the preferred router", config.Inet6{}, routing.Observation{Links: []routing.Link{slaac}, Defaults: []routing.Route{advertised(2048, "fe80::2"), advertised(1024, "fe80::1")}},
			good("2001:db8:2::5", "fe80::1"),
		},
		{
			"fixed", config.Inet6{Address: addr("2001:db8:1::5"), Gateway: addr("fe80::9")}, routing.Observation{Links: []routing.Link{slaac}, Defaults: router},
			good("2001:db8:1::5", "fe80::9"),
		},
		{
			"gateway outside", config.Inet6{Gateway: addr("2001:db8:9::1")}, routing.Observation{Links: []routing.Link{link("wan0", "2001:db8::2/64")}},
			onlink,
		},
		{
			"address elsewhere", config.Inet6{Address: addr("2001:db8:7::1"), Gateway: addr("fe80::9")},
			routing.Observation{Links: []routing.Link{slaac, link("wan1", "2001:db8:7::1/64")}}, bad("", "address 2001:db8:7::1 is not on the interface, but on wan1"),
		},
		{
			"gateway is the own address", config.Inet6{Gateway: addr("fe80::5")}, routing.Observation{Links: []routing.Link{slaac}},
			bad("2001:db8:2::5", "gateway fe80::5 is the interface's own address"),
		},
		{"dialled", config.Inet6{}, routing.Observation{Links: []routing.Link{dialled}}, good("2001:db8:1::5", "")},
		{"dialled, with a router", config.Inet6{}, routing.Observation{Links: []routing.Link{dialled}, Defaults: router}, good("2001:db8:1::5", "fe80::1")},
		{
			"a prefix and no address", config.Inet6{PrefixFile: file},
			routing.Observation{
				Links: []routing.Link{link("wan0", "fe80::5/64"), link("lan0", "192.168.0.1/24", "fd00::1/64", "2001:db8:1200:1::1/64")}, Defaults: router,
				Prefixes: map[string]netip.Prefix{file: prefix},
			},
			withPrefix(good("2001:db8:1200:1::1", "fe80::1")),
		},
		{"a prefix without an interface", config.Inet6{Prefix: prefix}, routing.Observation{}, withPrefix(bad("", "interface does not exist"))},
		{"a prefix that is not delegated yet", config.Inet6{PrefixFile: file}, routing.Observation{Links: []routing.Link{slaac}, Defaults: router}, good("2001:db8:2::5", "fe80::1")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := routing.Resolve(configure(modern, six(tt.inet6)), &tt.obs)
			if len(got) != 2 || got[0].Family != config.IPv4 {
				t.Fatalf("paths %+v, want one of each family", got)
			}
			if diff := cmp.Diff(tt.want, got[1], byValue); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
		})
	}
}

// accept_ra goes before forwarding, which would take the advertised routes away; where a network manager
// listens to advertisements, the kernel is not told to.
func TestSysctlsIPv6(t *testing.T) {
	fixed := config.Uplink{Interface: "eth2", Inet6: config.Inet6{On: true, Address: addr("2001:db8::2"), Gateway: addr("fe80::1")}}
	cfg := configure(modern, six(config.Inet6{}), fixed, config.Uplink{Interface: "eth3"})
	state := func(acceptRA string) []string {
		have := sysctlsOf(cfg)
		for i := range have {
			if have[i].Key == "net/ipv6/conf/wan0/accept_ra" {
				have[i].Value = acceptRA
			}
		}
		obs := &routing.Observation{Have: routing.State{Sysctls: have}}
		var set []string
		for _, s := range routing.Plan(cfg, obs.Have, routing.Want(cfg, obs, nil, nil)) {
			if s.Sysctl != nil && s.Sysctl.Key[:8] == "net/ipv6" {
				set = append(set, s.Sysctl.Key+"="+s.Sysctl.Value)
			}
		}
		return set
	}
	rest := []string{"net/ipv6/conf/all/forwarding=1", "net/ipv6/fib_multipath_hash_policy=1", "net/ipv6/conf/wan0/ignore_routes_with_linkdown=1", "net/ipv6/conf/eth2/ignore_routes_with_linkdown=1"}
	for have, want := range map[string][]string{
		"1": append([]string{"net/ipv6/conf/wan0/accept_ra=2"}, rest...),
		"2": rest,
		"0": rest,
	} {
		if diff := cmp.Diff(want, state(have)); diff != "" {
			t.Errorf("accept_ra %s: (-want +got)\n%s", have, diff)
		}
	}
	// Putting back: forwarding ends first.
	saved := []routing.Sysctl{{Key: "net/ipv6/conf/all/forwarding", Value: "0"}, {Key: "net/ipv6/conf/wan0/accept_ra", Value: "1"}}
	owned := routing.State{Sysctls: []routing.Sysctl{{Key: "net/ipv6/conf/all/forwarding", Value: "1"}, {Key: "net/ipv6/conf/wan0/accept_ra", Value: "2"}}}
	const want = "sysctl -w net/ipv6/conf/all/forwarding=0\nsysctl -w net/ipv6/conf/wan0/accept_ra=1\n"
	if diff := cmp.Diff(want, lines(routing.CleanupPlan(owned, saved))); diff != "" {
		t.Errorf("cleanup (-want +got)\n%s", diff)
	}
}

func TestScopeIPv6(t *testing.T) {
	without := routing.ScopeOf(configure(modern, typed("wan0", config.DHCP)))
	if len(without.Families) != 1 || len(without.Whole().Families) != 2 || len(without.Families) != 1 {
		t.Errorf("families %v, whole %v", without.Families, without.Whole().Families)
	}
	with := routing.ScopeOf(configure(modern, six(config.Inet6{PrefixFile: "/run/pd"})))
	if len(with.Families) != 2 || len(with.PrefixFiles) != 1 || len(with.Whole().Families) != 2 {
		t.Errorf("scope %+v", with)
	}
}

// Routers are asked for where an advertisement would bring what is missing, and the kernel would take it.
func TestAwaitsRouter(t *testing.T) {
	whole, bare := link("wan0", "2001:db8::5/64", "fe80::5/64"), link("wan0", "fe80::5/64")
	tentative := link("wan0", "2001:db8::5/64", "fe80::5/64")
	tentative.Addresses[0].Tentative = true
	dark := link("wan0", "2001:db8::5/64", "fe80::5/64")
	dark.Carrier = false
	dialled := ppp("wan0", "192.0.2.2", "192.0.2.1")
	router := []routing.Route{advertised(1024, "fe80::1")}
	fixed := addr("2001:db8::5")
	for _, tt := range []struct {
		name     string
		inet6    config.Inet6
		link     routing.Link
		defaults []routing.Route
		acceptRA string
		want     bool
	}{
		{"all there", config.Inet6{}, whole, router, "2", false},
		{"no router", config.Inet6{}, whole, nil, "2", true},
		{"no router, not switched on yet", config.Inet6{}, whole, nil, "1", true},
		{"a network manager listens", config.Inet6{}, whole, nil, "0", false},
		{"without IPv6 in the kernel", config.Inet6{}, whole, nil, "", false},
		{"no address", config.Inet6{}, bare, router, "2", true},
		{"neither", config.Inet6{}, bare, nil, "2", true},
		{"the address is being checked", config.Inet6{}, tentative, router, "2", false},
		{"no carrier", config.Inet6{}, dark, nil, "2", false},
		{"fixed gateway", config.Inet6{Gateway: addr("fe80::1")}, whole, nil, "2", false},
		{"fixed gateway, no address", config.Inet6{Gateway: addr("fe80::1")}, bare, nil, "2", true},
		{"fixed address, no router", config.Inet6{Address: fixed}, whole, nil, "2", true},
		{"fixed address that is not there", config.Inet6{Address: fixed}, bare, router, "2", false},
		{"dialled, no address", config.Inet6{}, dialled, nil, "2", true},
	} {
		obs := routing.Observation{Links: []routing.Link{tt.link}, Defaults: tt.defaults}
		if tt.acceptRA != "" {
			obs.Have.Sysctls = []routing.Sysctl{{Key: "net/ipv6/conf/wan0/accept_ra", Value: tt.acceptRA}}
		}
		paths := routing.Resolve(configure(modern, six(tt.inet6)), &obs)
		if got := paths[0].AwaitsRouter || paths[1].AwaitsRouter; got != tt.want || paths[0].Family == config.IPv4 && paths[0].AwaitsRouter {
			t.Errorf("%s: routers are awaited: %t, want %t", tt.name, got, tt.want)
		}
	}
}
