package routing_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// newRouter makes a namespace with the interfaces of example.
func newRouter(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New(strings.ReplaceAll(t.Name(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, device := range []string{"eth1", "ppp0", "eth3", "lan0"} {
		run(t, ns, "ip link add "+device+" type veth peer name far-"+device)
		run(t, ns, "ip link set "+device+" up")
		run(t, ns, "ip link set far-"+device+" up")
	}
	for _, line := range []string{
		"192.0.2.2/24 dev eth1", "203.0.113.5 peer 203.0.113.1 dev ppp0", "198.51.100.2/24 dev eth3",
		"198.18.0.7/24 dev eth3", "10.0.0.1/24 dev lan0", "2001:db8::2/64 dev eth1 nodad",
	} {
		run(t, ns, "ip address add "+line)
	}
	return ns
}

// run runs a command line.
func run(t *testing.T, ns *netns.NS, line string) {
	t.Helper()
	words := strings.Fields(line)
	if err := ns.Run(words[0], words[1:]...); err != nil {
		t.Errorf("%v", err)
	}
}

// output runs a command line and returns what it says, without the spaces at the ends.
func output(t *testing.T, ns *netns.NS, line string) string {
	t.Helper()
	words := strings.Fields(line)
	out, err := ns.Output(words[0], words[1:]...)
	if err != nil {
		t.Errorf("%v", err)
	}
	return strings.TrimSpace(out)
}

// Every shape of step, in the words that ip(8) and sysctl(8) take.
func TestStepString(t *testing.T) {
	onlink := hop("eth1", "198.51.100.77")
	onlink.OnLink = true
	heavy := hop("ppp0", "203.0.113.1")
	heavy.Weight = 256
	network := via(7, 117, 0, hop("eth1", "192.0.2.1"))
	network.Destination = netip.MustParsePrefix("10.1.2.0/24")
	suppress := lookup(19999, 254, 117)
	suppress.SuppressPrefixLength = 0
	ownDatagrams := fromRule(20000, 7, 117, "192.0.2.2")
	ownDatagrams.Mask, ownDatagrams.Local, ownDatagrams.Transport, ownDatagrams.SourcePort = 0xff, true, 17, 68
	bound := fromRule(20000, 7, 117, "192.0.2.2")
	bound.Output, bound.Transport = "eth1", 6
	subnet := lookup(20000, 7, 117)
	subnet.From = network.Destination
	six := via(7, 117, 0, hop("eth1", "fe80::1"))
	six.Family, six.Destination, six.Source = config.IPv6, netip.MustParsePrefix("::/0"), addr("2001:db8::2")
	sixEnd := deadEnd(7)
	sixEnd.Family, sixEnd.Destination = six.Family, six.Destination
	sixRule := lookup(20000, 7, 117)
	sixRule.Family, sixRule.From = config.IPv6, netip.MustParsePrefix("2001:db8::2/128")
	route := func(op routing.Op, r routing.Route) routing.Step { return routing.Step{Op: op, Route: &r} }
	rule := func(op routing.Op, r routing.Rule) routing.Step { return routing.Step{Op: op, Rule: &r} }
	tests := []struct {
		step routing.Step
		want string
	}{
		{route(routing.Replace, withSource(via(7, 117, 0, hop("eth1", "192.0.2.1")), "192.0.2.2")), "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 7 protocol 117"},
		{route(routing.Replace, via(7, 117, 1, onlink)), "ip route replace default via 198.51.100.77 dev eth1 onlink table 7 metric 1 protocol 117"},
		{route(routing.Add, via(1000, 0, 2, hop("ppp0", ""))), "ip route add default dev ppp0 table 1000 metric 2"},
		{route(routing.Replace, via(8, 117, 0, onlink, heavy)), "ip route replace default table 8 protocol 117 nexthop via 198.51.100.77 dev eth1 onlink weight 1 nexthop via 203.0.113.1 dev ppp0 weight 256"},
		{route(routing.Replace, via(8, 117, 1, hop("ppp0", ""), hop("eth1", "192.0.2.1"))), "ip route replace default table 8 metric 1 protocol 117 nexthop dev ppp0 weight 1 nexthop via 192.0.2.1 dev eth1 weight 1"},
		{route(routing.Replace, deadEnd(7)), "ip route replace unreachable default table 7 metric 4294967295 protocol 117"},
		{route(routing.Add, network), "ip route add 10.1.2.0/24 via 192.0.2.1 dev eth1 table 7 protocol 117"},
		{route(routing.Replace, six), "ip -6 route replace default via fe80::1 dev eth1 src 2001:db8::2 table 7 protocol 117"},
		{route(routing.Replace, sixEnd), "ip -6 route replace unreachable default table 7 metric 4294967295 protocol 117"},
		{rule(routing.Add, suppress), "ip rule add from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117"},
		{rule(routing.Add, fromRule(20000, 7, 117, "192.0.2.2")), "ip rule add from 192.0.2.2 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Add, ownDatagrams), "ip rule add from 192.0.2.2 fwmark 0x0/0xff iif lo ipproto udp sport 68 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Add, bound), "ip rule add from 192.0.2.2 oif eth1 ipproto 6 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Add, subnet), "ip rule add from 10.1.2.0/24 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Add, markRule(20001, 7, 117, 0x1, 0xff)), "ip rule add from all fwmark 0x1/0xff lookup 7 priority 20001 protocol 117"},
		{rule(routing.Add, lookup(20002, 8, 0)), "ip rule add from all lookup 8 priority 20002"},
		{rule(routing.Add, sixRule), "ip -6 rule add from 2001:db8::2 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Delete, sixRule), "ip -6 rule delete from 2001:db8::2 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Delete, lookup(20002, 8, 0)), "ip rule delete from all lookup 8 priority 20002"},
		{rule(routing.Delete, markRule(20001, 7, 117, 0x1, 0xff)), "ip rule delete from all fwmark 0x1/0xff lookup 7 priority 20001 protocol 117"},
		{rule(routing.Delete, fromRule(20000, 7, 117, "192.0.2.2")), "ip rule delete from 192.0.2.2 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Delete, ownDatagrams), "ip rule delete from 192.0.2.2 fwmark 0x0/0xff iif lo ipproto udp sport 68 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Delete, bound), "ip rule delete from 192.0.2.2 oif eth1 ipproto 6 lookup 7 priority 20000 protocol 117"},
		{rule(routing.Delete, suppress), "ip rule delete from all lookup 254 suppress_prefixlength 0 priority 19999 protocol 117"},
		{route(routing.Delete, via(8, 117, 0, onlink, heavy)), "ip route delete default table 8 protocol 117 nexthop via 198.51.100.77 dev eth1 onlink weight 1 nexthop via 203.0.113.1 dev ppp0 weight 256"},
		{route(routing.Delete, deadEnd(7)), "ip route delete unreachable default table 7 metric 4294967295 protocol 117"},
		{route(routing.Delete, withSource(via(7, 117, 0, hop("eth1", "192.0.2.1")), "192.0.2.2")), "ip route delete default via 192.0.2.1 dev eth1 src 192.0.2.2 table 7 protocol 117"},
		{route(routing.Delete, sixEnd), "ip -6 route delete unreachable default table 7 metric 4294967295 protocol 117"},
		{routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: "net/ipv4/conf/eth1/rp_filter", Value: "2"}}, "sysctl -w net/ipv4/conf/eth1/rp_filter=2"},
	}
	ns := newRouter(t)
	for _, tt := range tests {
		if got := tt.step.String(); got != tt.want {
			t.Errorf("String = %q\nwant     %q", got, tt.want)
		}
		run(t, ns, tt.step.String())
	}
	if got := (routing.Step{}).String(); got != "" {
		t.Errorf("String of no step = %q", got)
	}
}

