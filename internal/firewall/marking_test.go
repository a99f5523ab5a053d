package firewall_test

import (
	"net/netip"
	"testing"

	"ftr/internal/firewall"
)

// What becomes of connections, by what is known of them: 192.0.2.1 and 192.0.2.2 are lines with the marks 1 and 2,
// 2001:db8:2::/48 leads to the second; line 5 has mark 1 by now, and that of 6 is gone.
func TestMarkingJudge(t *testing.T) {
	ip := netip.MustParseAddr
	base := firewall.Marking{
		Mask:     0xff,
		Lines:    map[netip.Addr]uint32{ip("192.0.2.1"): 1, ip("192.0.2.2"): 2},
		Networks: map[netip.Prefix]uint32{netip.MustParsePrefix("2001:db8::/32"): 1, netip.MustParsePrefix("2001:db8:2::/48"): 2},
	}
	moved, again := base, base
	moved.Moved = map[uint32]uint32{5: 1, 6: 0, 1: 2, 2: 1}
	again.Again = true
	const far, inside = "198.51.100.7", "10.0.0.7"
	for _, tt := range []struct {
		what              string
		by                firewall.Marking
		mark              uint32
		reached, answered string
		fate              firewall.Fate
		next              uint32
	}{
		{"no mark, translated", base, 0xab00, far, "192.0.2.1", firewall.Marked, 1},
		{"no mark, from outside", base, 0, "192.0.2.2", far, firewall.Marked, 2},
		{"no mark, nobody's", moved, 0, far, inside, firewall.Stay, 0},
		{"no mark, between hosts inside", moved, 0, "2001:db8:2::1", "2001:db8:2::2", firewall.Stay, 0},
		{"a mark, nothing has moved", base, 2, far, "192.0.2.1", firewall.Stay, 2},
		{"another's mark, looked at again", again, 2, far, "192.0.2.1", firewall.Marked, 1},
		{"another's mark, by the network", again, 1, "2001:db9::1", "2001:db8:2::2", firewall.Marked, 2},
		{"by the larger network", again, 2, "2001:db9::1", "2001:db8:3::2", firewall.Marked, 1},
		{"a mark, nobody's, looked at again", again, 2, far, inside, firewall.Stay, 2},
		{"begun after the marks moved", moved, 1, far, "192.0.2.1", firewall.Stay, 1},
		{"its line has another mark", moved, 0xab05, far, inside, firewall.Marked, 1},
		{"its line is gone", moved, 6, far, "192.0.2.6", firewall.Gone, 0},
		{"exchanged, by mark alone", moved, 2, far, "203.0.113.9", firewall.Marked, 1},
		{"a mark that did not move", moved, 3, far, "203.0.113.9", firewall.Stay, 3},
	} {
		fate, next, _ := tt.by.Judge(tt.mark, ip(tt.reached), ip(tt.answered))
		if fate != tt.fate || fate == firewall.Marked && next != tt.next {
			t.Errorf("%s: fate %d, mark %d, want %d, %d", tt.what, fate, next, tt.fate, tt.next)
		}
	}
}
