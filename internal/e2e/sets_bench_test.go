//go:build bench

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBenchSets measures what large sets of prefixes cost: until the table is in force at the first start, until a
// chain that somebody has emptied is back, memory, and the processor's time while nothing happens.
func TestBenchSets(t *testing.T) {
	for _, n := range []int{1000, 10_000, 100_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { benchSet(t, n) })
	}
}

func benchSet(t *testing.T, n int) {
	b, text := newManagedBed(t, three())
	file := filepath.Join(t.TempDir(), "set")
	b.must(os.WriteFile(file, prefixList(n), 0o600))
	began := time.Now()
	b.start(text + fmt.Sprintf("sets: [{name: big, file: %q}]\npolicies: [{name: web, destination: \"@big\", uplinks: %s}]\n", file, b.Plan.Lines[2].Interface))
	listed := func(args ...string) bool {
		out, err := b.Router.Output("nft", args...)
		return err == nil && strings.Contains(out, "ct mark")
	}
	b.wait("the table", time.Minute, func() bool { return listed("-t", "list", "table", "inet", "ftr") })
	inForce := time.Since(began)
	b.wait("the word of the guard", time.Minute, func() bool { return b.Log().Contains("the firewall table is set up", began) })

	began = time.Now()
	b.must(b.Router.Run("nft", "flush chain inet ftr restore"))
	b.wait("the chain", time.Minute, func() bool { return listed("list", "chain", "inet", "ftr", "restore") })
	back := time.Since(began)
	b.pause(5 * time.Second)

	before := b.processorTime()
	b.pause(2 * time.Minute)
	spent := b.processorTime() - before
	t.Logf("%d prefixes: in force %.2f s after the start, a chain is back after %.2f s, %s of memory, %.2f %% of a processor while nothing happens",
		n, inForce.Seconds(), back.Seconds(), b.memory(), 100*spent.Seconds()/120)
}

// prefixList is a file of n prefixes that have gaps between them, since neighbours would become one.
func prefixList(n int) []byte {
	var text strings.Builder
	for i := range n {
		at := 16<<24 + i<<11
		fmt.Fprintf(&text, "%d.%d.%d.%d/22\n", at>>24, at>>16&0xff, at>>8&0xff, at&0xff)
	}
	return []byte(text.String())
}

// processorTime is what the daemon and the programs that it has waited for have used (proc_pid_stat(5)).
func (b *bed) processorTime() time.Duration {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.DaemonPID()))
	b.must(err)
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int
	for _, word := range strings.Fields(rest)[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(word)
		b.must(err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is what the daemon holds of memory, in the kernel's words.
func (b *bed) memory() string {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.DaemonPID()))
	b.must(err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
