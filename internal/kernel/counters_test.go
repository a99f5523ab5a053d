package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/kernel"
)

// evidence reads a table's counters of w0 in a family.
func (w *realWorld) evidence(table string, f config.Family) health.Packets {
	w.t.Helper()
	counts, err := w.Counters(context.Background(), table, both)
	if err != nil {
		w.t.Fatal(err)
	}
	p, ok := counts[f]["w0"]
	if !ok {
		w.t.Fatalf("no counters of w0 in %s: %v", f, counts)
	}
	return p
}

func (w *realWorld) setEvidence(interfaces ...string) {
	w.t.Helper()
	if err := w.SetEvidence(context.Background(), both, interfaces); err != nil {
		w.t.Fatal(err)
	}
}

// countingFile has the line of peers, whose traffic the managed firewall counts.
const countingFile = `firewall: managed
uplinks: [{interface: w0, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1, ipv6: {ip: "fd00:2::2", gateway: "fd00:2::1"}}]
downlinks: {lan: lan0}
tests: {ips: [192.0.2.1, "fd00:2::1"]}
`

// TestCounters holds that only replies to what was sent through the line count, whatever else comes.
func TestCounters(t *testing.T) {
	p := newPeers(t)
	echo(t, p.outside, "7")
	p.setEvidence("w0", "w1")
	p.counts(firewall.EvidenceTable)
}

// TestCountersManaged holds the table of a managed firewall to the same.
func TestCountersManaged(t *testing.T) {
	p := newPeers(t)
	echo(t, p.outside, "7")
	cfg, problems := config.Parse("test.conf", []byte(countingFile))
	if cfg == nil {
		t.Fatal(problems)
	}
	if _, err := p.SetFirewall(t.Context(), firewall.Managed(cfg, nil)); err != nil {
		t.Fatal(err)
	}
	p.counts(firewall.ManagedTable)
}

