package probe_test

import (
	"fmt"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// solicited counts what a provider was asked for its hardware address, by the line and family.
const solicited = `table arp count {
	chain in {
		type filter hook input priority 0;
		arp operation request iifname "eth1" counter comment "IPv4 eth1"
		arp operation request iifname "eth2" counter comment "IPv4 eth2"
	}
}
table ip6 count {
	chain in {
		type filter hook input priority 0;
		icmpv6 type nd-neighbor-solicit iifname "eth1" counter comment "IPv6 eth1"
		icmpv6 type nd-neighbor-solicit iifname "eth2" counter comment "IPv6 eth2"
	}
}`

// The kernel does not ask for a gateway whose line is proven to be well, as it does for another.
func TestProvenGatewayIsNotAsked(t *testing.T) {
	isp := provider(t, "isp")
	p := prober(t)
	for n := 1; n <= 2; n++ {
		connect(t, n, isp)
		for _, f := range families {
			ip := strings.ToLower(f.name)
			check(t, netns.Run("sysctl", "-qw", fmt.Sprintf("net.%s.neigh.%s.base_reachable_time_ms=100", ip, device(n)),
				fmt.Sprintf("net.%s.neigh.%s.delay_first_probe_time=1", ip, device(n))))
			answers(t, p, device(n), f.source(n), f.target)
		}
	}
	check(t, isp.Run("nft", solicited))
	asked := func(f family, n int) bool {
		out, err := isp.Output("nft", "list", "ruleset")
		check(t, err)
		if !strings.Contains(out, fmt.Sprintf("comment %q", f.name+" "+device(n))) {
			t.Fatal(out)
		}
		return !strings.Contains(out, fmt.Sprintf("packets 0 bytes 0 comment %q", f.name+" "+device(n)))
	}
	eventually(t, "the other gateway is asked in both families", func() bool {
		for n := 1; n <= 2; n++ {
			for _, f := range families {
				proven := n == 2
				if _, err := p.Probe(t.Context(), device(n), f.source(n), config.Echo(f.target), proven); err != nil {
					t.Fatal(err)
				}
			}
		}
		return asked(families[0], 1) && asked(families[1], 1)
	})
	for _, f := range families {
		if asked(f, 2) {
			t.Errorf("%s: the kernel asked for a gateway that was proven", f.name)
		}
	}
}
