package kernel_test

import (
	"fmt"
	"strings"
	"testing"

	"ftr/internal/config"
)

// TestNeighbourTable holds that limits and counts are those that ip(8) shows; counts of the whole machine may grow meanwhile.
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
		var full uint64
		if _, text, found := strings.Cut(out, "table_fulls "); !found {
			t.Fatalf("%s: ip shows no count:\n%s", f, out)
		} else if _, err := fmt.Sscan(text, &full); err != nil {
			t.Fatal(err)
		}
		if later, err := w.NeighbourTable(f); err != nil || table.Full > full || later.Full < full {
			t.Errorf("%s: it was full %d times, ip shows %d, then %d times (%v)", f, table.Full, full, later.Full, err)
		}
	}
}