// Types that this program never writes are shown in the words of ip-route(8) too.
func TestForeignTypes(t *testing.T) {
	for kind, want := range map[routing.RouteType]string{
		1: "default table 7", 6: "blackhole default table 7", 7: "unreachable default table 7",
		8: "prohibit default table 7", 9: "throw default table 7", 2: "type 2 default table 7",
	} {
		r := via(7, 0, 0)
		if r.Type = kind; r.String() != want {
			t.Errorf("type %d: %q, want %q", kind, r, want)
		}
	}
}

// The whole plan, played by ip(8) and sysctl(8), makes the kernel send each kind of packet where it
// belongs; and cleaning up leaves nothing.
func TestPlanOnTheKernel(t *testing.T) {
	for _, b := range []numbers{modern, original} {
		t.Run(fmt.Sprint(b.priority), func(t *testing.T) { playOnKernel(t, b) })
	}
}

func playOnKernel(t *testing.T, b numbers) {
	ns := newRouter(t)
	cfg, obs := example(b)
	obs.Links[2].Addresses = append(obs.Links[2].Addresses, address("198.18.0.7/24"))
	obs.Have.Rules = nil
	rules := output(t, ns, "ip rule")
	want := desire(cfg, obs)
	for _, s := range routing.Plan(cfg, obs.Have, want) {
		run(t, ns, s.String())
	}
	if b == modern {
		run(t, ns, "ip route add default via 10.0.0.254 dev lan0") // a DHCP client's, to be passed over
	}
	for packet, device := range map[string]string{
		"192.0.2.200":                             "eth1", // connected
		"10.0.0.9 mark 0x2":                       "lan0", // replies to the LAN are not for their line
		"10.0.0.9 from 192.0.2.2":                 "lan0",
		"8.8.8.8 from 192.0.2.2":                  "eth1",
		"8.8.8.8 from 203.0.113.5":                "ppp0",
		"8.8.8.8 from 198.51.100.2":               "eth3", // no group, but its own address
		"8.8.8.8 from 198.18.0.7":                 "eth3", // its other address
		"8.8.8.8 mark 0x1":                        "eth1",
		"8.8.8.8 mark 0x702":                      "ppp0", // bits of others do not matter
		"8.8.8.8 from 10.0.0.9 iif lan0 mark 0x3": "eth3", // forwarded
	} {
		if got := output(t, ns, "ip route get "+packet); !strings.Contains(got, " dev "+device+" ") {
			t.Errorf("packet to %s: %s, want dev %s", packet, got, device)
		}
	}
	for _, packet := range []string{"8.8.8.8", "8.8.4.4 from 10.0.0.9 iif lan0"} {
		got := output(t, ns, "ip route get "+packet)
		if !strings.Contains(got, " dev eth1 ") && !strings.Contains(got, " dev ppp0 ") {
			t.Errorf("new packet to %s: %s, want a selected line", packet, got)
		}
	}
	// A line that is gone leads nowhere, not to another.
	run(t, ns, "ip link set eth1 down")
	for _, packet := range []string{"8.8.8.8 from 192.0.2.2", "8.8.8.8 mark 0x1"} {
		words := strings.Fields("route get " + packet)
		if out, err := ns.Output("ip", words...); err == nil || !strings.Contains(err.Error(), "No route to host") {
			t.Errorf("packet to %s of a dead line: %s %v, want no route to host", packet, out, err)
		}
	}
	run(t, ns, "ip link set eth1 up")
	run(t, ns, "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117")
	for _, s := range routing.CleanupPlan(want, nil) {
		run(t, ns, s.String())
	}
	if got := output(t, ns, "ip rule"); got != rules {
		t.Errorf("rules after the clean-up:\n%s\nwant\n%s", got, rules)
	}
	if got := output(t, ns, "ip route show table all protocol 117"); got != "" {
		t.Errorf("routes after the clean-up:\n%s", got)
	}
}
