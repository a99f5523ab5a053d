package firewall_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

const policyRules6 = `
sets:
  - {name: mine, family: ipv6, prefixes: ["fd00:0:0:1::30", "fdff::/16"]}
  - {name: sites, family: ipv6, external: yes}
policies:
  - {name: port, destination_port: 443, uplinks: [three]}
  - {name: address, source: [192.168.1.20, "fd00:0:0:1::20"], uplinks: [wan1, wan2]}
  - {name: set, source: "@mine", destination: ["2001:db8:ffff::1"], protocol: tcp, uplinks: [one]}
  - {name: inside, inside: dmz0, uplinks: [{uplink: two, weight: 3}, one], balance: hash}
  - {name: mark, mark: 0x50000/0xf0000, uplinks: [{uplink: one, order: 2}, {uplink: three}]}
  - {name: dscp, dscp: ef, uplinks: [two]}
  - {name: sites, destination: "@sites", uplinks: [one]}
`

// Over IPv6, too, each policy leads what it matches, and nothing else, and what explain says of a packet
// is what becomes of it, with all lines and with dead ones, whichever way the lines translate.
func TestTrafficPolicies6(t *testing.T) {
	b := newPolicyBed6(t, policyRules6)
	for _, port := range []int{80, 443, 81, 82} {
		b.serve(b.internet, web6(internet6, port))
	}
	b.serve(b.internet, web6(otherHost6, 80))
	for _, rule := range []string{
		"-t raw -A PREROUTING -p tcp --dport 81 -j MARK --set-xmark 0x50000/0xff0000",
		"-t mangle -A PREROUTING -p tcp --dport 82 -j DSCP --set-dscp-class EF",
	} {
		if err := b.router.Run("/usr/sbin/ip6tables-nft", strings.Fields(rule)...); err != nil {
			t.Fatal(err)
		}
	}
	packet := func(source, destination, inside string, port uint16) config.Packet {
		return config.Packet{Source: netip.MustParseAddr(source), Destination: netip.MustParseAddr(destination), Inside: inside, DestinationPort: port}
	}
	marked, urgent := packet(client6, internet6, "lan0", 81), packet(client6, internet6, "lan0", 82)
	marked.Mark, urgent.DSCP = 0xab050000, 46
	for _, test := range []struct {
		name   string
		from   *netns.NS
		packet config.Packet
	}{
		{"port", b.client, packet(client6, internet6, "lan0", 443)},
		{"address", b.client, packet(otherLAN6, internet6, "lan0", 80)},
		{"set", b.client, packet(thirdLAN6, internet6, "lan0", 80)},
		{"inside", b.server, packet(serverDMZ6, internet6, "dmz0", 80)},
		{"mark", b.client, marked},
		{"dscp", b.client, urgent},
		{"", b.client, packet(client6, internet6, "lan0", 80)},
		{"sites", b.client, packet(client6, otherHost6, "lan0", 80)},
	} {
		t.Run("policy "+test.name, func(t *testing.T) {
			if test.name == "sites" {
				b.fill(t, "sites", otherHost6)
			}
			b.now.External = func(set string, a netip.Addr) bool { return set == "sites" && a == netip.MustParseAddr(otherHost6) }
			remote := netip.AddrPortFrom(test.packet.Destination, test.packet.DestinationPort).String()
			for _, well := range [][]int{{0, 1, 2}, {0, 1}, {1, 2}, {1}, {0, 1, 2}} {
				b.well(well...)
				if p := b.cfg.PolicyFor(tcp(test.packet), b.now.External); (p == nil) != (test.name == "") || p != nil && p.Name != test.name {
					t.Fatalf("the policy is %v", p)
				}
				want := b.explained(test.packet)
				var got []int
				for line := range b.used(t, 48, test.from, test.packet.Source.String(), remote) {
					got = append(got, line)
				}
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("lines with %v well (-explained +used)\n%s", well, diff)
				}
			}
		})
	}
	b.noLeaks(t)
}

