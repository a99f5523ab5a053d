package firewall_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// What others have in iptables-legacy beside a managed firewall, as the real iptables-legacy-save prints it.
func TestLegacyConflicts(t *testing.T) {
	cfg := managed(bedConfig())
	for _, test := range []struct {
		name  string
		rules []string // of iptables-legacy
		want  []string
	}{
		{"nothing", nil, nil},
		{"nat and foreign bits", []string{
			"-t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to 172.17.0.2:80",
			"-t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
			"-t mangle -A FORWARD -i tailscale0 -j MARK --set-mark 0x40000/0xff0000",
			"-t mangle -A FORWARD -m mark --mark 0x40000/0xff0000 -j CONNMARK --save-mark --mask 0xff0000",
			"-t mangle -A FORWARD -m connmark ! --mark 0x4000/0x4000 -j MARK --or-mark 0x8000",
		}, nil},
		{"whole marks", []string{
			"-t mangle -A PREROUTING -p tcp -j MARK --set-mark 1",
			"-t mangle -A PREROUTING -j CONNMARK --save-mark",
			"-t filter -A FORWARD -m mark --mark 1 -j ACCEPT",
		}, []string{
			"chain iptables-legacy filter FORWARD: matches mark bits 0xff003fff that are ours",
			"chain iptables-legacy mangle PREROUTING: writes mark bits 0xff003fff that are ours",
		}},
		{"bits", []string{
			"-t mangle -A PREROUTING -j MARK --or-mark 0x400",
			"-t mangle -A OUTPUT -m connmark --mark 0x3/0xf -j ACCEPT",
		}, []string{
			"chain iptables-legacy mangle PREROUTING: writes mark bits 0x400 that are ours",
			"chain iptables-legacy mangle OUTPUT: matches mark bits 0xf that are ours",
		}},
		{"between both", []string{"-t mangle -A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff00 --ctmask 0xff0000"}, []string{
			"chain iptables-legacy mangle PREROUTING: writes mark bits 0x3f00 that are ours",
		}},
		{"all but some", []string{"-t mangle -A PREROUTING -j MARK --and-mark 0xff00ffff"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := namespace(t, "legacy")
			for _, rule := range test.rules {
				if err := ns.Run("iptables-legacy", strings.Fields(rule)...); err != nil {
					t.Fatal(err)
				}
			}
			saved, err := ns.Output("iptables-legacy-save")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range firewall.LegacyConflicts(cfg, map[config.Family]string{config.IPv4: saved}) {
				text, _, _ := strings.Cut(c.Text, " (")
				got = append(got, c.Chain+": "+text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("conflicts (-want +got):\n%s\nof\n%s", diff, saved)
			}
		})
	}
}

func TestOutdated(t *testing.T) {
	for version, want := range map[string]bool{
		"1.0.6": false, "1.0.7": false, "1.1": false, "1.1.3": false, "2.0": false, "1.0.6.1": false, "1.0.10": false,
		"1.0.5": true, "0.9.8": true, "1.0": true,
	} {
		if got := firewall.Outdated(version); got != want {
			t.Errorf("%s: %t, want %t", version, got, want)
		}
	}
}
