package config

import (
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// policies is a file with everything that policies know.
const policies = `uplinks:
  - {interface: eth1, description: Fibre, priority_group: 1, weight: 3}
  - {interface: eth2, description: DSL, priority_group: 1}
  - {interface: eth3, description: LTE, priority_group: 2}
downlinks: {lan: eth0}
tests: {ips: [1.1.1.1]}
firewall: managed
sets:
  - {name: bank, prefixes: [203.0.113.0/24, 203.0.113.7, 198.51.100.1], file: /etc/ftr/bank}
  - {name: names, external: yes}
  - {name: six, family: ipv6, prefixes: "2001:db8::/32"}
policies:
  - name: bank
    source: [192.168.1.0/25, "@six"]
    destination: ["@bank", "2001:db8:1::/48"]
    inside: eth0
    protocol: [udp, tcp]
    destination_port: [443, 8000-8010, 8005-8020]
    dscp: [ef, 0]
    mark: 0x10000/0x30000
    uplinks: [LTE, {uplink: eth1, order: 2, weight: 7}]
    last_resort: block
    sticky: source_destination
    sticky_timeout: 10m
  - {name: names, destination: "@names", uplinks: ["group:1"], balance: hash}
  - {name: mail, destination_port: 25, uplinks: {group: 1, order: 3}}
forwards:
  - {protocol: [udp, tcp], port: [443, 80], to: 192.168.1.10}
  - {name: ssh, port: 2222, to: 192.168.1.11:22, uplinks: [DSL], hairpin: no}
`

func TestPolicies(t *testing.T) {
	c := mustParse(t, "policies.conf", []byte(policies))
	prefix := netip.MustParsePrefix
	sets := []Set{
		{Name: "bank", Family: IPv4, Prefixes: []netip.Prefix{prefix("198.51.100.1/32"), prefix("203.0.113.0/24")}, File: "/etc/ftr/bank"},
		{Name: "names", Family: IPv4, External: true},
		{Name: "six", Family: IPv6, Prefixes: []netip.Prefix{prefix("2001:db8::/32")}},
	}
	want := []Policy{
		{
			Number: 1, Name: "bank", LastResort: LastResortBlock, Sticky: StickySourceDestination, StickyTimeout: 10 * time.Minute, Balance: BalanceRoundRobin,
			Ways: []Way{{Uplink: 2, Tier: 1, Weight: 1}, {Uplink: 0, Tier: 2, Weight: 7}},
			Match: Match{
				Sources:      []Endpoint{{Prefix: prefix("192.168.1.0/25")}, {Set: "six"}},
				Destinations: []Endpoint{{Set: "bank"}, {Prefix: prefix("2001:db8:1::/48")}},
				Inside:       []string{"eth0"}, Protocols: []uint8{6, 17}, DSCP: []uint8{0, 46},
				DestinationPorts: []Ports{{443, 443}, {8000, 8020}}, Mark: 0x10000, MarkMask: 0x30000,
			},
		},
		{
			Number: 2, Name: "names", StickyTimeout: time.Hour, Balance: BalanceHash,
			Ways:  []Way{{Uplink: 0, Tier: 1, Weight: 3}, {Uplink: 1, Tier: 1, Weight: 1}},
			Match: Match{Destinations: []Endpoint{{Set: "names"}}},
		},
		{
			Number: 3, Name: "mail", StickyTimeout: time.Hour, Balance: BalanceRoundRobin,
			Ways:  []Way{{Uplink: 0, Tier: 3, Weight: 3}, {Uplink: 1, Tier: 3, Weight: 1}},
			Match: Match{Protocols: PortProtocols, DestinationPorts: []Ports{{25, 25}}},
		},
	}
	forwards := []Forward{
		{Name: "tcp,udp 80,443", Protocols: []uint8{6, 17}, Ports: []Ports{{80, 80}, {443, 443}}, To: ip("192.168.1.10"), Uplinks: []int{0, 1, 2}, Hairpin: true},
		{Name: "ssh", Protocols: []uint8{6}, Ports: []Ports{{2222, 2222}}, To: ip("192.168.1.11"), ToPort: 22, Uplinks: []int{1}},
	}
	options := cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})}
	if diff := cmp.Diff(sets, c.Sets, options) + cmp.Diff(want, c.Policies, options) + cmp.Diff(forwards, c.Forwards, options); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Policy 0 deals to three lines; bank has two lines and keeps them, names has no line of its own.
	var steers [][2]int
	for i, s := range c.Steers {
		steers = append(steers, [2]int{s.Policy, s.Uplink})
		lined := s.Policy == 0 && s.Table == FirstSteerTable+uint32(i)
		named := s.Policy > 0 && s.Table >= FirstSteerTable+MaxUplinks && s.Table < FirstSteerTable+mostSteers
		if !lined && !named || s.Mark == 0 || s.Mark&^c.Numbers.SteerMask != 0 {
			t.Errorf("steer %d: %+v", i, s)
		}
	}
	if diff := cmp.Diff([][2]int{{0, 0}, {0, 1}, {0, 2}, {1, -1}, {1, 2}, {1, 0}, {2, -1}, {3, -1}, {3, 0}, {3, 1}}, steers); diff != "" {
		t.Errorf("steers (-want +got)\n%s", diff)
	}
	if err := compileSchema(t).Validate(asEditor(t, []byte(policies))); err != nil {
		t.Error(err)
	}
}

