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
		{"firewall: managed\nbalance: round_robin\nsteer_mask: 0x80018000", []Steer{{0, 0, 0x10000, 11700}, {0, 1, 0x18000, 11701}}},
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

// TestSteersKeepTheirPlaces: what a mark and a table mean does not change when policies come, go or change places, or
// when a line is added, so that nothing goes astray while a reload changes one after the other.
func TestSteersKeepTheirPlaces(t *testing.T) {
	policies := []string{"- {name: a, protocol: icmp, uplinks: [eth1, eth2], sticky: source}\n", "- {name: b, protocol: udp, uplinks: [eth2]}\n", "- {name: c, protocol: tcp, uplinks: [eth2, eth1]}\n"}
	means := map[uint32]string{}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1}, {2}, {1, 0}, {0, 2}} {
		for lines := 3; lines <= 5; lines++ {
			file := string(many(lines, "firewall: managed\npolicies:\n"))
			for _, i := range order {
				file += policies[i]
			}
			c := mustParse(t, "test.conf", []byte(file))
			tables := map[uint32]bool{}
			for _, s := range c.Steers {
				if s.Policy == 0 {
					continue
				}
				name := fmt.Sprint(c.Policies[s.Policy-1].Name, s.Uplink, s.Table)
				if means[s.Mark] == "" {
					means[s.Mark] = name
				}
				if means[s.Mark] != name || tables[s.Table] {
					t.Errorf("%d lines, %v: mark %#x was that of %s and is that of %s", lines, order, s.Mark, means[s.Mark], name)
				}
				tables[s.Table] = true
			}
		}
	}
	if len(means) != 7 {
		t.Errorf("%d marks for 7 steers", len(means))
	}
}

// TestSteersInAFewBits: where there is little room, places follow one another.
func TestSteersInAFewBits(t *testing.T) {
	c := mustParse(t, "test.conf", many(2, "firewall: managed\nsteer_mask: 0x700\npolicies:\n- {name: a, uplinks: [eth0, eth1], sticky: source}\n"))
	// 0x200 is what the mask leaves of the mark of WireGuard's own packets.
	want := []Steer{{0, 0, 0x100, 11700}, {0, 1, 0x300, 11701}, {1, NoUplink, 0x400, 11702}, {1, 0, 0x500, 11703}, {1, 1, 0x600, 11704}}
	if diff := cmp.Diff(want, c.Steers); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestCrowdedSteers: as many policies as there may be have marks and tables of their own.
func TestCrowdedSteers(t *testing.T) {
	var text strings.Builder
	text.WriteString("firewall: managed\npolicies:\n")
	for i := range MaxPolicies {
		fmt.Fprintf(&text, "- {name: p%d, protocol: tcp, uplinks: [eth1]}\n", i)
	}
	c := mustParse(t, "test.conf", many(2, text.String()))
	marks, tables := map[uint32]bool{}, map[uint32]bool{}
	for _, s := range c.Steers {
		marks[s.Mark], tables[s.Table] = true, true
	}
	if len(marks) != MaxPolicies+2 || len(tables) != MaxPolicies+2 {
		t.Errorf("%d marks and %d tables", len(marks), len(tables))
	}
}
