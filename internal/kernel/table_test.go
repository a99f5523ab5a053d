package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/sim"
)

// managedConfig is a configuration with a managed firewall and so many lines.
func managedConfig(t *testing.T, lines int) *config.Config {
	t.Helper()
	var b strings.Builder
	b.WriteString("uplinks:\n")
	for i := range lines {
		fmt.Fprintf(&b, "- {interface: w%d, type: static, ip: 192.0.2.%d, gateway: 192.0.2.254, priority_group: 1, mss_clamp: yes}\n", i, i+1)
	}
	b.WriteString("downlinks: {lan: lan0}\ntests: {ips: 198.51.100.1}\nfirewall: managed\n")
	cfg, problems := config.Parse("test.conf", []byte(b.String()))
	if cfg == nil {
		t.Fatal(problems)
	}
	return cfg
}

// managedTable is a table that deals to the first lines of a configuration, and has a set that traffic fills.
func managedTable(cfg *config.Config, dealt int) firewall.Table {
	var turns []firewall.Turn
	for i := range dealt {
		turns = append(turns, firewall.Turn{Family: config.IPv4, Uplink: i, Weight: 1})
	}
	table := firewall.Managed(cfg, turns)
	table.Objects = append(table.Objects, firewall.Object{
		Kind: firewall.Set, Name: "seen", Header: "type ipv4_addr; size 1024; flags dynamic,timeout; timeout 1h;", Dynamic: true,
	})
	return table
}

// firewallWorld keeps the table of a managed firewall.
type firewallWorld interface {
	SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error)
	RemoveFirewall(ctx context.Context) (bool, error)
	FlushRuleset()
}

// TestFirewallAlike holds the real and the simulated kernel to the same story.
func TestFirewallAlike(t *testing.T) {
	cfg := managedConfig(t, 3)
	for name, w := range map[string]firewallWorld{"real": newRealWorld(t, "table"), "sim": sim.New()} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			ended, cancel := context.WithCancel(ctx)
			cancel()
			set := func(want firewall.Table, drift string) {
				t.Helper()
				got, err := w.SetFirewall(ctx, want)
				if err != nil || got.String() != drift {
					t.Errorf("the drift was %q (%v), want %q", got, err, drift)
				}
			}
			if _, err := w.SetFirewall(ended, managedTable(cfg, 3)); !errors.Is(err, context.Canceled) {
				t.Errorf("with an ended context: %v", err)
			}
			if removed, err := w.RemoveFirewall(ctx); removed || err != nil {
				t.Errorf("removed %t where there is none, %v", removed, err)
			}
			set(managedTable(cfg, 3), "it was removed")
			set(managedTable(cfg, 3), "")
			set(managedTable(cfg, 2), "chain deal")
			set(managedTable(cfg, 0), "chain begin, chain deal")
			set(managedTable(cfg, 3), "chain begin, chain deal")
			w.FlushRuleset()
			set(managedTable(cfg, 3), "it was removed")
			for _, there := range []bool{true, false} {
				if removed, err := w.RemoveFirewall(ctx); removed != there || err != nil {
					t.Errorf("removed %t (%v), want %t", removed, err, there)
				}
			}
		})
	}
}