// Policies and the whole deal exactly by weight, and a dead line's turns go to the others.
func TestTrafficShares6(t *testing.T) {
	b := newPolicyBed6(t, `
policies:
  - {name: shares, destination_port: 81, uplinks: [{uplink: one, weight: 2}, {uplink: two, weight: 1}, {uplink: three, order: 2}]}
`, "one, ip", "one, weight: 3, ip", "two, ip", "two, weight: 2, ip")
	b.serve(b.internet, web6(internet6, 80))
	b.serve(b.internet, web6(internet6, 81))
	var order []int
	for range 30 {
		order = append(order, b.line(t, b.client, "", web6(internet6, 80)))
	}
	b.exact(t, order)
	if diff := cmp.Diff(map[int]int{0: 20, 1: 10}, b.used(t, 30, b.client, "", web6(internet6, 81))); diff != "" {
		t.Errorf("connections of each line (-want +got)\n%s", diff)
	}
	b.well(1, 2)
	if diff := cmp.Diff(map[int]int{1: 12}, b.used(t, 12, b.client, "", web6(internet6, 81))); diff != "" {
		t.Errorf("connections of each line with one dead (-want +got)\n%s", diff)
	}
	if used := b.used(t, 30, b.client, "", web6(internet6, 80)); used[0] != 0 || used[1] < 10 || used[2] < 5 {
		t.Errorf("connections of each line with one dead: %v", used)
	}
	b.well(2)
	if diff := cmp.Diff(map[int]int{2: 12}, b.used(t, 12, b.client, "", web6(internet6, 81))); diff != "" {
		t.Errorf("connections of each line with the first order dead (-want +got)\n%s", diff)
	}
	b.noLeaks(t)
}

// A thousand connections of one source stay on a line until it dies; then they use one other, and stay.
func TestTrafficSticky6(t *testing.T) {
	const connections = 1000
	b := newPolicyBed6(t, "policies:\n  - {name: bank, destination_port: 80, uplinks: [\"group:1\"], sticky: source}\n"+
		"  - {name: pairs, destination_port: 81, uplinks: [one, two, three], sticky: source_destination}\n")
	b.serve(b.internet, web6(internet6, 80))
	b.serve(b.internet, web6(internet6, 81))
	b.serve(b.internet, web6(otherHost6, 81))
	one := func(count int, local, remote string) int {
		t.Helper()
		used := b.used(t, count, b.client, local, remote)
		if len(used) != 1 {
			t.Fatalf("%d connections from %s to %s used the lines %v", count, local, remote, used)
		}
		for line := range used {
			return line
		}
		return -1
	}
	first := one(connections, client6, web6(internet6, 80))
	b.well(slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == first })...)
	second := one(connections, client6, web6(internet6, 80))
	if second == first {
		t.Fatalf("still on the dead line %d", first)
	}
	b.well(0, 1, 2)
	if line := one(50, client6, web6(internet6, 80)); line != second {
		t.Errorf("went from line %d to %d when the dead line came back", second, line)
	}
	lines := map[int]bool{}
	for _, source := range []string{otherLAN6, thirdLAN6, fourthLAN6} {
		lines[one(5, source, web6(internet6, 80))] = true
	}
	if len(lines) != 3 {
		t.Errorf("three sources were dealt to the lines %v", lines)
	}
	if a, b := one(20, client6, web6(internet6, 81)), one(20, client6, web6(otherHost6, 81)); a == b {
		t.Errorf("two destinations in a row were both dealt to line %d", a)
	}
	b.noLeaks(t)
}

// With all its lines dead, a policy does what the file says.
func TestTrafficLastResort6(t *testing.T) {
	for _, test := range []struct {
		resort string
		want   []int // lines used; nil: refused
	}{{"default", []int{0, 1}}, {"block", nil}, {"bypass", []int{1}}} {
		t.Run(test.resort, func(t *testing.T) {
			b := newPolicyBed6(t, "policies:\n  - {name: p, destination_port: 80, uplinks: [three], last_resort: "+test.resort+"}\n")
			b.serve(b.internet, web6(internet6, 80))
			b.ip(b.router, "route add ::/0 via fe80::1 dev wan1")
			b.observed.Defaults = []routing.Route{{
				Family: config.IPv6, Table: 254, Type: routing.Unicast, Destination: netip.MustParsePrefix("::/0"),
				NextHops: []routing.NextHop{{Interface: "wan1", Gateway: netip.MustParseAddr(provider6LL), Weight: 1}},
			}}
			if line := b.line(t, b.client, "", web6(internet6, 80)); line != 2 {
				t.Fatalf("line %d while it is well", line)
			}
			b.well(0, 1)
			if test.want == nil {
				if c, err := dial(b.client, "", web6(internet6, 80)); err == nil {
					t.Fatalf("not refused, but seen as %s", c.seen)
				} else if !strings.Contains(err.Error(), "unreachable") && !strings.Contains(err.Error(), "no route to host") {
					t.Errorf("refused in silence: %v", err)
				}
			} else {
				var got []int
				for line := range b.used(t, 20, b.client, "", web6(internet6, 80)) {
					got = append(got, line)
				}
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("lines %v, want %v", got, test.want)
				}
			}
			b.well(0, 1, 2)
			if line := b.line(t, b.client, "", web6(internet6, 80)); line != 2 {
				t.Errorf("line %d when it came back", line)
			}
			b.noLeaks(t)
		})
	}
}

