package routing_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// tunnelled gives a configuration the numbers that go with tunnels, as the parser does.
func tunnelled(cfg *config.Config) *config.Config {
	n := &cfg.Numbers
	n.OwnTable, n.OwnPriority = config.OwnTable, n.DefaultPriority
	n.DefaultPriority++
	return cfg
}

// carried is the example with the third line as a tunnel, preferred, over the other two.
func carried(b numbers) (*config.Config, *routing.Observation) {
	cfg, obs := example(b)
	tunnel := &cfg.Uplinks[2]
	tunnel.Tunnel, tunnel.Grouped, tunnel.Group = config.TunnelYes, true, 0
	return tunnelled(cfg), obs
}

// wanted is what should exist while the lines are judged so.
func wanted(cfg *config.Config, obs *routing.Observation, previous *routing.Selection, states ...health.State) (routing.State, routing.Selection) {
	paths := routing.Resolve(cfg, obs)
	s := routing.Select(cfg, config.IPv4, paths, judged(states), previous)
	return routing.Want(cfg, obs, paths, []routing.Selection{s}), s
}

// What the router itself sends uses the best lines that are no tunnels, whatever else uses; which lines are
// lost to it is known.
func TestSelectOwn(t *testing.T) {
	first, second, tunnel := routing.Member{Uplink: 0, Weight: 1}, routing.Member{Uplink: 1, Weight: 3}, routing.Member{Uplink: 2, Weight: 1}
	cfg, obs := carried(modern)
	all := &routing.Selection{Family: config.IPv4, Members: []routing.Member{tunnel}, Own: []routing.Member{first, second}}
	for _, tt := range []struct {
		name         string
		managed      bool
		states       []health.State
		previous     *routing.Selection
		members, own []routing.Member
		lost         []int
	}{
		{"all up", true, []health.State{up, up, up}, nil, []routing.Member{tunnel}, []routing.Member{first, second}, nil},
		{"a line down", true, []health.State{down, up, up}, all, []routing.Member{tunnel}, []routing.Member{second}, []int{0}},
		{"the same, with a manual firewall", false, []health.State{down, up, up}, all, []routing.Member{tunnel}, []routing.Member{second}, nil},
		{"the tunnel down", true, []health.State{up, up, down}, all, []routing.Member{first, second}, []routing.Member{first, second}, []int{2}},
		{"only the tunnel up", true, []health.State{down, down, up}, all, []routing.Member{tunnel}, []routing.Member{first, second}, nil},
		{"nothing known", true, []health.State{unknown, unknown, unknown}, all, []routing.Member{tunnel}, []routing.Member{first, second}, nil},
		{"a lost line is not judged yet", true, []health.State{unknown, up, up}, &routing.Selection{Members: []routing.Member{tunnel}, Own: []routing.Member{second}, Lost: []int{0}},
			[]routing.Member{tunnel}, []routing.Member{second}, []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := *cfg
			if cfg.Firewall = config.FirewallManual; tt.managed {
				cfg.Firewall = config.FirewallManaged
			}
			_, got := wanted(&cfg, obs, tt.previous, tt.states...)
			want := routing.Selection{Family: config.IPv4, Members: tt.members, Own: tt.own, Lost: tt.lost}
			if diff := cmp.Diff(want, got, byValue); diff != "" {
				t.Errorf("Select (-want +got):\n%s", diff)
			}
		})
	}
}

// Where what leaves is not translated, a datagram would have another line's address, and stays.
func TestSelectLostUntranslated(t *testing.T) {
	for _, tt := range []struct {
		nat    config.NAT6
		prefix string
		want   []int
	}{{config.Masquerade, "", []int{0}}, {config.KeepAddress, "", nil}, {config.KeepAddress, "2001:db8:2::/48", []int{0}}} {
		cfg := configure(modern, typed("eth1", config.DHCP), typed("eth2", config.DHCP))
		cfg.Firewall = config.FirewallManaged
		cfg.Uplinks[1].Inet6 = config.Inet6{On: true, NAT: tt.nat}
		paths := []routing.Path{{Family: config.IPv6}, {Uplink: 1, Family: config.IPv6}}
		if tt.prefix != "" {
			paths[1].Prefix = netip.MustParsePrefix(tt.prefix)
		}
		if got := routing.Select(cfg, config.IPv6, paths, judged([]health.State{down, up}), nil).Lost; !slices.Equal(got, tt.want) {
			t.Errorf("%v %q: lost %v, want %v", tt.nat, tt.prefix, got, tt.want)
		}
	}
}