func TestPolicyFor(t *testing.T) {
	c := mustParse(t, "policies.conf", []byte(policies))
	good := Packet{Source: ip("192.168.1.5"), Destination: ip("203.0.113.9"), Inside: "eth0", Protocol: 6, SourcePort: 40000, DestinationPort: 8015, DSCP: 46, Mark: 0xff010000}
	with := func(change func(*Packet)) Packet {
		p := good
		change(&p)
		return p
	}
	names := func(set string, a netip.Addr) bool { return set == "names" && a == ip("192.0.2.77") }
	for _, test := range []struct {
		name   string
		packet Packet
		want   string
	}{
		{"all", good, "bank"},
		{"IPv6", with(func(p *Packet) { p.Source, p.Destination = ip("2001:db8::1"), ip("2001:db8:1::1") }), "bank"},
		{"source", with(func(p *Packet) { p.Source = ip("192.168.1.200") }), ""},
		{"destination", with(func(p *Packet) { p.Destination = ip("203.0.114.9") }), ""},
		{"inside", with(func(p *Packet) { p.Inside = "eth7" }), ""},
		{"protocol", with(func(p *Packet) { p.Protocol = 132 }), ""},
		{"port", with(func(p *Packet) { p.DestinationPort = 8021 }), ""},
		{"code point", with(func(p *Packet) { p.DSCP = 1 }), ""},
		{"mark", with(func(p *Packet) { p.Mark = 0x20000 }), ""},
		{"external", with(func(p *Packet) { p.Destination, p.DestinationPort = ip("192.0.2.77"), 25 }), "names"},
		{"order", with(func(p *Packet) { p.Destination, p.DestinationPort = ip("192.0.2.78"), 25 }), "mail"},
		{"no ports", Packet{Source: ip("192.168.1.5"), Destination: ip("192.0.2.78"), Protocol: 1}, ""},
	} {
		got := ""
		if p := c.PolicyFor(test.packet, names); p != nil {
			got = p.Name
		}
		if got != test.want {
			t.Errorf("%s: policy %q, want %q", test.name, got, test.want)
		}
	}
}

func TestSetFiles(t *testing.T) {
	c := mustParse(t, "policies.conf", []byte(policies))
	full, problems := c.WithSets(func(path string) ([]byte, error) {
		return []byte("\ufeff# the bank\n192.0.2.0/24\n\n 192.0.2.5 # inside\n203.0.113.0/24\n"), nil
	})
	s, _ := full.Set("bank")
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("203.0.113.0/24")}
	if !slices.Equal(s.Prefixes, want) || len(problems) != 0 {
		t.Errorf("%v, problems %v", s.Prefixes, problems)
	}
	if before, _ := c.Set("bank"); len(before.Prefixes) != 2 {
		t.Errorf("the configuration was changed: %v", before)
	}
	_, problems = c.WithSets(func(string) ([]byte, error) { return []byte("192.0.2.1/24\n2001:db8::1\nbank\n"), nil })
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	if diff := cmp.Diff([]string{
		"/etc/ftr/bank:1:1: 192.0.2.1/24 has bits after its length; did you mean 192.0.2.0/24?",
		"/etc/ftr/bank:2:1: 2001:db8::1 is no IPv4 address, as the family of set bank says",
		"/etc/ftr/bank:3:1: bank is neither an address nor a prefix",
	}, lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, problems = c.WithSets(func(string) ([]byte, error) { return nil, os.ErrNotExist })
	if len(problems) != 1 || problems[0].String() != "policies.conf:9:79: sets[0].file: /etc/ftr/bank cannot be read: file does not exist" {
		t.Errorf("%v", problems)
	}
}

// What can never hold is told with its place, and the rest is as it was.
func TestUnreachable(t *testing.T) {
	const text = `uplinks:
- {interface: eth1, type: dhcp, description: A, priority_group: 1}
- {interface: eth2, type: dhcp, priority_group: 1, ipv6: auto}
downlinks: {lan: eth0}
firewall: managed
tests: {ips: [198.18.0.1, "2001:db8::1"]}
policies:
- {name: own, router: yes, uplinks: A}
- {name: some, destination: 192.0.2.0/24, uplinks: A}
- {name: all, uplinks: A}
- {name: late, destination: 198.51.100.0/24, uplinks: A}
- {name: later, destination: 198.51.101.0/24, uplinks: A}
- {name: late own, user: root, uplinks: A}
forwards:
- {name: six, port: 80, to: "fd00::10", uplinks: A}
- {name: both, port: 81, to: "fd00::10"}
`
	cfg, problems := Parse("p.conf", []byte(text))
	var told []string
	for _, p := range problems {
		told = append(told, p.Severity.String()+" "+p.String())
	}
	if diff := cmp.Diff([]string{
		"warning p.conf:11:3: policies[3]: never holds, like all others for what is forwarded after policies[2] (line 10), which matches everything",
		"warning p.conf:13:3: policies[5]: never holds, like all others for what the router sends after policies[0] (line 8), which matches everything",
		"warning p.conf:15:29: forwards[0].to: fd00::10 is an IPv6 address, and no uplink of this forward has IPv6: nothing comes in for it",
	}, told); diff != "" || cfg == nil || len(cfg.Policies) != 6 {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
