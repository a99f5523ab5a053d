package firewall_test

import (
	"net/netip"
	"regexp"
	"strconv"
	"testing"
)

// Bits that other software uses: in the marks of connections and of packets.
const (
	foreignConn   = 0x00ab0000
	foreignPacket = 0x05000000
	foreignBits   = "0x00ff0000"
)

var conntrackEntry = regexp.MustCompile(`src=\S+ dst=\S+ .*src=\S+ dst=(\S+) .*mark=(\d+)`)

// foreign: marks of connections hold the line under the mask and other software's bits beside it,
// after the first packet and after many.
func (b *bed) foreign(t *testing.T) {
	var open []*conn
	for range 20 {
		open = append(open, b.mustDial(t, "", internet+":80"))
	}
	for range 2 {
		out, err := b.router.Output("conntrack", "-L", "-p", "tcp", "--orig-src", "192.168.1.10", "--orig-dst", internet, "--dport", "80")
		if err != nil {
			t.Fatal(err)
		}
		entries := conntrackEntry.FindAllStringSubmatch(out, -1)
		if len(entries) < len(open) {
			t.Fatalf("%d connections open, conntrack shows:\n%s", len(open), out)
		}
		for _, e := range entries {
			got, err := strconv.ParseUint(e[2], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			i := b.lineOf(netip.MustParseAddr(e[1]))
			if want := uint64(foreignConn) | uint64(b.cfg.Uplinks[i].Mark); i < 0 || got != want {
				t.Errorf("mark %#x, want %#x: %s", got, want, e[0])
			}
		}
		for _, c := range open {
			if err := c.talk(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
