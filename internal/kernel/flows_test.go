package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
)

// tracking makes the kernel of a namespace track connections, of both families.
func (w *realWorld) tracking() {
	w.t.Helper()
	for _, f := range []string{"ip", "ip6"} {
		if err := w.ns.Run("nft", "add table "+f+" t; add chain "+f+" t c { type filter hook input priority 0; }; add rule "+f+" t c ct state new counter"); err != nil {
			w.t.Fatal(err)
		}
	}
}

// flows makes tracked UDP connections with the marks, in turn.
func (w *realWorld) flows(f config.Family, count int, marks ...uint32) {
	w.t.Helper()
	var lines strings.Builder
	for i := range count {
		source, peer := fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), "192.0.2.1"
		if f == config.IPv6 {
			source, peer = fmt.Sprintf("2001:db8::%x", i+1), "2001:db8:1::1"
		}
		fmt.Fprintf(&lines, "-I -p udp -s %s -d %s --sport 1000 --dport 53 -t 300 -m %d\n", source, peer, marks[i%len(marks)])
	}
	file := filepath.Join(w.t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ns.Run("conntrack", "-R", file); err != nil {
		w.t.Fatal(err)
	}
}

var flowMark = regexp.MustCompile(`mark=(\d+)`)

// tracked counts the tracked connections by mark.
func (w *realWorld) tracked(f config.Family) map[uint32]int {
	w.t.Helper()
	out, err := w.ns.Output("conntrack", "-L", "-f", strings.ToLower(f.String()))
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[uint32]int{}
	for _, m := range flowMark.FindAllStringSubmatch(out, -1) {
		n, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			w.t.Fatal(err)
		}
		count[uint32(n)]++
	}
	return count
}

func TestRelease(t *testing.T) {
	for _, tt := range []struct {
		name       string
		marks      []uint32
		mark, mask uint32
		released   int
		left       map[uint32]int
	}{
		{"masked", []uint32{1, 2, 3}, 2, 0xff, 10, map[uint32]int{1: 10, 3: 10}},
		{"whole words, as the original's rules", []uint32{1, 2, 3}, 2, 0xffffffff, 10, map[uint32]int{1: 10, 3: 10}},
		{"whole words only", []uint32{2, 0xab0002, 0}, 2, 0xffffffff, 10, map[uint32]int{0xab0002: 10, 0: 10}},
		{"foreign bits", []uint32{0xab0001, 0xab0002, 0xab0000}, 2, 0xff, 10, map[uint32]int{0xab0001: 10, 0xab0000: 10}},
		{"marks with bits in common", []uint32{1, 2, 3}, 1, 0xff, 10, map[uint32]int{2: 10, 3: 10}},
		{"high bits", []uint32{0x80000000, 0x81000000, 0x100}, 0x81000000, 0xff000000, 10, map[uint32]int{0x80000000: 10, 0x100: 10}},
		{"nobody has the mark", []uint32{1, 2, 0}, 7, 0xff, 0, map[uint32]int{1: 10, 2: 10, 0: 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, family := range both {
				w := newRealWorld(t, fmt.Sprintf("flows%d", i))
				w.tracking()
				other := both[1-i]
				w.flows(family, 30, tt.marks...)
				w.flows(other, 30, tt.marks...)
				before := w.tracked(other)
				released, err := w.Release(context.Background(), family, tt.mark, tt.mask)
				if err != nil || released != tt.released {
					t.Errorf("%s: released %d (%v), want %d", family, released, err, tt.released)
				}
				if diff := gocmp.Diff(tt.left, w.tracked(family)); diff != "" {
					t.Errorf("%s: connections by mark (-want +got):\n%s", family, diff)
				}
				if diff := gocmp.Diff(before, w.tracked(other)); diff != "" {
					t.Errorf("%s was touched (-before +after):\n%s", other, diff)
				}
			}
		})
	}
}

func TestReleaseOfNothing(t *testing.T) {
	w := newRealWorld(t, "nothing")
	for _, tracking := range []bool{false, true} {
		if tracking {
			w.tracking()
		}
		if n, err := w.Release(context.Background(), config.IPv4, 1, 0xff); n != 0 || err != nil {
			t.Errorf("tracking %v: released %d, %v", tracking, n, err)
		}
	}
	w.flows(config.IPv4, 3, 0)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.Release(ended, config.IPv4, 1, 0xff); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	for _, f := range [][2]uint32{{0, 0}, {0, 0xff}, {1, 0}, {0x101, 0xff}} {
		if _, err := w.Release(context.Background(), config.IPv4, f[0], f[1]); err == nil {
			t.Errorf("mark %#x/%#x was accepted", f[0], f[1])
		}
	}
	if _, err := w.Release(context.Background(), 0, 1, 0xff); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("no family: %v", err)
	}
	if diff := gocmp.Diff(map[uint32]int{0: 3}, w.tracked(config.IPv4)); diff != "" {
		t.Errorf("connections by mark (-want +got):\n%s", diff)
	}
}

// TestReleaseMany holds that the loop does not stand still while a busy router's connections go. The kernel
// does it in the caller's own time, so processor time is measured, which a busy machine does not add to.
func TestReleaseMany(t *testing.T) {
	w := newRealWorld(t, "many")
	w.tracking()
	const count = 20000
	best := time.Hour
	for range 3 {
		w.flows(config.IPv4, count, 1, 2, 3)
		began := cpu(t)
		released, err := w.Release(context.Background(), config.IPv4, 2, 0xff)
		took := cpu(t) - began
		if err != nil || released < count/3-1 || released > count/3+1 {
			t.Fatalf("released %d of %d, %v", released, count, err)
		}
		best = min(best, took)
		t.Logf("released %d of %d in %v of processor time", released, count, took)
		if err := w.ns.Do(func() error { return exec.Command("conntrack", "-F").Run() }); err != nil {
			t.Fatal(err)
		}
	}
	if best > 50*time.Millisecond {
		t.Errorf("took %v of processor time at best, want at most 50 ms", best)
	}
}
