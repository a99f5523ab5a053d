package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"ftr/internal/netns"
)

// The providers' interfaces.
const (
	customerLink = "customer" // towards the router
	coreLink     = "core"     // towards the internet host
)

// makeHosts makes all namespaces and their kernel parameters.
func (l *Lab) makeHosts() error {
	add := func(name string, forward bool) (*Host, error) {
		ns, err := netns.New(l.options.Name + name)
		if err != nil {
			return nil, err
		}
		h := &Host{ns}
		// A line without router advertisements needs no IPv6 noise; a strict filter would hide mistakes
		// that the provider's own filter is there to show.
		for key, value := range map[string]string{
			"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
			"net/ipv4/ip_forward": map[bool]string{false: "0", true: "1"}[forward],
		} {
			if err := h.Sysctl(key, value); err != nil {
				return nil, fmt.Errorf("host %s: %w", name, err)
			}
		}
		if l.Plan.hasInet6() && name != "router" {
			// Hosts whose addresses are checked for duplicates are deaf for a second or two.
			if err := h.Sysctl("net/ipv6/conf/default/dad_transmits", "0"); err != nil {
				return nil, fmt.Errorf("host %s: %w", name, err)
			}
		}
		// The same on every machine; where the kernel has no CUBIC, its default serves as well.
		_ = h.Sysctl("net/ipv4/tcp_congestion_control", "cubic")
		return h, nil
	}
	var err error
	for name, host := range map[string]**Host{"internet": &l.Internet, "router": &l.Router, "client": &l.Client, "server": &l.Server} {
		if *host, err = add(name, false); err != nil {
			return err
		}
	}
	for _, line := range l.Plan.Lines {
		provider, err := add(fmt.Sprintf("isp%d", line.Number), true)
		if err != nil {
			return err
		}
		l.Providers = append(l.Providers, provider)
	}
	return l.seed()
}

// seed makes the router's choice among next hops repeatable, where that is asked for.
func (l *Lab) seed() error {
	if l.options.Seed == 0 {
		return nil
	}
	if err := l.Router.Sysctl("net/ipv4/fib_multipath_hash_seed", strconv.FormatUint(uint64(l.options.Seed), 10)); err != nil {
		return fmt.Errorf("seed the spread of connections (needs Linux 6.11): %w", err)
	}
	return nil
}

// wireInside connects client and server with the router, and gives the internet host its addresses.
func (l *Lab) wireInside() error {
	if err := l.Router.Batch(
		"link add lan0 type veth peer name eth0 netns "+l.Client.Name,
		"link add dmz0 type veth peer name eth0 netns "+l.Server.Name,
		"addr add "+lanRouter.String()+" dev lan0", "link set lan0 up",
		"addr add "+dmzRouter.String()+" dev dmz0", "link set dmz0 up",
	); err != nil {
		return err
	}
	if err := l.Client.Batch("addr add "+lanClient.String()+" dev eth0", "link set eth0 up", "route add default via "+lanRouter.Addr().String()); err != nil {
		return err
	}
	if err := l.Server.Batch("addr add "+dmzServer.String()+" dev eth0", "link set eth0 up", "route add default via "+dmzRouter.Addr().String()); err != nil {
		return err
	}
	var lines []string
	for _, a := range append(l.Plan.Targets, l.Plan.Servers...) {
		lines = append(lines, "addr add "+a.String()+"/32 dev lo")
	}
	return l.Internet.Batch(lines...)
}

// frames returns the words of ip-link(8) that make senders give single frames to a shaped wire, as a
// real one has: otherwise queues and losses come in units of up to 64 KB (GSO).
func (l *Lab) frames(rate Rate) string {
	if rate == 0 || rate > 200*Mbit {
		return "" // the machine could not follow
	}
	return " gso_max_segs 1"
}

// wireProviders connects each provider with the internet host and with the router.
func (l *Lab) wireProviders(ctx context.Context) error {
	for i, line := range l.Plan.Lines {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.wireProvider(i); err != nil {
			return fmt.Errorf("provider %d: %w", line.Number, err)
		}
	}
	return nil
}

func (l *Lab) wireProvider(i int) error {
	line, provider := l.Plan.Lines[i], l.Providers[i]
	up := fmt.Sprintf("isp%d", line.Number)
	if err := l.Internet.Batch(
		fmt.Sprintf("link add %s type veth peer name %s netns %s", up, coreLink, provider.Name),
		fmt.Sprintf("addr add %s dev %s", line.peer, up), "link set "+up+" up"+l.frames(line.Rate),
	); err != nil {
		return err
	}
	// The targets are behind the core; everything else that the provider knows is its customer.
	if err := provider.Batch(
		fmt.Sprintf("addr add %s dev %s", line.core, coreLink), "link set "+coreLink+" up",
		"route add default via "+line.peer.Addr().String(),
	); err != nil {
		return err
	}
	if !line.Twin && line.Kind != Tunnel {
		if err := l.Internet.Batch(fmt.Sprintf("route add %s via %s dev %s", line.Customer, line.core.Addr(), up)); err != nil {
			return err
		}
	}
	if err := provider.nft(providerRules(line)...); err != nil {
		return err
	}
	if err := l.shape(i, coreLink); err != nil {
		return err
	}
	if line.Kind == PPP || line.Kind == Tunnel {
		return nil // connectLines makes the interfaces
	}
	return l.wireEthernet(i)
}

// wireEthernet makes the wire from a provider to the router.
func (l *Lab) wireEthernet(i int) error {
	line, provider := l.Plan.Lines[i], l.Providers[i]
	gateway := fmt.Sprintf("addr add %s/24 dev %s", line.Gateway, customerLink)
	if err := l.Router.Batch(
		fmt.Sprintf("link add %s type veth peer name %s netns %s", line.Interface, customerLink, provider.Name),
		"link set "+line.Interface+" up",
	); err != nil {
		return err
	}
	if err := provider.Batch(gateway, "link set "+customerLink+" up"); err != nil {
		return err
	}
	if line.Kind == Static {
		if err := l.Router.Batch(fmt.Sprintf("addr add %s/%d dev %s", line.Address, line.bits, line.Interface)); err != nil {
			return err
		}
	}
	return l.shape(i, customerLink)
}

// providerRules filter sources that are not the customer's, as providers do, and hold the place of
// impairments.
func providerRules(line PlanLine) []string {
	rules := fmt.Sprintf(`table inet lab {
	counter foreign { }
	chain impair { }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname "%s" ip saddr != %s counter name foreign drop
		jump impair
	}
}`, customerLink, line.Customer)
	if line.Twin {
		rules += fmt.Sprintf(`
table ip modem {
	chain in { type nat hook prerouting priority dstnat; iifname "%[1]s" ip daddr %[2]s dnat to %[3]s; }
	chain out { type nat hook postrouting priority srcnat; oifname "%[1]s" ip saddr %[4]s masquerade; }
}`, coreLink, line.Public, line.Address, line.Customer)
	}
	return strings.Split(rules, "\n")
}