const forwardRules6 = `
forwards:
  - {name: web, port: 8080, to: "[fd00:0:0:2::10]:80"}
  - {name: range, protocol: [tcp, udp], port: [9000-9002], to: "fd00:0:0:2::10", uplinks: [one]}
  - {name: lan, port: 8081, to: "[fd00:0:0:1::10]:81"}
  - {name: outside, port: 8082, to: "[fd00:0:0:2::10]:80", hairpin: no}
`

// Forwards lead inside on their lines, answers leave by the line that was asked, and hosts inside use
// them too, those behind the same interface as the server included.
func TestTrafficForwards6(t *testing.T) {
	b := newPolicyBed6(t, forwardRules6)
	b.serve(b.server, ":80")
	b.serve(b.server, ":9001")
	b.serve(b.client, ":81")
	for i := range b.cfg.Uplinks {
		for _, port := range []int{8080, 8081, 8082} {
			for range 10 {
				c, err := dial(b.internet, "", web6(b.address(i).String(), port))
				if err != nil {
					t.Fatalf("line %d, port %d: %v", i, port, err)
				}
				if c.seen.Addr() != netip.MustParseAddr(internet6) {
					t.Errorf("the server sees %s", c.seen)
				}
				c.Close()
			}
		}
		c, err := dial(b.internet, "", web6(b.address(i).String(), 9001))
		if (err == nil) != (i == 0) {
			t.Errorf("port 9001 on line %d: %v", i, err)
		}
		if err == nil {
			c.Close()
		}
	}
	for i := range b.cfg.Uplinks {
		for port, seen := range map[int]string{8080: client6, 8081: routerLAN6} {
			c, err := dial(b.client, client6, web6(b.address(i).String(), port))
			if err != nil {
				t.Fatalf("from inside, line %d, port %d: %v", i, port, err)
			}
			if c.seen.Addr().String() != seen {
				t.Errorf("from inside, line %d, port %d: the server sees %s, want %s", i, port, c.seen, seen)
			}
			c.Close()
		}
	}
	for _, remote := range []string{web6(b.address(1).String(), 8082), web6(routerLAN6, 8080)} {
		if c, err := dial(b.client, "", remote); err == nil {
			t.Errorf("%s from inside leads to a server, which sees %s", remote, c.seen)
		}
	}
	b.noLeaks(t)
}

// Where addresses stay, a host is reached at its own, over the line of its prefix and no other, while the
// others of its network are translated.
func TestTrafficKeptAddresses6(t *testing.T) {
	b := newPolicyBed6(t, "", "nat: prefix", "nat: none")
	b.serve(b.internet, web6(internet6, 80))
	own := delegated6(2).Addr().Next().Next().String()
	b.ip(b.client, "addr add "+own+"/64 dev eth0 nodad")
	b.ip(b.router, "addr add "+netip.MustParseAddr(own).Prev().String()+"/64 dev lan0 nodad")
	b.serve(b.client, web6(own, 81))
	for range 12 {
		c, err := dial(b.client, own, web6(internet6, 80))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if c.seen.Addr().String() != own {
			t.Errorf("seen as %s, want %s", c.seen, own)
		}
	}
	for range 10 {
		c, err := dial(b.internet, "", web6(own, 81))
		if err != nil {
			t.Fatalf("from outside: %v", err)
		}
		c.Close()
	}
	if used := b.used(t, 9, b.client, client6, web6(internet6, 80)); fmt.Sprint(used) != "map[0:3 1:3 2:3]" {
		t.Errorf("other hosts used the lines %v", used)
	}
	b.noLeaks(t)
	b.well(2)
	t.Run("released connections", b.strays)
}
