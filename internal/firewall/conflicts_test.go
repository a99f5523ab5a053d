package firewall_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/firewall"
)

// What others have beside a managed firewall, as the real nft lists it, and what is told of it.
func TestConflicts(t *testing.T) {
	cfg := managed(bedConfig())
	for _, test := range []struct {
		name, rules string
		iptables    string // given to iptables-restore
		want        []string
	}{
		{"nothing", "", "", nil},
		{"our own tables", firewall.Managed(cfg, turns(cfg)).String() + firewall.Evidence(nil, nil), "", nil},
		{"Docker", `table ip nat {
			chain DOCKER { tcp dport 8080 dnat to 172.17.0.2:80; }
			chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump DOCKER; }
			chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 oifname != "docker0" masquerade; }
		}`, "", nil},
		{"Tailscale", `table ip filter { chain ts-forward { iifname "tailscale0" meta mark set meta mark & 0xff00ffff | 0x00040000; meta mark & 0x00ff0000 == 0x00040000 accept; }; }`, "", nil},
		{"Kubernetes", `table ip nat {
			chain KUBE-MARK-MASQ { meta mark set meta mark | 0x00004000; }
			chain KUBE-POSTROUTING { meta mark & 0x00004000 != 0x00004000 return; meta mark set meta mark ^ 0x00004000; masquerade fully-random; }
		}`, "", nil},
		{"wg-quick", `table ip wg-quick-wg0 {
			chain postmangle { type filter hook postrouting priority -150; meta l4proto udp meta mark 0x0000ca6c ct mark set meta mark; }
			chain premangle { type filter hook prerouting priority -150; meta l4proto udp meta mark set ct mark; }
		}`, "", []string{
			"chain ip wg-quick-wg0 postmangle: writes mark bits 0xff003fff that are ours",
			"chain ip wg-quick-wg0 postmangle: matches mark bits 0xff003fff that are ours",
		}},
		{"the rules of generate_iptables", "", firewall.Iptables(cfg), []string{
			"chain ip mangle PREROUTING: writes mark bits 0xff003fff that are ours",
			"chain ip mangle PREROUTING: matches mark bits 0xff that are ours",
		}},
		{"early nat", `table inet x {
			chain first { type nat hook prerouting priority -150; tcp dport 80 dnat ip to 10.0.0.9; tcp dport 81 redirect to :82; }
			chain empty { type nat hook prerouting priority -199; counter; }
			chain late { type nat hook prerouting priority -105; tcp dport 80 dnat ip to 10.0.0.9; }
		}`, "", []string{
			"chain inet x first: translates in prerouting at priority -150, before -105: such connections get no mark of a line",
		}},
		{"early source nat", `table inet x { chain out { type nat hook postrouting priority 90; oifname "wan0" masquerade; }; }`, "", []string{
			"chain inet x out: translates in postrouting at priority 90, before 95: such connections get no mark of a line",
		}},
		{"bits", `table inet x {
			chain a { ct mark set ct mark | 0x00000100; }
			chain b { ct mark set ct mark | 0x00010000; }
			chain c { meta mark & 0x0000000f == 0x00000001 accept; meta mark & 0x00f00000 == 0x00100000 meta mark set 0x00000001; }
		}`, "", []string{
			"chain inet x a: writes mark bits 0x100 that are ours",
			"chain inet x c: matches mark bits 0xf that are ours",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := namespace(t, "conflicts")
			if err := loadNft(ns, test.rules); err != nil {
				t.Fatal(err)
			}
			if test.iptables != "" {
				if err := ns.Do(func() error { return restore("nft", test.iptables) }); err != nil {
					t.Fatal(err)
				}
			}
			listing, err := ns.Output("nft", "-s", "-n", "-t", "list", "ruleset")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range firewall.Conflicts(cfg, listing) {
				text, _, _ := strings.Cut(c.Text, " (")
				got = append(got, c.Chain+": "+text)
				if c.Cure == "" {
					t.Errorf("%s has no cure", c.Chain)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("conflicts (-want +got):\n%s\nof\n%s", diff, listing)
			}
		})
	}
}
