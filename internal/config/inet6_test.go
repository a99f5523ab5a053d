package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file6 is a file with the IPv6 of one line, and targets of both families.
const file6 = `uplinks:
  - {interface: eth1, type: static, priority_group: 1, ipv6: %s}
  - {interface: eth2, type: static, priority_group: 1, ipv6: auto}
downlinks: {lan: eth0}
tests: {ips: [1.1.1.1, 8.8.8.8, "2606:4700:4700::1111", "2001:4860:4860::8888"], required_successful: 2}
`

func TestInet6(t *testing.T) {
	for text, want := range map[string]Inet6{
		"":                     {},
		"no":                   {},
		"false":                {},
		"auto":                 {On: true},
		"yes":                  {On: true},
		"{}":                   {On: true},
		"{gateway: 'fe80::1'}": {On: true, Gateway: ip("fe80::1")},
		"{ip: '2001:db8::2', gateway: '2001:db8::1', nat: none, prefix: '2001:db8:1::/48'}": {
			On: true, Address: ip("2001:db8::2"), Gateway: ip("2001:db8::1"), NAT: KeepAddress, Prefix: netip.MustParsePrefix("2001:db8:1::/48"),
		},
		"{nat: prefix, prefix_file: /run/pd/eth1}": {On: true, NAT: TranslatePrefix, PrefixFile: "/run/pd/eth1"},
		"{nat: masquerade}":                        {On: true},
	} {
		c := mustParse(t, "inet6", []byte(strings.Replace(file6, "%s", text, 1)))
		if diff := cmp.Diff(want, c.Uplinks[0].Inet6, exact()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", text, diff)
		}
		families := []Family{IPv4}
		if want.On {
			families = append(families, IPv6)
		}
		if diff := cmp.Diff(families, c.Uplinks[0].Families()); diff != "" {
			t.Errorf("%s: families (-want +got)\n%s", text, diff)
		}
	}
}

// TestTestsFor: each family is judged by its own targets, and never by more than there are.
func TestTestsFor(t *testing.T) {
	c, problems := Parse("for", []byte(`uplinks: [{interface: eth1, ipv6: auto}]
downlinks: {lan: eth0}
tests:
  ips: [1.1.1.1, 8.8.8.8, 9.9.9.9, "2606:4700:4700::1111"]
  targets: [gateway, "tcp://[2001:4860:4860::8888]:443"]
  required_successful: 4
`))
	if len(problems) != 1 || problems[0].Severity != Warning || problems[0].Path != "tests.required_successful" {
		t.Fatalf("problems %v", problems) // that the quorum is smaller over IPv6
	}
	tests := c.Uplinks[0].Tests
	for family, want := range map[Family]Tests{
		IPv4: {Required: 4, Targets: []Target{Echo(ip("1.1.1.1")), Echo(ip("8.8.8.8")), Echo(ip("9.9.9.9")), {Method: Gateway}}},
		IPv6: {Required: 3, Targets: []Target{Echo(ip("2606:4700:4700::1111")), {Method: Gateway}, {Method: TCP, Address: ip("2001:4860:4860::8888"), Port: 443}}},
	} {
		got := tests.For(family)
		if diff := cmp.Diff(want, Tests{Required: got.Required, Targets: got.Targets}, exact()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", family, diff)
		}
		if got.Interval != tests.Interval {
			t.Errorf("%s: interval %v", family, got.Interval)
		}
	}
}

func TestFirstPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"2001:db8:1200::/48\n":                              "2001:db8:1200::/48",
		"# written by dhcp\n\nprefix=2001:db8:12:3400::/56": "2001:db8:12:3400::/56",
		"2001:db8::1/64":                                    "2001:db8::/64", // an address of it
		"2001:db8::1/128 fd00:1::/48 ::/0":                  "fd00:1::/48",   // longer than a network
		"new_ip6_prefix='2001:db8:ff00::/40'":               "2001:db8:ff00::/40",
		"":                                                  "",
		"# 2001:db8::/48":                                   "",
		"192.0.2.0/24 fe80::/64 ff00::/16 ::/0":             "",
	} {
		got, ok := FirstPrefix(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: %v, %t, want %s", text, got, ok, want)
		}
	}
}

func TestTargets6(t *testing.T) {
	for text, want := range map[string]Target{
		"'2606:4700::1111'":                     Echo(ip("2606:4700::1111")),
		"'icmp://[2606:4700::1111]'":            Echo(ip("2606:4700::1111")),
		"'tcp://[2606:4700::1111]:443'":         {Method: TCP, Address: ip("2606:4700::1111"), Port: 443},
		"'dns://[2606:4700::1111]/example.com'": {Method: DNS, Address: ip("2606:4700::1111"), Port: 53, Name: "example.com"},
		"'https://[2606:4700::1111]/a'":         {Method: HTTPS, Address: ip("2606:4700::1111"), Port: 443, Path: "/a"},
	} {
		c := mustParse(t, "targets6", []byte(strings.Replace(`uplinks: [{interface: eth1, ipv6: auto}]
downlinks: {lan: eth0}
tests: {ips: 1.1.1.1, targets: [%s]}
`, "%s", text, 1)))
		if got := c.Tests.Targets[1]; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		held := targetList{&field[[]field[Target]]{value: []field[Target]{{value: want, state: good}}}}.held()
		if got, f := parseTarget(want.String()); got != want || !f.none() {
			t.Errorf("%s: written as %s, read as %+v, %v", text, held, got, f)
		}
	}
}
