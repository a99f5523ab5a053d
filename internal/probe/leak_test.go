package probe_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ftr/internal/config"
	"ftr/internal/netns"
	"ftr/internal/probe"
)

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

// mute makes targets that say nothing, or connect and then say nothing, by every method.
func mute(t *testing.T, isp *netns.NS, f family) []config.Target {
	t.Helper()
	check(t, isp.Run("nft", `add table inet cut; delete table inet cut; table inet cut {
		chain in {
			type filter hook input priority 0;
			icmp type echo-request drop
			icmpv6 type echo-request drop
			tcp dport 2001 drop
		}
	}`))
	listen(t, isp, at(f.target, 2000)) // the backlog accepts
	check(t, isp.Do(func() error {
		c, err := net.ListenPacket("udp", at(f.target, 2000))
		t.Cleanup(func() { check(t, c.Close()) })
		return err
	}))
	return []config.Target{
		config.Echo(f.target),
		{Method: config.TCP, Address: f.target, Port: 2001},
		{Method: config.DNS, Address: f.target, Port: 2000, Name: "example.com"},
		{Method: config.HTTP, Address: f.target, Port: 2000, Path: "/"},
		{Method: config.HTTPS, Address: f.target, Port: 2000, Path: "/"},
		{Method: config.Gateway, Address: f.neighbour(1).Next().Next().Next()}, // nobody
	}
}

// However probes end, nothing is left of them: by time, by cancellation, by Close.
func TestNothingIsLeft(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	var targets []config.Target
	for _, f := range families {
		answers(t, prober(t), device(1), f.source(1), f.target)
	}
	repeat(t, device(1), never)
	for _, f := range families {
		targets = append(targets, mute(t, isp, f)...)
	}
	source := func(target config.Target) family {
		if target.Address.Is4() {
			return families[0]
		}
		return families[1]
	}
	ends := map[string]struct {
		want error
		end  func(*probe.Prober, context.CancelFunc)
	}{
		"time":         {context.DeadlineExceeded, func(*probe.Prober, context.CancelFunc) {}},
		"cancellation": {context.Canceled, func(_ *probe.Prober, cancel context.CancelFunc) { cancel() }},
		"close":        {net.ErrClosed, func(p *probe.Prober, _ context.CancelFunc) { check(t, p.Close()) }},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			goroutines, before := goleak.IgnoreCurrent(), descriptors(t)
			p := probe.New()
			limit := timeout
			if tt.want == context.DeadlineExceeded {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			var group sync.WaitGroup
			for _, target := range targets {
				for range 5 {
					group.Go(func() {
						if _, err := p.Probe(ctx, device(1), source(target).source(1), target, false); !errors.Is(err, tt.want) {
							t.Errorf("%v: %v", target, err)
						}
					})
				}
			}
			eventually(t, "probes are on their way", func() bool {
				return descriptors(t) >= before+5*len(targets)*2/3 || ctx.Err() != nil // a busy machine may not get that far in time
			})
			tt.end(p, cancel)
			group.Wait()
			check(t, p.Close())
			if after := descriptors(t); after > before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
			if err := goleak.Find(goroutines); err != nil {
				t.Error(err)
			}
		})
	}
}

// The interface vanishes under probes that wait: they end, and later ones say what is missing.
func TestInterfaceVanishes(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[0]
	targets := mute(t, isp, f)
	repeat(t, device(1), never)
	before := descriptors(t)
	results := make(chan error, len(targets))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, target := range targets {
		go func() {
			_, err := p.Probe(ctx, device(1), f.source(1), target, false)
			results <- err
		}()
	}
	eventually(t, "probes are on their way", func() bool { return descriptors(t) >= before+len(targets) })
	check(t, netns.Run("ip", "link", "del", device(1)))
	time.AfterFunc(500*time.Millisecond, cancel) // a TCP connection does not notice
	for range targets {
		if err := <-results; err == nil {
			t.Error("an answer through an interface that is gone")
		}
	}
	for _, target := range targets {
		_, err := probeBy(p, timeout, device(1), f.source(1), target)
		refused(t, err, "no such device eth1")
	}
	plug(t, 1, isp)
}

// Many lines and methods at once.
func TestMethodsAtOnce(t *testing.T) {
	const lines = 10
	isp, p := provider(t, "isp"), prober(t)
	honest(t, isp)
	for n := 1; n <= lines; n++ {
		connect(t, n, isp)
	}
	var group sync.WaitGroup
	for n := 1; n <= lines; n++ {
		for _, f := range families {
			answers(t, p, device(n), f.source(n), f.target)
			for _, target := range methods(f, n) {
				group.Go(func() {
					for range 5 {
						if _, err := probeBy(p, timeout, device(n), f.source(n), target); err != nil {
							t.Errorf("line %d, %v: %v", n, target, err)
						}
					}
				})
			}
		}
	}
	group.Wait()
}
