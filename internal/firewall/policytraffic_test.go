package firewall_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/netns"
)

const policyRules = `
sets:
  - {name: mine, prefixes: [192.168.1.30, 10.0.0.0/8]}
  - {name: sites, external: yes}
policies:
  - {name: port, destination_port: 443, uplinks: [three]}
  - {name: two ports, source_port: [5000-5003, 5010], uplinks: [two]}
  - {name: address, source: 192.168.1.20, uplinks: [wan1, wan2]}
  - {name: set, source: "@mine", destination: [198.51.100.0/24], protocol: tcp, uplinks: [one]}
  - {name: inside, inside: dmz0, uplinks: [{uplink: two, weight: 3}, one], balance: hash}
  - {name: mark, mark: 0x50000/0xf0000, uplinks: [{uplink: one, order: 2}, {uplink: three}]}
  - {name: dscp, dscp: ef, uplinks: [two]}
  - {name: sites, destination: "@sites", uplinks: [one]}
`

// Each policy leads what it matches, and nothing else, and what explain says of a packet is what becomes
// of it, with all lines and with dead ones.
func TestTrafficPolicies(t *testing.T) {
	b := newPolicyBed(t, policyRules)
	for _, port := range []int{80, 443, 81, 82} {
		b.serve(b.internet, fmt.Sprintf("%s:%d", internet, port))
	}
	b.ip(b.client, "addr add 192.168.1.20/24 dev eth0", "addr add 192.168.1.30/24 dev eth0")
	b.ip(b.internet, "addr add 198.51.100.2/32 dev lo")
	for _, ns := range b.providers {
		b.ip(ns, "route add 198.51.100.2 via "+b.internetSide(t, ns))
	}
	b.serve(b.internet, "198.51.100.2:80")
	for _, rule := range []string{
		"-t raw -A PREROUTING -p tcp --dport 81 -j MARK --set-xmark 0x50000/0xff0000",
		"-t mangle -A PREROUTING -p tcp --dport 82 -j DSCP --set-dscp-class EF",
	} {
		b.iptables("nft", rule)
	}
	packet := func(source, destination, inside string, port uint16) config.Packet {
		return config.Packet{Source: netip.MustParseAddr(source), Destination: netip.MustParseAddr(destination), Inside: inside, DestinationPort: port}
	}
	marked, urgent := packet("192.168.1.10", internet, "lan0", 81), packet("192.168.1.10", internet, "lan0", 82)
	marked.Mark, urgent.DSCP = 0xab050000, 46
	for _, test := range []struct {
		name   string
		from   *netns.NS
		packet config.Packet
	}{
		{"port", b.client, packet("192.168.1.10", internet, "lan0", 443)},
		{"address", b.client, packet("192.168.1.20", internet, "lan0", 80)},
		{"set", b.client, packet("192.168.1.30", internet, "lan0", 80)},
		{"inside", b.server, packet("192.0.2.10", internet, "dmz0", 80)},
		{"mark", b.client, marked},
		{"dscp", b.client, urgent},
		{"", b.client, packet("192.168.1.10", internet, "lan0", 80)},
		{"sites", b.client, packet("192.168.1.10", "198.51.100.2", "lan0", 80)},
	} {
		t.Run("policy "+test.name, func(t *testing.T) {
			if test.name == "sites" {
				b.fill(t, "sites", "198.51.100.2")
			}
			b.now.External = func(set string, a netip.Addr) bool { return set == "sites" && a == netip.MustParseAddr("198.51.100.2") }
			remote := netip.AddrPortFrom(test.packet.Destination, test.packet.DestinationPort).String()
			for _, well := range [][]int{{0, 1, 2}, {0, 1}, {0, 2}, {1, 2}, {1}, {0, 1, 2}} {
				b.well(well...)
				if p := b.cfg.PolicyFor(tcp(test.packet), b.now.External); (p == nil) != (test.name == "") || p != nil && p.Name != test.name {
					t.Fatalf("the policy is %v", p)
				}
				want := b.explained(test.packet)
				var got []int
				for line := range b.used(t, 24, test.from, test.packet.Source.String(), remote) {
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
	t.Run("source port", func(t *testing.T) {
		for port, want := range map[int][]int{5003: {1}, 5010: {1}} {
			c, err := dialFrom(b.client, fmt.Sprintf("192.168.1.10:%d", port), internet+":80")
			if err != nil {
				t.Fatal(err)
			}
			if line := b.lineOf(c.seen.Addr()); !slices.Contains(want, line) {
				t.Errorf("port %d used line %d", port, line)
			}
			c.Close()
		}
	})
	b.noLeaks(t)
}

func tcp(p config.Packet) config.Packet {
	p.Protocol = 6
	return p
}

// fill adds an address to a set, as a resolver does.
func (b *policyBed) fill(t *testing.T, set, address string) {
	t.Helper()
	if err := loadNft(b.router, "add element inet "+firewall.ManagedTable+" "+set+" { "+address+" }\n"); err != nil {
		t.Fatal(err)
	}
}

// A policy deals exactly by its own weights.
func TestTrafficPolicyShares(t *testing.T) {
	b := newPolicyBed(t, `
policies:
  - {name: shares, destination_port: 80, uplinks: [{uplink: one, weight: 2}, {uplink: two}, {uplink: three, order: 2}]}
`)
	b.serve(b.internet, internet+":80")
	if diff := cmp.Diff(map[int]int{0: 20, 1: 10}, b.used(t, 30, b.client, "", internet+":80")); diff != "" {
		t.Errorf("connections of each line (-want +got)\n%s", diff)
	}
	b.well(1, 2)
	if diff := cmp.Diff(map[int]int{1: 12}, b.used(t, 12, b.client, "", internet+":80")); diff != "" {
		t.Errorf("connections of each line with one dead (-want +got)\n%s", diff)
	}
	b.well(2)
	if diff := cmp.Diff(map[int]int{2: 12}, b.used(t, 12, b.client, "", internet+":80")); diff != "" {
		t.Errorf("connections of each line with the first order dead (-want +got)\n%s", diff)
	}
	b.noLeaks(t)
}

// Connections of one source stay on a line until it dies; then they use one other, and stay there. New
// rules and a new file with other policies before it change nothing of that.
func TestTrafficSticky(t *testing.T) {
	const connections = 1000
	const policy = `  - {name: bank, destination_port: 80, uplinks: ["group:1"], sticky: source, balance: %s}
`
	for _, balance := range []string{"round_robin", "hash"} {
		t.Run(balance, func(t *testing.T) {
			b := newPolicyBed(t, "policies:\n"+fmt.Sprintf(policy, balance))
			b.serve(b.internet, internet+":80")
			b.ip(b.client, "addr add 192.168.1.20/24 dev eth0", "addr add 192.168.1.30/24 dev eth0", "addr add 192.168.1.40/24 dev eth0")
			one := func(count int) int {
				t.Helper()
				used := b.used(t, count, b.client, "192.168.1.10", internet+":80")
				if len(used) != 1 {
					t.Fatalf("%d connections of one source used the lines %v", count, used)
				}
				for line := range used {
					return line
				}
				return -1
			}
			first := one(connections)
			others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == first })
			b.well(others...)
			second := one(connections)
			if second == first {
				t.Fatalf("still on the dead line %d", first)
			}
			b.well(0, 1, 2)
			if line := one(50); line != second {
				t.Errorf("went from line %d to %d when the dead line came back", second, line)
			}
			if balance == "round_robin" {
				lines := map[int]bool{}
				for _, source := range []string{"192.168.1.20", "192.168.1.30", "192.168.1.40"} {
					lines[b.line(t, b.client, source, internet+":80")] = true
				}
				if len(lines) != 3 {
					t.Errorf("three sources were dealt to the lines %v", lines)
				}
			}
			next := parsed(t, "policies:\n  - {name: new, destination_port: 81, uplinks: [one]}\n"+fmt.Sprintf(policy, balance))
			before := b.cfg
			b.cfg, b.now.Config, b.now.Previous = next, next, nil
			b.reload(before)
			b.well(0, 1, 2)
			if line := one(50); line != second {
				t.Errorf("went from line %d to %d with a new file", second, line)
			}
			b.noLeaks(t)
		})
	}
}

// When a better order carries again, its lines share those who were elsewhere, and each of them stays on one.
func TestTrafficStickyOrders(t *testing.T) {
	b := newPolicyBed(t, "policies:\n  - {name: bank, destination_port: 80, uplinks: [one, two, {uplink: three, order: 2}], sticky: source}\n")
	b.serve(b.internet, internet+":80")
	b.well(2)
	var sources []string
	for i := range 24 {
		sources = append(sources, fmt.Sprintf("192.168.1.%d", 20+i))
		b.ip(b.client, "addr add "+sources[i]+"/24 dev eth0")
		if line := b.line(t, b.client, sources[i], internet+":80"); line != 2 {
			t.Fatalf("line %d is used, and the others are dead", line)
		}
	}
	b.well(0, 1, 2)
	shares := map[int]int{}
	for _, source := range sources {
		used := b.used(t, 3, b.client, source, internet+":80")
		if len(used) != 1 {
			t.Errorf("%s used the lines %v", source, used)
		}
		for line := range used {
			shares[line]++
		}
	}
	if shares[0] < 2 || shares[1] < 2 || shares[2] != 0 { // by chance once in 300,000 times
		t.Errorf("24 sources were shared as %v", shares)
	}
	b.noLeaks(t)
}

// reload gives the router the steers' rules of a new configuration.
func (b *policyBed) reload(before *config.Config) {
	b.t.Helper()
	var lines []string
	for _, s := range before.Steers {
		lines = append(lines, fmt.Sprintf("rule del priority %d fwmark %#x/%#x lookup %d protocol 117", before.Numbers.SteerPriority, s.Mark, before.Numbers.SteerMask, s.Table))
	}
	for _, s := range b.cfg.Steers {
		lines = append(lines, fmt.Sprintf("rule add priority %d fwmark %#x/%#x lookup %d protocol 117", b.cfg.Numbers.SteerPriority, s.Mark, b.cfg.Numbers.SteerMask, s.Table))
	}
	b.ip(b.router, lines...)
}

// Connections between a source and a destination stick apart from those to another destination.
func TestTrafficStickyDestination(t *testing.T) {
	b := newPolicyBed(t, "policies:\n  - {name: pairs, uplinks: [one, two, three], sticky: source_destination}\n")
	lines := map[int]bool{}
	for i := 1; i <= 3; i++ {
		remote := fmt.Sprintf("198.51.100.%d", i)
		if i > 1 {
			b.ip(b.internet, "addr add "+remote+"/32 dev lo")
			for _, ns := range b.providers {
				b.ip(ns, "route add "+remote+" via "+b.internetSide(t, ns))
			}
		}
		b.serve(b.internet, remote+":80")
		used := b.used(t, 20, b.client, "", remote+":80")
		if len(used) != 1 {
			t.Errorf("connections to %s used the lines %v", remote, used)
		}
		for line := range used {
			lines[line] = true
		}
	}
	if len(lines) != 3 {
		t.Errorf("three destinations used the lines %v", lines)
	}
}

// internetSide is the address of the internet host as a provider reaches it.
func (b *policyBed) internetSide(t *testing.T, provider *netns.NS) string {
	t.Helper()
	out, err := provider.Output("ip", "-4", "route", "show", internet)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out)[2]
}

// With all its lines dead, a policy does what the file says.
func TestTrafficLastResort(t *testing.T) {
	for _, test := range []struct {
		resort string
		want   []int // lines used; nil: refused
	}{{"default", []int{0, 1}}, {"block", nil}, {"bypass", []int{1}}} {
		t.Run(test.resort, func(t *testing.T) {
			b := newPolicyBed(t, "policies:\n  - {name: p, destination_port: 80, uplinks: [three], last_resort: "+test.resort+"}\n")
			b.serve(b.internet, internet+":80")
			b.ip(b.router, "route add default via 100.64.1.1 dev wan1")
			out, err := b.router.Output("ip", "-j", "route", "show", "default")
			if err != nil || !strings.Contains(out, "wan1") {
				t.Fatalf("%s: %v", out, err)
			}
			b.observed.Defaults = mainDefault()
			if line := b.line(t, b.client, "", internet+":80"); line != 2 {
				t.Fatalf("line %d while it is well", line)
			}
			b.well(0, 1)
			if test.want == nil {
				if c, err := dial(b.client, "", internet+":80"); err == nil {
					t.Fatalf("not refused, but seen as %s", c.seen)
				} else if !strings.Contains(err.Error(), "unreachable") && !strings.Contains(err.Error(), "no route to host") {
					t.Errorf("refused in silence: %v", err)
				}
			} else {
				var got []int
				for line := range b.used(t, 20, b.client, "", internet+":80") {
					got = append(got, line)
				}
				slices.Sort(got)
				if !slices.Equal(got, test.want) {
					t.Errorf("lines %v, want %v", got, test.want)
				}
			}
			b.well(0, 1, 2)
			if line := b.line(t, b.client, "", internet+":80"); line != 2 {
				t.Errorf("line %d when it came back", line)
			}
			b.noLeaks(t)
		})
	}
}

const forwardRules = `
forwards:
  - {name: web, port: 8080, to: "192.0.2.10:80"}
  - {name: range, protocol: [tcp, udp], port: [9000-9002], to: 192.0.2.10, uplinks: [one]}
  - {name: lan, port: 8081, to: "192.168.1.10:81"}
  - {name: outside, port: 8082, to: "192.0.2.10:80", hairpin: no}
`

// Forwards lead inside on their lines, answers leave by the line that was asked, and hosts inside use
// them too, those behind the same interface as the server included.
func TestTrafficForwards(t *testing.T) {
	b := newPolicyBed(t, forwardRules)
	b.serve(b.server, ":80")
	b.serve(b.server, ":9001")
	b.serve(b.client, ":81")
	for i := range b.cfg.Uplinks {
		for _, port := range []string{"8080", "8081", "8082"} {
			for range 10 {
				c, err := dial(b.internet, "", b.address(i).String()+":"+port)
				if err != nil {
					t.Fatalf("line %d, port %s: %v", i, port, err)
				}
				if c.seen.Addr() != netip.MustParseAddr(internet) {
					t.Errorf("the server sees %s", c.seen)
				}
				c.Close()
			}
		}
		c, err := dial(b.internet, "", b.address(i).String()+":9001")
		if (err == nil) != (i == 0) {
			t.Errorf("port 9001 on line %d: %v", i, err)
		}
		if err == nil {
			c.Close()
		}
	}
	for port, seen := range map[string]string{"8080": "192.168.1.10", "8081": "192.168.1.1"} {
		c, err := dial(b.client, "", b.address(1).String()+":"+port)
		if err != nil {
			t.Fatalf("from inside, port %s: %v", port, err)
		}
		if c.seen.Addr().String() != seen {
			t.Errorf("from inside, port %s: the server sees %s, want %s", port, c.seen, seen)
		}
		c.Close()
	}
	for _, remote := range []string{b.address(1).String() + ":8082", routerLAN + ":8080"} {
		if c, err := dial(b.client, "", remote); err == nil {
			t.Errorf("%s from inside leads to a server, which sees %s", remote, c.seen)
		}
	}
	b.noLeaks(t)
}

// dnsmasq fills a set with what names resolve to, and a policy leads it.
func TestTrafficDomains(t *testing.T) {
	b := newPolicyBed(t, "sets: [{name: sites, external: yes}]\npolicies: [{name: p, destination: \"@sites\", uplinks: [two]}]\n")
	b.serve(b.internet, internet+":80")
	b.dnsmasq(b.internet, "--listen-address="+internet, "--address=/bank.example/"+internet)
	b.dnsmasq(b.router, "--listen-address="+routerLAN, "--server="+internet+"#5353", "--nftset=/bank.example/4#inet#"+firewall.ManagedTable+"#sites")
	if used := b.used(t, 9, b.client, "", internet+":80"); len(used) != 3 {
		t.Fatalf("before the name was asked for, the lines %v were used", used)
	}
	b.resolve(t, routerLAN+":5353", "www.bank.example")
	if used := b.used(t, 9, b.client, "", internet+":80"); used[1] != 9 {
		t.Errorf("the lines %v were used", used)
	}
	b.well(0, 2)
	b.well(0, 1, 2)
	if used := b.used(t, 9, b.client, "", internet+":80"); used[1] != 9 {
		t.Errorf("after updates, the lines %v were used", used)
	}
}
