package routing_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

// The steps are tried on the kernel by ip(8), in namespaces of their own.
func TestMain(m *testing.M) { os.Exit(netns.Private(m.Run)) }

// numbers are the bases of a configuration.
type numbers struct{ table, priority, mark uint32 }

// The bases of the original's example, and of the new one.
var (
	original = numbers{1, 40000, 1}
	modern   = numbers{1, 20000, 1}
)

// configure makes a configuration as the parser does: every number follows from the bases and the place.
func configure(b numbers, uplinks ...config.Uplink) *config.Config {
	n := uint32(len(uplinks))
	cfg := &config.Config{
		LAN: []string{"lan0"},
		Numbers: config.Numbers{
			BaseTable: b.table, BasePriority: b.priority, BaseMark: b.mark, Mask: 0xff,
			DefaultTable: b.table + n, DefaultPriority: b.priority + 2*n,
		},
	}
	if b.priority < 32766 {
		cfg.Numbers.SuppressPriority = b.priority - 1
	}
	for i, u := range uplinks {
		place := uint32(i)
		u.Index, u.Table, u.Mark = i, b.table+place, b.mark+place
		u.AddressPriority, u.MarkPriority = b.priority+place, b.priority+n+place
		if u.Name == "" {
			u.Name = u.Interface
		}
		if u.Weight == 0 {
			u.Weight = 1
		}
		cfg.Uplinks = append(cfg.Uplinks, u)
	}
	return cfg
}

// managed gives a configuration a managed firewall that deals connections, as the parser does.
func managed(cfg *config.Config) *config.Config {
	n := &cfg.Numbers
	cfg.Firewall, cfg.Balance = config.FirewallManaged, config.BalanceRoundRobin
	n.SteerMask, n.SteerPriority, n.DefaultPriority = 0xff00, n.DefaultPriority, n.DefaultPriority+1
	for i := range cfg.Uplinks {
		u := &cfg.Uplinks[i]
		u.AddressPriority, u.MarkPriority = u.MarkPriority, u.AddressPriority
	}
	for _, u := range cfg.Uplinks {
		if u.Grouped {
			place := uint32(len(cfg.Steers))
			cfg.Steers = append(cfg.Steers, config.Steer{Uplink: u.Index, Mark: (place + 1) << 8, Table: config.FirstSteerTable + place})
		}
	}
	return cfg
}

// static is an uplink with everything in the configuration, in group 1.
func static(device, address, gateway string) config.Uplink {
	return config.Uplink{Interface: device, Type: config.Static, Address: addr(address), Gateway: addr(gateway), Grouped: true, Group: 1}
}

// typed is an uplink that reads everything from the interface, in group 1.
func typed(device string, kind config.Type) config.Uplink {
	return config.Uplink{Interface: device, Type: kind, Grouped: true, Group: 1}
}

// addr parses an address; "" is none.
func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func address(s string) routing.Address { return routing.Address{Prefix: netip.MustParsePrefix(s)} }

// link is an interface that works.
func link(name string, addresses ...string) routing.Link {
	l := routing.Link{Name: name, Up: true, Carrier: true}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, address(a))
	}
	return l
}

// ppp is a point-to-point interface that works.
func ppp(name, own, peer string) routing.Link {
	return routing.Link{Name: name, Up: true, Carrier: true, PointToPoint: true, Addresses: []routing.Address{
		{Prefix: netip.PrefixFrom(addr(own), 32), Peer: addr(peer)},
	}}
}

// via is a default route.
func via(table uint32, protocol uint8, metric uint32, hops ...routing.NextHop) routing.Route {
	return routing.Route{
		Family: config.IPv4, Table: table, Type: routing.Unicast, Destination: netip.MustParsePrefix("0.0.0.0/0"),
		Metric: metric, Protocol: protocol, NextHops: hops,
	}
}

// deadEnd is the unreachable route at the end of a line's table.
func deadEnd(table uint32) routing.Route {
	r := via(table, routing.RouteProtocol, 1<<32-1)
	r.Type = routing.Unreachable
	return r
}

func withSource(r routing.Route, source string) routing.Route {
	r.Source = addr(source)
	return r
}

func hop(device, gateway string) routing.NextHop {
	return routing.NextHop{Interface: device, Gateway: addr(gateway), Weight: 1}
}

func weighted(device, gateway string, weight int) routing.NextHop {
	h := hop(device, gateway)
	h.Weight = weight
	return h
}

// lookup is the rule "from all lookup table".
func lookup(priority, table uint32, protocol uint8) routing.Rule {
	return routing.Rule{Family: config.IPv4, Priority: priority, Table: table, Protocol: protocol, SuppressPrefixLength: routing.NoSuppress}
}

func fromRule(priority, table uint32, protocol uint8, from string) routing.Rule {
	r := lookup(priority, table, protocol)
	r.From = netip.PrefixFrom(addr(from), 32)
	return r
}

func markRule(priority, table uint32, protocol uint8, mark, mask uint32) routing.Rule {
	r := lookup(priority, table, protocol)
	r.Mark, r.Mask = mark, mask
	return r
}

// kernelRules are those that every namespace begins with.
func kernelRules() []routing.Rule {
	return []routing.Rule{lookup(0, 255, 2), lookup(32766, 254, 2), lookup(32767, 253, 2)}
}

// sysctlsOf are the kernel's defaults for what the program asks.
func sysctlsOf(cfg *config.Config) []routing.Sysctl {
	var all []routing.Sysctl
	for _, key := range routing.ScopeOf(cfg).Sysctls {
		all = append(all, routing.Sysctl{Key: key, Value: "0"})
	}
	return all
}

// text prints a state, one thing a line.
func text(s routing.State) string {
	var b strings.Builder
	for _, r := range s.Routes {
		fmt.Fprintln(&b, "route", r)
	}
	for _, r := range s.Rules {
		fmt.Fprintln(&b, "rule", r)
	}
	for _, c := range s.Sysctls {
		fmt.Fprintln(&b, c.Key, "=", c.Value)
	}
	return b.String()
}

// lines prints steps, one a line.
func lines(steps []routing.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}
