package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// The addresses of the bed over IPv6. Line i is 2001:db8:i::/48: its first network is the wire, where the
// router is ::2 and the provider fe80::1, and a /52 of it is delegated to the router.
const (
	internet6   = "2001:db8:ffff::1"
	routerLAN6  = "fd00:0:0:1::1"
	client6     = "fd00:0:0:1::10"
	serverDMZ6  = "fd00:0:0:2::10"
	otherHost6  = "2001:db8:ffff::2"
	otherLAN6   = "fd00:0:0:1::20" // of the client, too
	thirdLAN6   = "fd00:0:0:1::30"
	fourthLAN6  = "fd00:0:0:1::40"
	outerDMZ6   = "fd00:0:0:2::1" // the router's
	provider6LL = "fe80::1"
)

// policyHead6 describes the bed with each way of translation: a fixed address, the interface's, and the
// delegated prefix.
const policyHead6 = `uplinks:
  - {interface: wan0, description: one, ip: 100.64.0.2, gateway: 100.64.0.1, priority_group: 1, ipv6: {ip: "2001:db8::2", gateway: "fe80::1"}}
  - {interface: wan1, description: two, ip: 100.64.1.2, gateway: 100.64.1.1, priority_group: 1, ipv6: {gateway: "fe80::1"}}
  - {interface: wan2, description: three, ip: 100.64.2.2, gateway: 100.64.2.1, priority_group: 1, ipv6: {ip: "2001:db8:2::2", gateway: "fe80::1", nat: prefix, prefix: "2001:db8:2:1000::/52"}}
downlinks: {lan: lan0, dmz: dmz0}
tests: {ips: [1.1.1.1, "2606:4700:4700::1111"]}
firewall: managed
`

func address6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: byte(i), 15: 2})
}

// customer6 is all that belongs to a line.
func customer6(i int) netip.Prefix { return netip.PrefixFrom(address6(i), 48).Masked() }

// delegated6 is what is routed to the router.
func delegated6(i int) netip.Prefix {
	a := customer6(i).Addr().As16()
	a[6] = 0x10
	return netip.PrefixFrom(netip.AddrFrom16(a), 52)
}

// newPolicyBed6 is newPolicyBed with connections over IPv6; everything of IPv4 is there too. edits are
// replacements in the head: old, new, ...
func newPolicyBed6(t *testing.T, rest string, edits ...string) *policyBed {
	cfg, problems := config.Parse("bed.conf", []byte(strings.NewReplacer(edits...).Replace(policyHead6)+rest))
	for _, p := range problems {
		t.Error(p.Render())
	}
	if cfg == nil {
		t.FailNow()
	}
	b := &policyBed{bed: newBed(t, cfg)}
	b.family = config.IPv6
	b.wire6()
	for i, u := range b.cfg.Uplinks {
		b.observed.Links = append(b.observed.Links, routing.Link{
			Name: u.Interface, Up: true, Carrier: true,
			Addresses: []routing.Address{{Prefix: netip.PrefixFrom(address6(i), 64)}},
		})
	}
	b.now = routing.Situation{Config: b.cfg, Paths: routing.Resolve(b.cfg, &b.observed)}
	b.well(0, 1, 2)
	return b
}

// wire6 gives all hosts their IPv6.
func (b *bed) wire6() {
	for _, ns := range append([]*netns.NS{b.router}, b.providers...) {
		b.sysctl6(ns, "conf/all/forwarding", "1")
	}
	b.sysctl6(b.router, "fib_multipath_hash_policy", "1")
	b.ip(b.router, "addr add "+routerLAN6+"/64 dev lan0 nodad", "addr add "+outerDMZ6+"/64 dev dmz0 nodad")
	for _, a := range []string{client6, otherLAN6, thirdLAN6, fourthLAN6} {
		b.ip(b.client, "addr add "+a+"/64 dev eth0 nodad")
	}
	b.ip(b.client, "route add ::/0 via "+routerLAN6+" src "+client6)
	b.ip(b.server, "addr add "+serverDMZ6+"/64 dev eth0 nodad", "route add ::/0 via "+outerDMZ6)
	b.ip(b.internet, "addr add "+internet6+"/128 dev lo nodad", "addr add "+otherHost6+"/128 dev lo nodad")
	for i, provider := range b.providers {
		b.ip(b.router, fmt.Sprintf("addr add %s/64 dev wan%d nodad", address6(i), i), fmt.Sprintf("addr add fe80::2/64 dev wan%d nodad", i))
		b.ip(b.internet,
			fmt.Sprintf("addr add fdcc:%d::2/64 dev line%[1]d nodad", i),
			fmt.Sprintf("route add %s via fdcc:%d::1 src %s", customer6(i), i, internet6))
		b.ip(provider,
			"addr add "+provider6LL+"/64 dev router nodad", fmt.Sprintf("addr add %s/64 dev router nodad", address6(i).Prev()),
			fmt.Sprintf("addr add fdcc:%d::1/64 dev internet nodad", i),
			fmt.Sprintf("route add 2001:db8:ffff::/64 via fdcc:%d::2", i),
			fmt.Sprintf("route add %s via fe80::2 dev router", delegated6(i)))
		filter := fmt.Sprintf("table ip6 filter {\ncounter foreign { }\nchain forward {\ntype filter hook forward priority 0\n"+
			"iifname \"router\" ip6 saddr != %s counter name foreign drop\n}\n}\n", customer6(i))
		if err := loadNft(provider, filter); err != nil {
			b.t.Fatal(err)
		}
	}
}

// apply6 makes rules and routes by the steps of the daemon.
func (b *policyBed) apply6(selection routing.Selection) {
	b.t.Helper()
	want := routing.Want(b.cfg, &b.observed, b.now.Paths, []routing.Selection{selection})
	var lines []string
	for _, s := range routing.Plan(b.cfg, b.have, want) {
		if line, six := strings.CutPrefix(s.String(), "ip -6 "); six {
			lines = append(lines, line)
		}
	}
	b.ip6(b.router, lines...)
	b.have = want
}

// ip6 runs commands of ip(8) for IPv6, which need not show that by an address.
func (b *bed) ip6(ns *netns.NS, lines ...string) {
	b.t.Helper()
	err := ns.Do(func() error {
		cmd := exec.Command("ip", "-6", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		b.t.Fatalf("ip -6 -batch: %v\n%s", err, strings.Join(lines, "\n"))
	}
}

func (b *bed) sysctl6(ns *netns.NS, name, value string) {
	b.t.Helper()
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0o644) }); err != nil {
		b.t.Fatalf("set %s in %s: %v", name, ns.Name, err)
	}
}

// noLeaks6 fails if a provider has met a packet with an address that is not from its line.
func (b *bed) noLeaks6(t *testing.T) {
	t.Helper()
	for _, ns := range b.providers {
		out, err := ns.Output("nft", "list", "counter", "ip6", "filter", "foreign")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, "packets 0 ") {
			t.Errorf("%s was sent packets with a foreign address: %s", ns.Name, out)
		}
	}
}

// web6 is a port of an address over IPv6.
func web6(address string, port int) string { return net.JoinHostPort(address, fmt.Sprint(port)) }
