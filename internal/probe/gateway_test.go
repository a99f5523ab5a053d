package probe_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/netns"
)

// gatewayOf is the target of line n.
func gatewayOf(f family, n int) config.Target {
	return config.Target{Method: config.Gateway, Address: f.neighbour(n)}
}

// How often the kernel repeats neighbour probes, three times, before it gives up. It asks once a second by
// itself.
const (
	soon  = 50 * time.Millisecond
	never = time.Minute // as seen by these tests
)

// repeat sets how often the kernel repeats neighbour probes.
func repeat(t *testing.T, device string, interval time.Duration) {
	t.Helper()
	for _, f := range []string{"ipv4", "ipv6"} {
		check(t, netns.Run("sysctl", "-qw", fmt.Sprintf("net.%s.neigh.%s.retrans_time_ms=%d", f, device, interval.Milliseconds())))
	}
}

// entry returns the kernel's neighbour entry.
func entry(t *testing.T, f family) string {
	t.Helper()
	out, err := exec.Command("ip", "neigh", "show", f.neighbour(1).String(), "dev", device(1), "nud", "all").Output()
	check(t, err)
	return string(out)
}

// silence takes the provider's addresses on line 1, so that nobody answers to solicitations.
func silence(t *testing.T, ns *netns.NS) {
	t.Helper()
	check(t, ns.Batch("addr del 10.1.0.1/24 dev eth1", "addr del fd00:1::1/64 dev eth1"))
}

func speakAgain(t *testing.T, ns *netns.NS) {
	t.Helper()
	check(t, ns.Batch("addr add 10.1.0.1/24 dev eth1", "addr add fd00:1::1/64 dev eth1 nodad"))
}

// The kernel asks anew each time: an entry that is REACHABLE or STALE proves nothing.
func TestGateway(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	repeat(t, device(1), soon)
	p := prober(t)
	answers(t, p, device(1), families[0].source(1), target4)
	answers(t, p, device(1), families[1].source(1), target6)
	for _, f := range families {
		for _, state := range []string{"none", "reachable", "stale", "probed a moment ago"} {
			switch state {
			case "none":
				check(t, netns.Run("ip", "neigh", "flush", "dev", device(1)))
			case "reachable", "stale":
				fields := strings.Fields(entry(t, f))
				check(t, netns.Run("ip", "neigh", "replace", f.neighbour(1).String(), "lladdr", fields[2], "dev", device(1), "nud", state))
			}
			rtt, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
			if err != nil || rtt <= 0 || rtt > timeout {
				t.Errorf("%s %s: %v, %v", f.name, state, rtt, err)
			}
		}
		if e := entry(t, f); !strings.Contains(e, "REACHABLE") {
			t.Errorf("%s: %s", f.name, e)
		}
	}
	silence(t, isp)
	for _, f := range families {
		_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
		refused(t, err, fmt.Sprintf("gateway %v does not answer on eth1: the kernel gave it up (neighbour FAILED)", f.neighbour(1)))
	}
	speakAgain(t, isp)
	for _, f := range families {
		eventually(t, f.name+" gateway is back", func() bool {
			_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
			return err == nil
		})
	}
	silence(t, isp)
	repeat(t, device(1), never)
	for _, f := range families {
		_, err := probeBy(p, 40*time.Millisecond, device(1), f.source(1), gatewayOf(f, 1))
		refused(t, err, "no answer within 40ms")
	}
}

// Several who wait for one neighbour all learn what became of it.
func TestGatewayAtOnce(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	repeat(t, device(1), soon)
	p := prober(t)
	for _, quiet := range []bool{false, true} {
		if quiet {
			silence(t, isp)
		}
		results := make(chan error, 20)
		for _, f := range families {
			for range 10 {
				go func() {
					_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
					results <- err
				}()
			}
		}
		for range cap(results) {
			err := <-results
			if quiet != (err != nil && strings.Contains(err.Error(), "FAILED")) || !quiet && err != nil {
				t.Errorf("silent %v: %v", quiet, err)
			}
		}
	}
}

// What the administrator fixed stays as it is.
func TestGatewayFixedByHand(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		for _, state := range []string{"permanent", "noarp"} {
			check(t, netns.Run("ip", "neigh", "replace", f.neighbour(1).String(), "lladdr", "02:00:00:00:00:01", "dev", device(1), "nud", state))
			before := entry(t, f)
			_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
			refused(t, err, fmt.Sprintf("the neighbour entry of %v on eth1 is fixed by hand, the kernel does not probe it: delete the entry or choose another method", f.neighbour(1)))
			if after := entry(t, f); after != before || !strings.Contains(after, strings.ToUpper(state)) {
				t.Errorf("%s: before %s, after %s", f.name, before, after)
			}
		}
	}
}

func TestGatewayWithoutNeighbours(t *testing.T) {
	check(t, netns.Run("ip", "tuntap", "add", "tun0", "mode", "tun"))
	t.Cleanup(func() { check(t, netns.Run("ip", "link", "del", "tun0")) })
	check(t, netns.Run("ip", "link", "set", "tun0", "up"))
	p := prober(t)
	for _, f := range families {
		for device, want := range map[string]string{
			"tun0":               "tun0 has no neighbours to probe (a point-to-point link): choose another method",
			"lo":                 "lo has no neighbours to probe (a point-to-point link): choose another method",
			"eth9":               "no such device eth9",
			"averyverylongname0": "no such device averyverylongname0",
		} {
			_, err := probeBy(p, timeout, device, f.source(1), gatewayOf(f, 1))
			refused(t, err, want)
		}
		_, err := probeBy(p, timeout, "tun0", f.source(1), config.Target{Method: config.Gateway})
		refused(t, err, "no gateway is known that could be asked")
	}
}

// The interface goes while the kernel asks.
func TestGatewayInterfaceGone(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for name, change := range map[string][]string{
		"down":    {"link", "set", device(1), "down"},
		"deleted": {"link", "del", device(1)},
	} {
		for _, f := range families {
			t.Run(name+" "+f.name, func(t *testing.T) {
				// The kernel drops what is sent in the first moment of a link.
				eventually(t, "the gateway answers", func() bool {
					_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
					return err == nil
				})
				silence(t, isp)
				repeat(t, device(1), never)
				waiting := make(chan error, 1)
				go func() {
					_, err := probeBy(p, timeout, device(1), f.source(1), gatewayOf(f, 1))
					waiting <- err
				}()
				eventually(t, "the kernel asks", func() bool { return strings.Contains(entry(t, f), "PROBE") })
				check(t, netns.Run("ip", change...))
				refused(t, <-waiting, fmt.Sprintf("the neighbour entry of %v was deleted: is eth1 down or gone?", f.neighbour(1)))
				if name != "deleted" {
					check(t, netns.Run("ip", "link", "del", device(1)))
				}
				plug(t, 1, isp)
			})
		}
	}
}

func TestGatewayCancelled(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[0]
	silence(t, isp)
	repeat(t, device(1), never)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := p.Probe(ctx, device(1), f.source(1), gatewayOf(f, 1), false)
		waiting <- err
	}()
	eventually(t, "the kernel asks", func() bool { return strings.Contains(entry(t, f), "INCOMPLETE") })
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
