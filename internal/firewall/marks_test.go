package firewall_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ftr/internal/firewall"
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
			got &^= uint64(b.cfg.Numbers.SteerMask) // whether it counts
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

// Packets go through with the mark of their connection's line, and come to the router itself without: what
// it unpacks of them, if it is the end of a tunnel, would inherit it.
func TestMarksAtRouter(t *testing.T) {
	cfg := managed(bedConfig())
	b := newBed(t, cfg)
	const counts = "ct mark & 0xff != 0 meta mark & 0xff != 0 counter name marked_%[1]s\nct mark & 0xff != 0 meta mark & 0xff == 0 counter name bare_%[1]s\n"
	var text strings.Builder
	text.WriteString(firewall.Managed(cfg, turns(cfg)).String() + "table ip watch {\n")
	for _, hook := range []string{"input", "forward"} {
		fmt.Fprintf(&text, "counter marked_%[1]s { }\ncounter bare_%[1]s { }\nchain %[1]s {\ntype filter hook %[1]s priority 0;\n"+counts+"}\n", hook)
	}
	if err := loadNft(b.router, text.String()+"}\n"); err != nil {
		t.Fatal(err)
	}
	b.serve(b.internet, internet+":80")
	b.serve(b.router, ":81")
	b.incoming(t, "81", 20)
	for range 20 {
		if err := b.mustDial(t, "", internet+":80").talk(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"bare_input": true, "marked_input": false, "marked_forward": true} {
		out, err := b.router.Output("nft", "list", "counter", "ip", "watch", name)
		if err != nil {
			t.Fatal(err)
		}
		if seen := !strings.Contains(out, "packets 0 "); seen != want {
			t.Errorf("packets seen: %t, want %t:\n%s", seen, want, out)
		}
	}
}
