package kernel_test

import (
	"fmt"
	"strings"
	"testing"

	"ftr/internal/config"
)

// TestNeighbourTable holds that the limits are those that ip(8) shows.
func TestNeighbourTable(t *testing.T) {
	w := newRealWorld(t, "neighbours")
	w.script("link add w0 type veth peer name w1") // has settings of its own
	for f, name := range map[config.Family]string{config.IPv4: "arp_cache", config.IPv6: "ndisc_cache"} {
		table, err := w.NeighbourTable(f)
		if err != nil {
			t.Fatal(err)
		}
		out, err := w.ns.Output("ip", "-s", "ntable", "show", "name", name)
		if want := fmt.Sprintf(" thresh3 %d ", table.Limit); err != nil || table.Limit == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: got %+v, and ip shows %v:\n%s", f, table, err, out)
		}
	}
}