// Whatever others do to the table is found and put back, with what they did to nothing else.
func TestFirewallRepair(t *testing.T) {
	w, want := newRealWorld(t, "repair"), managedTable(managedConfig(t, 3), 3)
	if err := w.ns.Run("nft", "table inet other { chain c { type filter hook input priority 0; counter; }; }"); err != nil {
		t.Fatal(err)
	}
	whole := func() string {
		t.Helper()
		out, err := w.ns.Output("nft", "-n", "list", "ruleset")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if _, err := w.SetFirewall(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := w.ns.Run("nft", "add element inet ftr seen { 10.0.0.1 timeout 30m }"); err != nil {
		t.Fatal(err)
	}
	seen := func() bool { return strings.Contains(whole(), "10.0.0.1 timeout 1800s") }
	for _, test := range []struct {
		do, drift string
		forgets   bool // traffic's own elements go too
	}{
		{do: "add element inet ftr seen { 10.0.0.2 }", drift: ""},
		{do: "flush chain inet ftr line2", drift: "chain line2"},
		{do: "add rule inet ftr leave1 drop", drift: "chain leave1"},
		{do: "insert rule inet ftr restore accept", drift: "chain restore"},
		{do: "add chain inet ftr guest; add rule inet ftr guest drop; add rule inet ftr begin jump guest", drift: "chain begin, chain guest"},
		{do: "add set inet ftr bank { type ipv4_addr; }", drift: "set bank"},
		{do: "flush table inet ftr", drift: "chain sent, chain begun, chain accepted and 20 more"},
		{do: "flush chain inet ftr clamp; delete chain inet ftr clamp", drift: "chain clamp"},
		{do: "delete table inet ftr", drift: "it was removed", forgets: true},
		{do: "chain inet ftr leave { policy drop; }", drift: "chain leave", forgets: true},
		{do: "table inet ftr { flags dormant; }", drift: "the table's flags", forgets: true},
		{do: "add counter inet ftr c", drift: "counter c"},
		{do: "flush table inet ftr; delete counter inet ftr sending-ip-w0", drift: "counter sending-ip-w0, chain sent, chain begun and 21 more"},
		{do: "add quota inet ftr q { over 1 mbytes; }", drift: "quota q", forgets: true},
		{do: "delete set inet ftr seen; add set inet ftr seen { type ipv6_addr; }", drift: "set seen", forgets: true},
		{do: "flush ruleset; table inet other { chain c { type filter hook input priority 0; counter; }; }", drift: "it was removed", forgets: true},
	} {
		before := whole()
		if err := w.ns.Run("nft", test.do); err != nil {
			t.Fatalf("%s: %v", test.do, err)
		}
		got, err := w.SetFirewall(t.Context(), want)
		if err != nil || got.String() != test.drift {
			t.Errorf("%s: the drift was %q (%v), want %q", test.do, got, err, test.drift)
		}
		if again, err := w.SetFirewall(t.Context(), want); err != nil || !again.None() {
			t.Errorf("%s: after the repair the drift is %q, %v", test.do, again, err)
		}
		if seen() == test.forgets {
			t.Errorf("%s: what traffic added is kept: %t\n%s", test.do, seen(), whole())
		}
		if diff := gocmp.Diff(objectsOf(before), objectsOf(whole())); diff != "" {
			t.Errorf("%s (-before +after):\n%s", test.do, diff)
		}
		if test.forgets {
			if err := w.ns.Run("nft", "add element inet ftr seen { 10.0.0.1 timeout 30m }"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// objectsOf parts a ruleset into its objects, without what traffic adds to sets; nft lists them in the order
// of their making.
func objectsOf(ruleset string) map[string]int {
	objects := map[string]int{}
	for _, o := range strings.Split(ruleset, "\n\t}\n") {
		o, _, _ = strings.Cut(o, "\n\t\telements = ")
		objects[strings.Trim(strings.ReplaceAll(o, "table inet ftr {", ""), "{}\n")]++
	}
	delete(objects, "")
	return objects
}

// TestFirewallWithoutNft: the error names what to install, and nothing needs it where there is no table.
func TestFirewallWithoutNft(t *testing.T) {
	w := newRealWorld(t, "without")
	kernel.SetNftPaths(w.Kernel, "no-such-program")
	if _, err := w.SetFirewall(t.Context(), managedTable(managedConfig(t, 1), 1)); !errors.Is(err, kernel.ErrNoNft) || !strings.Contains(err.Error(), "package nftables") {
		t.Errorf("set: %v", err)
	}
	if _, err := w.Ruleset(t.Context()); !errors.Is(err, kernel.ErrNoNft) {
		t.Errorf("ruleset: %v", err)
	}
	if removed, err := w.RemoveFirewall(t.Context()); removed || err != nil {
		t.Errorf("removed %t, %v", removed, err)
	}
	if there, err := w.HasFirewall(); there || err != nil {
		t.Errorf("there is a table: %t, %v", there, err)
	}
}

// A new process finds nothing to do, and a scratch table that a killed one left goes.
func TestFirewallRestart(t *testing.T) {
	w, want := newRealWorld(t, "restart"), managedTable(managedConfig(t, 250), 250)
	if _, err := w.SetFirewall(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := w.ns.Run("nft", "table inet ftr_scratch { chain x { }; }"); err != nil {
		t.Fatal(err)
	}
	if drift, err := open(t, w.ns).SetFirewall(t.Context(), want); err != nil || !drift.None() {
		t.Errorf("a new process finds the drift %q, %v", drift, err)
	}
	tables, err := w.ns.Output("nft", "list", "tables")
	if err != nil || tables != "table inet ftr\n" {
		t.Errorf("tables: %q, %v", tables, err)
	}
}

// Connections get the mark of the line whose address they have, and only bits under the mask change.
func TestMarkConnections(t *testing.T) {
	line1, line2 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, test := range []struct {
		name  string
		again bool
		lines map[netip.Addr]uint32
		want  map[uint32]int
		count int
	}{
		{"unmarked ones", false, map[netip.Addr]uint32{line1: 1, line2: 2}, map[uint32]int{0: 1, 1: 1, 2: 3, 0xab0001: 1}, 4},
		{"all", true, map[netip.Addr]uint32{line1: 1, line2: 2}, map[uint32]int{0: 1, 1: 2, 2: 2, 0xab0001: 1}, 5},
		{"one line", false, map[netip.Addr]uint32{line2: 2}, map[uint32]int{0: 2, 0xab0000: 1, 2: 3}, 2},
		{"no line", false, nil, map[uint32]int{0: 5, 0xab0000: 1, 2: 2}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newRealWorld(t, "marks")
			w.tracking()
			const out = "-I -p udp -s 10.0.0.%d -d 198.51.100.1 --sport 1000 --dport 53 -t 300 -m %d --reply-src 198.51.100.1 --reply-dst %s --reply-port-src 53 --reply-port-dst %d\n"
			var b strings.Builder
			fmt.Fprintf(&b, out, 1, 0, line1, 1001)
			fmt.Fprintf(&b, out, 2, 0xab0000, line1, 1002)
			fmt.Fprintf(&b, out, 3, 0, line2, 1003)
			fmt.Fprintf(&b, out, 4, 2, line1, 1004)         // was another line's
			fmt.Fprintf(&b, out, 5, 0, "203.0.113.9", 1005) // nobody's
			fmt.Fprintf(&b, out, 6, 0, "10.0.0.6", 1000)    // begun without translation, and never answered
			fmt.Fprintf(&b, out, 7, 2, "10.0.0.7", 1000)    // the same, where the line was remembered
			// From outside, to a server behind the second line.
			fmt.Fprintf(&b, "-I -p udp -s 198.51.100.7 -d %s --sport 1000 --dport 80 -t 300 -m 0 --reply-src 10.0.0.9 --reply-dst 198.51.100.7 --reply-port-src 80 --reply-port-dst 1000\n", line2)
			file := filepath.Join(t.TempDir(), "flows")
			if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := w.ns.Run("conntrack", "-R", file); err != nil {
				t.Fatal(err)
			}
			count, err := w.MarkConnections(t.Context(), config.IPv4, firewall.Marking{Mask: 0xff, Lines: test.lines, Again: test.again})
			if err != nil || count.Marked != test.count || count.Forgotten != 0 {
				t.Errorf("%+v (%v), want %d marked", count, err, test.count)
			}
			if diff := gocmp.Diff(test.want, w.tracked(config.IPv4)); diff != "" {
				t.Errorf("connections by mark (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarkConnectionsIPv6(t *testing.T) {
	w := newRealWorld(t, "marks6")
	w.tracking()
	w.flows(config.IPv6, 20, 0)
	w.flows(config.IPv4, 20, 0)
	lines := map[netip.Addr]uint32{netip.MustParseAddr("2001:db8:1::1"): 3}
	if n, err := w.MarkConnections(t.Context(), config.IPv6, firewall.Marking{Mask: 0xff, Lines: lines}); n.Marked != 20 || err != nil {
		t.Errorf("%+v, %v", n, err)
	}
	if diff := gocmp.Diff(map[uint32]int{3: 20}, w.tracked(config.IPv6)); diff != "" {
		t.Errorf("connections by mark (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(map[uint32]int{0: 20}, w.tracked(config.IPv4)); diff != "" {
		t.Errorf("IPv4 connections by mark (-want +got):\n%s", diff)
	}
}

// Whatever their mark, connections that have an answer live on without translation: so it is meant for them. Others
// may have begun while nothing translated.
func TestMarkConnectionsForgets(t *testing.T) {
	for _, test := range []struct {
		family           config.Family
		host, line, peer string
	}{
		{config.IPv4, "10.0.0.%d", "192.0.2.1", "198.51.100.1"},
		{config.IPv6, "fd00::%d", "2001:db8:1::1", "2001:db8:9::1"},
	} {
		t.Run(test.family.String(), func(t *testing.T) {
			w := newRealWorld(t, "forgets")
			w.tracking()
			for mark := range 3 {
				for host, status := range map[string]string{
					fmt.Sprintf(test.host, 1): "-m " + fmt.Sprint(mark),
					fmt.Sprintf(test.host, 2): "-m 2 -u SEEN_REPLY",
					test.line:                 "-m " + fmt.Sprint(mark),
				} {
					words := fmt.Sprintf("-I -p udp -s %s -d %s --sport %d --dport 53 -t 300 %s", host, test.peer, 1000+mark, status)
					if err := w.ns.Run("conntrack", strings.Fields(words)...); err != nil {
						t.Fatal(err)
					}
				}
			}
			lines := map[netip.Addr]uint32{netip.MustParseAddr(test.line): 3}
			if n, err := w.MarkConnections(t.Context(), test.family, firewall.Marking{Mask: 0xff, Lines: lines}); n.Marked != 1 || err != nil {
				t.Errorf("%+v, %v", n, err)
			}
			if diff := gocmp.Diff(map[uint32]int{1: 1, 2: 4, 3: 1}, w.tracked(test.family)); diff != "" {
				t.Errorf("connections by mark (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarkConnectionsRefuses(t *testing.T) {
	w := newRealWorld(t, "refuses")
	for _, mark := range []uint32{0, 0x100} {
		lines := map[netip.Addr]uint32{netip.MustParseAddr("192.0.2.1"): mark}
		if _, err := w.MarkConnections(t.Context(), config.IPv4, firewall.Marking{Mask: 0xff, Lines: lines}); err == nil {
			t.Errorf("mark %#x was accepted", mark)
		}
	}
	if n, err := w.MarkConnections(t.Context(), config.IPv4, firewall.Marking{Mask: 0xff, Lines: map[netip.Addr]uint32{netip.MustParseAddr("192.0.2.1"): 1}}); n != (firewall.Remarked{}) || err != nil {
		t.Errorf("without connections: %+v, %v", n, err)
	}
}
