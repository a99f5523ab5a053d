package firewall_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// wholeText is a file of 64 lines of all kinds that uses all that a firewall has to know.
func wholeText() string {
	var b strings.Builder
	b.WriteString("uplinks:\n")
	for i := range 64 {
		fmt.Fprintf(&b, "- {interface: wan%d, description: \"Line %d\", weight: %d, priority_group: %d", i, i+1, i%5+1, 1+i/48)
		switch i % 4 {
		case 0:
			fmt.Fprintf(&b, ", ip: 100.64.%d.2, gateway: 100.64.%d.1", i, i)
		case 1:
			b.WriteString(", type: dhcp")
		case 2:
			b.WriteString(", type: ppp, mss_clamp: yes")
		case 3:
			fmt.Fprintf(&b, ", ip: 100.64.%d.2, gateway: 100.64.%d.1, mss_clamp: yes", i, i)
		}
		switch i % 8 {
		case 0:
			b.WriteString(", ipv6: auto")
		case 1:
			fmt.Fprintf(&b, ", ipv6: {ip: \"2001:db8:%d::2\", gateway: \"fe80::1\"}", i)
		case 4:
			fmt.Fprintf(&b, ", ipv6: {nat: prefix, prefix: \"2001:db8:%d00::/48\"}", i)
		case 5:
			fmt.Fprintf(&b, ", ipv6: {nat: none, prefix: \"2001:db8:%d00::/56\"}", i)
		}
		b.WriteString("}\n")
	}
	b.WriteString(`downlinks: {lan: [lan0, lan1], dmz: dmz0}
tests: {ips: [192.0.2.1, "2001:db8::1"]}
sets:
- {name: mine, prefixes: [192.168.1.30, 10.0.0.0/8]}
- {name: mine6, family: ipv6, prefixes: ["fd00:0:0:1::30", "fdff::/16"]}
- {name: sites, external: yes}
policies:
- {name: bank, destination: "@sites", destination_port: 443, protocol: tcp, uplinks: [wan0, wan1, wan2, wan5], sticky: source, last_resort: block}
- {name: pairs, source: "@mine", uplinks: [wan0, wan4, {uplink: wan50, order: 2}], sticky: source_destination, sticky_timeout: 30m}
- {name: voice, dscp: ef, protocol: udp, destination_port: [5060, 16384-32767], uplinks: [{uplink: wan1, weight: 3}, wan2]}
- {name: six, source: "@mine6", uplinks: ["group:1", {group: 2, order: 2}], balance: hash, last_resort: bypass}
- {name: marked, mark: 0x50000/0xf0000, inside: [lan1, dmz0], uplinks: [wan63]}
forwards:
- {name: web, port: 8080, to: "192.0.2.10:80"}
- {name: range, protocol: [tcp, udp], port: [9000-9002], to: 192.0.2.10, uplinks: [wan0, wan3], hairpin: no}
- {name: web6, port: 8080, to: "[fd00:0:0:2::10]:80"}
`)
	return b.String()
}

func whole(t *testing.T, rest string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("whole.conf", []byte(wholeText()+rest))
	for _, p := range problems {
		t.Error(p.Render())
	}
	if cfg == nil {
		t.FailNow()
	}
	return cfg
}

// wholeTurns are those of the policies, too, in their first order.
func wholeTurns(cfg *config.Config) []firewall.Turn {
	all := turns(cfg)
	for _, p := range cfg.Policies {
		for _, w := range p.Ways {
			for _, f := range cfg.Uplinks[w.Uplink].Families() {
				if p.PerLine() && w.Tier == p.Ways[0].Tier {
					all = append(all, firewall.Turn{Family: f, Policy: p.Number, Uplink: w.Uplink, Weight: w.Weight})
				}
			}
		}
	}
	return all
}

// Everything at once, over 64 lines, is as the golden file has it, and the real nft takes it: as a check, as a
// table, and in place of that table.
func TestManagedWhole(t *testing.T) {
	cfg := whole(t, "firewall: managed\n")
	text := firewall.Managed(cfg, wholeTurns(cfg)).String()
	golden(t, filepath.Join("testdata", "managed-whole.nft"), text)
	ns := namespace(t, "whole")
	for _, args := range [][]string{{"-c", "-f", "-"}, {"-f", "-"}, {"-f", "-"}} {
		err := ns.Do(func() error {
			cmd := exec.Command("nft", args...)
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("nft %v: %v: %s", args, err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if there := listing(t, ns, firewall.ManagedTable); strings.Count(there, "\tchain leave") != 65 {
		t.Errorf("the kernel does not have the chains of 64 lines:\n%s", there)
	}
}

// The rules of generate_iptables for the same lines are taken by both variants of both programs, and those of
// generate_nftables by nft.
func TestGeneratedWhole(t *testing.T) {
	text, _, _ := strings.Cut(wholeText(), "sets:\n")
	cfg, problems := config.Parse("whole.conf", []byte(text)) // it says that nobody clamps
	if cfg == nil {
		t.Fatal(problems)
	}
	for _, variant := range variants {
		ns := namespace(t, "generated-"+variant)
		for program, rules := range map[string]string{"iptables": firewall.Iptables(cfg), "ip6tables": firewall.Iptables6(cfg)} {
			if !strings.Contains(rules, "wan60") {
				t.Errorf("%s: no rule for line 61", program)
			}
			for _, examples := range []string{rules, strings.ReplaceAll(rules, "\n#-A", "\n-A")} {
				if err := ns.Do(func() error { return restoreBy(program+"-"+variant, examples) }); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := loadNft(namespace(t, "generated"), firewall.Nftables(cfg)); err != nil {
		t.Error(err)
	}
}
