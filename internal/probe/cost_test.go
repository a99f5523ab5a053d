package probe_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ftr/internal/netns"
)

// counted reads what an interface has sent and received, with its Ethernet headers.
func counted(t *testing.T, device string) (bytes int) {
	t.Helper()
	for _, name := range []string{"tx_bytes", "rx_bytes"} {
		b, err := os.ReadFile("/sys/class/net/" + device + "/statistics/" + name)
		check(t, err)
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		check(t, err)
		bytes += n
	}
	return bytes
}

// What an idle line costs: an echo and its answer, as the interface counts them, and in 30 days.
func TestCost(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	const ethernet, month = 14, 30 * 24 * time.Hour
	for i, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		fix(t, isp, f)
		want := []int{2 * (ethernet + 30), 2 * (ethernet + 50)}[i]
		const probes = 10
		// Multicast reports of the kernel's own may be counted too: not in each of many attempts.
		eventually(t, fmt.Sprintf("%d bytes for each %s probe", want, f.name), func() bool {
			before := counted(t, device(1))
			for range probes {
				if _, err := ask(p, timeout, device(1), f.source(1), f.target); err != nil {
					t.Fatal(err)
				}
			}
			return counted(t, device(1))-before == probes*want
		})
		wire := func(interval time.Duration) int { return int(month/interval) * want }
		ip := func(interval time.Duration) int { return int(month/interval) * (want - 2*ethernet) }
		t.Logf("%s: %d bytes of frames, %d of IP; in 30 days: 1/s %d MB of frames, each 4 s %d MB of IP",
			f.name, want, want-2*ethernet, wire(time.Second)/1e6, ip(4*time.Second)/1e6)
		// IPv6's longer header allows the same only at longer intervals.
		frames, metered := []time.Duration{time.Second, 1250 * time.Millisecond}[i], []time.Duration{4 * time.Second, 5 * time.Second}[i]
		if got := wire(frames); got > 300e6 {
			t.Errorf("%s each %v: %d bytes of frames a month", f.name, frames, got)
		}
		if got := ip(metered); got > 60e6 {
			t.Errorf("%s each %v: %d bytes of IP a month", f.name, metered, got)
		}
	}
}

// fix keeps both ends from asking for each other in between.
func fix(t *testing.T, isp *netns.NS, f family) {
	t.Helper()
	ours, err := os.ReadFile("/sys/class/net/" + device(1) + "/address")
	check(t, err)
	link, err := isp.Output("ip", "-br", "link", "show", "dev", device(1))
	check(t, err)
	check(t, isp.Run("ip", "neigh", "replace", f.source(1).String(), "lladdr", strings.TrimSpace(string(ours)), "dev", device(1), "nud", "permanent"))
	check(t, netns.Run("ip", "neigh", "replace", f.neighbour(1).String(), "lladdr", strings.Fields(link)[2], "dev", device(1), "nud", "permanent"))
}
