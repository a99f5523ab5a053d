package config

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSteers(t *testing.T) {
	for _, test := range []struct {
		file string
		want []Steer
	}{
		{"", nil},
		{"firewall: manual\nbalance: hash", nil},
		{"firewall: managed\nbalance: hash", nil},
		{"firewall: managed", []Steer{{0, 0, 0x100, 11700}, {0, 1, 0x200, 11701}}},
		{"firewall: managed\nbalance: round_robin\nsteer_mask: 0x80008000", []Steer{{0, 0, 0x8000, 11700}, {0, 1, 0x80000000, 11701}}},
	} {
		c := parseWith(t, "", test.file)
		if diff := cmp.Diff(test.want, c.Steers); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.file, diff)
		}
		for _, s := range test.want {
			if got, ok := c.Steer(s.Policy, s.Uplink); !ok || got != s {
				t.Errorf("%s: Steer(%d, %d) = %v, %t", test.file, s.Policy, s.Uplink, got, ok)
			}
		}
		if s, ok := c.Steer(0, NoUplink); ok {
			t.Errorf("%s: Steer(0, none) = %v", test.file, s)
		}
	}
}

// TestSteersOfUngrouped: a line that carries no new connections has no turn.
func TestSteersOfUngrouped(t *testing.T) {
	const file = "uplinks: [{interface: eth1, type: dhcp}, {interface: eth2, type: dhcp, priority_group: 2}]\n" +
		"downlinks: {lan: eth0}\ntests: {ips: 1.1.1.1}\nfirewall: managed\n"
	if diff := cmp.Diff([]Steer{{0, 1, 0x100, 11700}}, mustParse(t, "test.conf", []byte(file)).Steers); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestManySteers: each of the largest number of uplinks has a mark and a table of its own, within the mask.
func TestManySteers(t *testing.T) {
	c := mustParse(t, "many.conf", many(MaxUplinks, "firewall: managed\n"))
	marks, tables := map[uint32]bool{}, map[uint32]bool{}
	for _, s := range c.Steers {
		marks[s.Mark], tables[s.Table] = true, true
		if s.Mark == 0 || s.Mark&^c.Numbers.SteerMask != 0 || s.Mark&c.Numbers.Mask != 0 {
			t.Errorf("steer of uplink %d has the mark %#x", s.Uplink, s.Mark)
		}
	}
	if len(marks) != MaxUplinks || len(tables) != MaxUplinks {
		t.Errorf("%d marks and %d tables for %d uplinks", len(marks), len(tables), MaxUplinks)
	}
}

func TestSpread(t *testing.T) {
	for _, mask := range []uint32{0x1, 0xff003f00, 0xffffffff, 0xaaaaaaaa, 0x80000001} {
		seen := map[uint32]bool{}
		for n := range uint32(min(1<<bits.OnesCount32(mask), 1<<10)) {
			laid := spread(n, mask)
			if laid&^mask != 0 || seen[laid] || bits.OnesCount32(laid) != bits.OnesCount32(n) {
				t.Fatalf("spread(%#x, %#x) = %#x", n, mask, laid)
			}
			seen[laid] = true
		}
	}
}

func TestClampMSS(t *testing.T) {
	for _, firewall := range []Firewall{FirewallManual, FirewallManaged} {
		file := strings.Replace(base, "{interface: eth2,", "{interface: eth2, mss_clamp: yes,", 1)
		c, problems := Parse("test.conf", fmt.Appendf(nil, file, "", "firewall: "+firewall.String()))
		if warned := len(problems) > 0; c == nil || warned != (firewall == FirewallManual) {
			t.Fatalf("%s: config %t, problems %v", firewall, c != nil, problems)
		}
		if c.Firewall != firewall || c.Uplinks[0].ClampMSS || c.Uplinks[1].ClampMSS != (firewall == FirewallManaged) {
			t.Errorf("%s: %s, clamped %t and %t", firewall, c.Firewall, c.Uplinks[0].ClampMSS, c.Uplinks[1].ClampMSS)
		}
	}
}
