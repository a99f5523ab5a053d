package probe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"ftr/internal/config"
)

// What counts as an answer to a connection: the target's own word, not that of a router on the way.
func TestTCPAnswers(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	check(t, isp.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"))
	check(t, isp.Batch("addr add 203.0.113.1/24 dev lo", "addr add 2001:db8:9::1/128 dev lo nodad",
		"link add inner type bridge", "link set inner up", "addr add 192.0.2.1/24 dev inner", "addr add 2001:db8:8::1/64 dev inner nodad"))
	check(t, isp.Run("nft", `table inet rules {
		chain in {
			type filter hook input priority 0;
			tcp dport 1001 drop
			tcp dport 1002 reject
			tcp dport 1003 reject with tcp reset
		}
		chain through {
			type filter hook forward priority 0;
			tcp dport 1004 reject
			tcp dport 1005 reject with icmpx admin-prohibited
		}
	}`))
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		accept(t, listen(t, isp, at(f.target, 1000)), func(c net.Conn) { c.Close() })
		beyond := map[string]string{"IPv4": "192.0.2.9", "IPv6": "2001:db8:8::9"}[f.name]
		nowhere := map[string]string{"IPv4": "172.16.0.1", "IPv6": "2001:db8:7::1"}[f.name]
		router := f.neighbour(1).String()
		for _, tt := range []struct {
			what, address string
			port          uint16
			want          string
		}{
			{"open", f.target.String(), 1000, ""},
			{"closed", f.target.String(), 999, ""},
			{"dropped", f.target.String(), 1001, "no answer within 200ms"},
			{"the target refuses by ICMP", f.target.String(), 1002, ""},
			{"the target refuses by RST", f.target.String(), 1003, ""},
			{"a router refuses", beyond, 1004, "port unreachable by " + router},
			{"a router prohibits", beyond, 1005, "administratively prohibited by " + router},
			{"a router knows no way", nowhere, 1000, "network unreachable by " + router},
		} {
			target := config.Target{Method: config.TCP, Address: netip.MustParseAddr(tt.address), Port: tt.port}
			wait := timeout
			if tt.what == "dropped" {
				wait = 200 * time.Millisecond
			}
			_, err := probeBy(p, wait, device(1), f.source(1), target)
			switch {
			case tt.want != "":
				t.Run(f.name+" "+tt.what, func(t *testing.T) { refused(t, err, tt.want) })
			case err != nil:
				t.Errorf("%s %s: %v", f.name, tt.what, err)
			}
		}
	}
}

// A probe a second must leave nothing behind, neither here nor there.
func TestTCPLeavesNoTimeWait(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		ended := make(chan error, 10)
		accept(t, listen(t, isp, at(f.target, 1000)), func(c net.Conn) {
			_, err := c.Read(make([]byte, 1))
			ended <- err
			c.Close()
		})
		for range cap(ended) {
			if _, err := probeBy(p, timeout, device(1), f.source(1), config.Target{Method: config.TCP, Address: f.target, Port: 1000}); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: the connection ended with %v", f.name, err)
			}
		}
	}
	// Only the listening sockets of others could be left here: none at all.
	// The last one may take a moment to go, but not the minute of TIME-WAIT.
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		eventually(t, table+" is empty", func() bool {
			b, err := os.ReadFile(table)
			check(t, err)
			return strings.Count(string(b), "\n") == 1
		})
	}
}

func TestTCPCancelled(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[0]
	answers(t, p, device(1), f.source(1), f.target)
	check(t, isp.Run("nft", `table inet cut { chain in { type filter hook input priority 0; tcp dport 1000 counter drop; }; }`))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := p.Probe(ctx, device(1), f.source(1), config.Target{Method: config.TCP, Address: f.target, Port: 1000}, false)
		result <- err
	}()
	eventually(t, "the probe is on its way", func() bool {
		out, err := isp.Output("nft", "list", "table", "inet", "cut")
		check(t, err)
		return !strings.Contains(out, "packets 0 ")
	})
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