// asks holds what the kernel says of packets, in the words of "ip route get", against the devices wanted;
// "" is no way.
func asks(t *testing.T, ns *netns.NS, want map[string]string) {
	t.Helper()
	for packet, device := range want {
		words := strings.Fields("route get " + packet)
		if strings.Contains(packet, ":") {
			words = slices.Insert(words, 0, "-6")
		}
		got, err := ns.Output("ip", words...)
		switch {
		case device == "" && (err == nil || !strings.Contains(err.Error(), "No route to host")):
			t.Errorf("packet to %s: %s %v, want no route to host", packet, got, err)
		case device != "" && !strings.Contains(got, " dev "+device+" "):
			t.Errorf("packet to %s: %s %v, want dev %s", packet, got, err, device)
		}
	}
}

// play lets ip(8) and sysctl(8) bring about what is wanted.
func play(t *testing.T, ns *netns.NS, cfg *config.Config, have, want routing.State) {
	t.Helper()
	for _, s := range routing.Plan(cfg, have, want) {
		run(t, ns, s.String())
	}
}

// A datagram that the router sends from the address of a dead line leaves by a living one; what belongs to
// the dead line stays there: connections with its mark, what is bound to it, its lease, and all but UDP.
func TestMovedOnTheKernel(t *testing.T) {
	ns := newRouter(t)
	run(t, ns, "ip address add 2001:db8:3::2/64 dev eth3 nodad")
	cfg, obs := example(modern)
	managed(cfg)
	cfg.Uplinks[0].Type = config.DHCP
	cfg.Uplinks[2].Grouped, cfg.Uplinks[2].Group = true, 1
	for _, i := range []int{0, 2} {
		cfg.Uplinks[i].Inet6 = config.Inet6{On: true, Gateway: addr("fe80::1")}
	}
	obs.Links[0].Addresses = append(obs.Links[0].Addresses, address("2001:db8::2/64"))
	obs.Links[2].Addresses = append(obs.Links[2].Addresses, address("198.18.0.7/24"), address("2001:db8:3::2/64"))
	obs.Leases = map[string]netip.Addr{"eth1": addr("192.0.2.1")}
	obs.Have.Rules = nil
	paths := routing.Resolve(cfg, obs)
	want := func(states ...health.State) routing.State {
		var selections []routing.Selection
		for _, f := range cfg.Families() {
			selections = append(selections, routing.Select(cfg, f, paths, judged(states), nil))
		}
		return routing.Want(cfg, obs, paths, selections)
	}
	// The paths are eth1, eth1 over IPv6, ppp0, eth3, eth3 over IPv6.
	well, dead := want(up, up, down, up, up), want(down, down, down, up, up)
	const datagram, datagram6 = "8.8.8.8 from 192.0.2.2 ipproto udp sport 51820 dport 9", "2001:4860::1 from 2001:db8::2 ipproto udp sport 51820 dport 9"
	play(t, ns, cfg, obs.Have, well)
	asks(t, ns, map[string]string{datagram: "eth1", datagram6: "eth1"})
	play(t, ns, cfg, well, dead)
	asks(t, ns, map[string]string{
		datagram:                   "eth3",
		datagram + " mark 0x40000": "eth3", // bits of others
		datagram + " mark 0x3":     "eth3", // a connection that has moved, when its line is there again
		datagram + " mark 0x1":     "eth1",
		datagram + " oif eth1":     "eth1",
		"8.8.8.8 from 192.0.2.2 ipproto udp sport 68 dport 67":   "eth1",
		"8.8.8.8 from 192.0.2.2 ipproto tcp sport 51820 dport 9": "eth1",
		"8.8.8.8 from 192.0.2.2 ipproto icmp":                    "eth1",
		"8.8.8.8 from 198.18.0.7 ipproto udp sport 9 dport 9":    "eth3", // another address of a living line
		"8.8.8.8 from 203.0.113.5 ipproto udp sport 9 dport 9":   "eth3",
		"10.0.0.9 from 192.0.2.2 ipproto udp sport 53 dport 9":   "lan0",
		datagram6:               "eth3",
		datagram6 + " oif eth1": "eth1",
		"2001:4860::1 from 2001:db8::2 ipproto tcp sport 9 dport 9": "eth1",
	})
	adopted := routing.Adopt(cfg, config.IPv4, dead)
	if adopted == nil || !slices.Equal(adopted.Lost, []int{0, 1}) {
		t.Errorf("adopted %+v, want the lines 0 and 1 lost", adopted)
	}
	play(t, ns, cfg, dead, well)
	asks(t, ns, map[string]string{datagram: "eth1", datagram6: "eth1"})
	if got := output(t, ns, "ip rule list priority 20002"); strings.Count(got, "192.0.2.2") != 0 {
		t.Errorf("a line that is well again left the rules\n%s", got)
	}
}

