package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With a tunnel there are a table and a rule for what the router itself sends, and the last rule makes room.
func TestTunnels(t *testing.T) {
	const file = `uplinks:
  - {interface: eth1, type: dhcp, priority_group: 2}
  - {interface: wg0, ip: 10.9.0.2, priority_group: 1, tunnel: yes}
  - {interface: tun0, ip: 10.8.0.2, priority_group: 1, tunnel: no}
downlinks: {lan: eth0}
tests: {ips: [1.1.1.1, 8.8.8.8, 9.9.9.9]}
`
	for _, test := range []struct {
		rest string
		want Numbers
	}{
		{"", Numbers{
			BaseTable: 1, BasePriority: 20000, BaseMark: 1, Mask: 0xff, DefaultTable: 4, SuppressPriority: 19999,
			OwnTable: OwnTable, OwnPriority: 20006, DefaultPriority: 20007,
		}},
		{"firewall: managed\nbase_priority: 32757", Numbers{
			BaseTable: 1, BasePriority: 32757, BaseMark: 1, Mask: 0xff, DefaultTable: 4, SuppressPriority: 32756,
			SteerMask: 0xff003f00, SteerPriority: 32763, OwnTable: OwnTable, OwnPriority: 32764, DefaultPriority: 32765,
		}},
	} {
		c := mustParse(t, "test.conf", []byte(file+test.rest))
		if diff := cmp.Diff(test.want, c.Numbers); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.rest, diff)
		}
		if got := [3]Tunnel{c.Uplinks[0].Tunnel, c.Uplinks[1].Tunnel, c.Uplinks[2].Tunnel}; got != [3]Tunnel{TunnelUnsaid, TunnelYes, TunnelNo} {
			t.Errorf("%s: tunnels %v", test.rest, got)
		}
	}
	if c, _ := Parse("test.conf", []byte(file+"firewall: managed\nbase_priority: 32758")); c != nil {
		t.Error("rules that reach the system's are accepted")
	}
}
