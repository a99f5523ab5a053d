package kernel_test

import (
	"fmt"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// policyFile has all that policies can say, and as many more.
func policyFile(more int) string {
	var b strings.Builder
	b.WriteString(`uplinks:
- {interface: w0, ip: 192.0.2.1, gateway: 192.0.2.254, priority_group: 1}
- {interface: w1, ip: 192.0.2.2, gateway: 192.0.2.254, priority_group: 1}
- {interface: w2, type: dhcp, priority_group: 2}
downlinks: {lan: [lan0, lan1], dmz: dmz0}
tests: {ips: 198.51.100.1}
firewall: managed
sets:
- {name: bank, prefixes: [203.0.113.0/24, 198.51.100.7]}
- {name: deal, external: yes}
- {name: six, family: ipv6, prefixes: ["2001:db8::/32", "2001:db9::1"]}
forwards:
- {protocol: [tcp, udp], port: [80, 443], to: 10.0.0.9}
- {port: 8000-8010, to: "2001:db8:1::9", uplinks: w1}
- {port: 22, to: "10.0.0.8:2222", uplinks: [w2, w0], hairpin: no}
- {port: 23, to: "[2001:db8:1::9]:2323", uplinks: w1}
policies:
- {name: all, source: ["@bank", 10.0.0.0/8, 10.1.0.0/16, "@six", "2001:db8:2::/48"], destination: ["@deal", 192.0.2.77, "2001:db8:3::1"], inside: [lan1, lan0],
   protocol: [udp, tcp, 132], source_port: 1024-65535, destination_port: [443, 80, 8000-8010], dscp: [ef, af41], mark: 0x10000/0x30000,
   uplinks: [w0, w1, {uplink: w2, order: 2}], sticky: source, last_resort: block}
- {name: pairs, dscp: 0, uplinks: "group:1", sticky: source_destination, sticky_timeout: 90}
- {name: ping, protocol: [icmp, icmpv6], uplinks: w2}
`)
	for i := range more {
		fmt.Fprintf(&b, "- {name: p%d, source: 10.%d.0.0/16, destination_port: %d, uplinks: [w0, w1]}\n", i, i, 1000+i)
	}
	return b.String()
}

func policyTable(t *testing.T, file string) firewall.Table {
	t.Helper()
	cfg, problems := config.Parse("test.conf", []byte(file))
	if cfg == nil {
		t.Fatal(problems)
	}
	var turns []firewall.Turn
	for policy := range len(cfg.Policies) + 1 {
		turns = append(turns, firewall.Turn{Family: config.IPv4, Policy: policy, Uplink: 0, Weight: 1}, firewall.Turn{Family: config.IPv4, Policy: policy, Uplink: 1, Weight: 2})
	}
	return firewall.Managed(cfg, turns)
}

// nft and the kernel take all that policies can say, and a table that is as wanted is left alone; what
// others and connections put into sets stays when policies come and go.
func TestFirewallPolicies(t *testing.T) {
	w := newRealWorld(t, "policies")
	set := func(want firewall.Table, quiet bool) {
		t.Helper()
		drift, err := w.SetFirewall(t.Context(), want)
		if err != nil || drift.None() != quiet {
			t.Fatalf("the drift was %q, %v", drift, err)
		}
	}
	before := policyTable(t, policyFile(0))
	set(before, false)
	set(before, true)
	var sticky string
	for _, o := range before.Objects {
		if o.Kind == firewall.Set && strings.HasPrefix(o.Name, "sticky-ip-") && strings.Contains(o.Header, "type ipv4_addr;") {
			sticky = o.Name
		}
	}
	for _, element := range []string{"deal { 198.51.100.77, 198.18.0.0/15 }", sticky + " { 10.0.0.5 timeout 30m }"} {
		if err := w.ns.Run("nft", "add element inet ftr "+element); err != nil {
			t.Fatal(err)
		}
	}
	set(before, true)
	after := policyTable(t, strings.Replace(policyFile(100), "policies:\n", "policies:\n- {name: first, uplinks: w1, source: 10.99.0.1}\n", 1))
	set(after, false)
	set(after, true)
	out, err := w.ns.Output("nft", "list", "table", "inet", "ftr")
	if err != nil {
		t.Fatal(err)
	}
	for _, element := range []string{"198.51.100.77", "198.18.0.0/15", "10.0.0.5 timeout 30m"} {
		if !strings.Contains(out, element) {
			t.Errorf("%s is gone", element)
		}
	}
	set(before, false)
	set(before, true)
}