// What the router itself sends never goes into a tunnel of its own, not even where nothing else is left;
// what passes through does.
func TestTunnelOnTheKernel(t *testing.T) {
	for _, b := range []numbers{modern, original} {
		t.Run(fmt.Sprint(b.priority), func(t *testing.T) {
			ns := newRouter(t)
			cfg, obs := carried(b)
			obs.Have.Rules = nil
			both, selected := wanted(cfg, obs, nil, down, up, up)
			play(t, ns, cfg, obs.Have, both)
			const forwarded = "8.8.8.8 from 10.0.0.9 iif lan0"
			asks(t, ns, map[string]string{
				"8.8.8.8": "ppp0", "8.8.8.8 mark 0x3": "eth3", "8.8.8.8 from 198.51.100.2": "eth3", "8.8.8.8 oif eth3": "eth3", forwarded: "eth3",
				"8.8.8.8 from 10.0.0.1": "ppp0", "10.0.0.9": "lan0",
			})
			if adopted := routing.Adopt(cfg, config.IPv4, both); adopted == nil || !slices.Equal(adopted.Own, selected.Own) || !slices.Equal(adopted.Members, selected.Members) {
				t.Errorf("adopted %+v, want %+v", adopted, selected)
			}
			// Without tunnels the table and the rule go.
			plain := *cfg
			plain.Numbers.OwnTable, plain.Numbers.OwnPriority, plain.Numbers.DefaultPriority = 0, 0, plain.Numbers.DefaultPriority-1
			plain.Uplinks = slices.Clone(cfg.Uplinks)
			plain.Uplinks[2].Tunnel, plain.Uplinks[2].Group = config.TunnelNo, 2
			after, _ := wanted(&plain, obs, nil, up, down, up)
			play(t, ns, &plain, both, after)
			asks(t, ns, map[string]string{"8.8.8.8": "eth1", forwarded: "eth1"})
			if got := output(t, ns, "ip route show table all"); strings.Contains(got, "11699") {
				t.Errorf("routes of a table that is not used any more:\n%s", got)
			}
			play(t, ns, cfg, after, both)
			// The last line that is no tunnel loses its interface.
			run(t, ns, "ip link set ppp0 down")
			asks(t, ns, map[string]string{"8.8.8.8": "", forwarded: "eth3"})
		})
	}
}

// An uplink whose interface is a tunnel has to say whether this router carries it.
func TestInspectTunnels(t *testing.T) {
	cfg, obs := example(modern)
	obs.Links[0].Tunnel, obs.Links[1].Tunnel, obs.Links[2].Tunnel = "wireguard", "tun", "gre" // the second is dialled
	cfg.Uplinks[2].Tunnel = config.TunnelNo
	var got []string
	for _, w := range routing.Inspect(cfg, obs) {
		got = append(got, w.String())
	}
	want := []string{"uplink eth1 (eth1): is a tunnel (wireguard), and the file does not say who carries it: if this router does, over its other lines, " +
		"the tunnel's own packets may be sent into the tunnel, and it stands still; add tunnel: yes to the uplink, or tunnel: no if something else carries it"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Inspect (-want +got):\n%s", diff)
	}
}