// counts has packets of all kinds pass, and holds the counters of a table to what they should show.
func (p *peers) counts(table string) {
	t := p.t
	echo(t, p.client, "7")
	echo(t, p.ns, "7")
	for _, f := range both {
		outside, client, own := "192.0.2.1", "192.168.1.2", "192.0.2.2"
		if f == config.IPv6 {
			outside, client, own = "[fd00:2::1]", "[fd00:1::2]", "[fd00:2::2]"
		}
		// Connections are closed only at the end: what closing sends belongs to no step.
		var established net.Conn
		for _, step := range []struct {
			name string
			do   func()
			want health.Packets
		}{
			{"echoes of others and our own are judged elsewhere", func() {
				ping(t, p.client, f, outside)
				ping(t, p.ns, f, outside)
			}, health.Packets{}},
			{"UDP from inside", func() {
				established = dial(t, p.client, "udp", outside+":7")
				ask(t, established)
			}, health.Packets{Sent: 1, Replied: 1}},
			{"more of it", func() { ask(t, established) }, health.Packets{Sent: 1, Replied: 1}},
			{"with marks of others", func() {
				p.meanwhile(p.ns, "hook prerouting priority -300; meta mark set 0x5000000;", func() { ask(t, established) })
			}, health.Packets{Sent: 1, Replied: 1}},
			{"UDP of the router itself", func() {
				c := dial(t, p.ns, "udp", outside+":7")
				ask(t, c)
				ask(t, c)
			}, health.Packets{Sent: 2, Replied: 2}},
			{"TCP handshake", func() { dial(t, p.client, "tcp", outside+":7") }, health.Packets{Sent: 2, Replied: 1, Opened: 1, Accepted: 1}},
			{"TCP of the router itself", func() { dial(t, p.ns, "tcp", outside+":7") }, health.Packets{Sent: 2, Replied: 1, Opened: 1, Accepted: 1}},
			{"TCP refused", func() {
				err := p.client.Do(func() error { _, err := net.Dial("tcp", outside+":8"); return err })
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Fatal(err)
				}
			}, health.Packets{Sent: 1, Replied: 1, Opened: 1, Accepted: 1}},
			{"TCP silent, and tried again", func() {
				p.meanwhile(p.outside, "hook input"+dropped, func() { p.attempts(f, outside+":10", 2) })
			}, health.Packets{Sent: 2, Opened: 2}},
			{"what a filter keeps from leaving", func() {
				p.meanwhile(p.ns, "hook forward"+dropped, func() {
					p.attempts(f, outside+":11", 2)
					if _, err := dial(t, p.client, "udp", outside+":11").Write([]byte("x")); err != nil {
						t.Fatal(err)
					}
				})
			}, health.Packets{}},
			{"connections from outside", func() {
				ask(t, dial(t, p.outside, "udp", client+":7"))
				ask(t, dial(t, p.outside, "udp", own+":7"))
				dial(t, p.outside, "tcp", client+":7")
			}, health.Packets{}},
			{"an unreachable port is told by ICMP, which is no reply", func() {
				c := dial(t, p.client, "udp", outside+":9")
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				c.SetReadDeadline(time.Now().Add(patience))
				if _, err := c.Read(make([]byte, 9)); !errors.Is(err, unix.ECONNREFUSED) {
					t.Fatal(err)
				}
			}, health.Packets{Sent: 1}},
			{"inside", func() { ask(t, dial(t, p.client, "udp", bracketed(f, "192.168.1.1", "fd00:1::1")+":7")) }, health.Packets{}},
		} {
			t.Run(fmt.Sprint(f, " ", step.name), func(t *testing.T) {
				before := p.evidence(table, f)
				step.do()
				// The last packet of a handshake may still be on its way.
				var got health.Packets
				for deadline := time.Now().Add(patience); ; {
					now := p.evidence(table, f)
					got = health.Packets{Sent: now.Sent - before.Sent, Replied: now.Replied - before.Replied, Opened: now.Opened - before.Opened, Accepted: now.Accepted - before.Accepted}
					if got == step.want || time.Now().After(deadline) {
						break
					}
				}
				if diff := gocmp.Diff(step.want, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func bracketed(f config.Family, four, six string) string {
	if f == config.IPv6 {
		return "[" + six + "]"
	}
	return four
}

// TestEvidenceGone holds that whatever somebody does to the tables is noticed at the next reading, and
// that setting them again makes them whole.
func TestEvidenceGone(t *testing.T) {
	w := newRealWorld(t, "gone")
	for _, commands := range []string{
		"", // never set
		"flush ruleset",
		"flush table ip " + firewall.EvidenceTable,
		"delete table ip6 " + firewall.EvidenceTable,
		"flush chain ip6 " + firewall.EvidenceTable + " arriving",
		"flush chain ip " + firewall.EvidenceTable + " leaving",
		"flush chain ip " + firewall.EvidenceTable + " sent",
	} {
		if commands != "" {
			w.setEvidence("w0", "eth0.100")
			if _, err := w.Counters(context.Background(), firewall.EvidenceTable, both); err != nil {
				t.Fatal(err)
			}
			if err := w.ns.Run("nft", commands); err != nil {
				t.Fatal(err)
			}
		}
		if counts, err := w.Counters(context.Background(), firewall.EvidenceTable, both); !errors.Is(err, firewall.ErrNoEvidence) {
			t.Errorf("after %q: %v, %v", commands, counts, err)
		}
	}
	w.setEvidence("w0")
	counts, err := w.Counters(context.Background(), firewall.EvidenceTable, both)
	want := map[config.Family]map[string]health.Packets{config.IPv4: {"w0": {}}, config.IPv6: {"w0": {}}}
	if diff := gocmp.Diff(want, counts); diff != "" || err != nil {
		t.Errorf("counters (-want +got): %v\n%s", err, diff)
	}
}

func TestRemoveEvidence(t *testing.T) {
	w := newRealWorld(t, "remove")
	if err := w.ns.Run("nft", "add table ip "+firewall.EvidenceTable+"x; add table inet "+firewall.EvidenceTable); err != nil {
		t.Fatal(err)
	}
	before, err := w.ns.Output("nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	w.setEvidence("w0")
	for range 2 {
		if err := w.RemoveEvidence(context.Background()); err != nil {
			t.Fatal(err)
		}
		after, err := w.ns.Output("nft", "list", "ruleset")
		if diff := gocmp.Diff(before, after); diff != "" || err != nil {
			t.Errorf("ruleset (-before +after): %v\n%s", err, diff)
		}
	}
}

// TestNftMissing holds that a host without nft(8) is told apart, and can be cleaned up.
func TestNftMissing(t *testing.T) {
	w := newRealWorld(t, "nft")
	kernel.SetNftPaths(w.Kernel, "/nowhere/nft")
	if err := w.SetEvidence(context.Background(), both, []string{"w0"}); !errors.Is(err, kernel.ErrNoNft) || !errors.Is(err, firewall.ErrUnavailable) {
		t.Errorf("set: %v", err)
	}
	if err := w.RemoveEvidence(context.Background()); err != nil {
		t.Errorf("remove nothing: %v", err)
	}
	kernel.SetNftPaths(w.Kernel, "/bin/false")
	if err := w.SetEvidence(context.Background(), both, []string{"w0"}); err == nil || errors.Is(err, kernel.ErrNoNft) {
		t.Errorf("set with a program that fails: %v", err)
	}
}

// cpu is the processor time that the process has used.
func cpu(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCountersAreCheap holds that reading them twenty times a second costs nearly nothing. Processor
// time is measured, which other programs on the machine do not add to, and the best of several rounds.
func TestCountersAreCheap(t *testing.T) {
	w := newRealWorld(t, "cheap")
	for _, tt := range []struct {
		uplinks int
		most    time.Duration // for one reading; the race detector's own cost is in it
	}{{3, time.Millisecond}, {config.MaxUplinks, 40 * time.Millisecond}} {
		var names []string
		for i := range tt.uplinks {
			names = append(names, fmt.Sprintf("w%d", i))
		}
		if err := w.SetEvidence(context.Background(), both[:1], names); err != nil {
			t.Fatal(err)
		}
		best := time.Hour
		for range 5 {
			const readings = 20
			began := cpu(t)
			for range readings {
				counts, err := w.Counters(context.Background(), firewall.EvidenceTable, both[:1])
				if err != nil || len(counts[config.IPv4]) != tt.uplinks {
					t.Fatalf("%d interfaces, %v", len(counts[config.IPv4]), err)
				}
			}
			best = min(best, (cpu(t)-began)/readings)
		}
		t.Logf("%d uplinks: %v of processor time for a reading, %.3f %% of a core at 20 a second", tt.uplinks, best, best.Seconds()*20*100)
		if best > tt.most {
			t.Errorf("%d uplinks: a reading takes %v of processor time, want at most %v", tt.uplinks, best, tt.most)
		}
	}
}
