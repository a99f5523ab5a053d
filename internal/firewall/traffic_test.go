package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

func bedConfig() *config.Config {
	return numbered([]string{"lan0"}, []string{"dmz0"},
		config.Uplink{Interface: "wan0", Name: "one", Weight: 1, Address: netip.AddrFrom4([4]byte{100, 64, 0, 2})},
		config.Uplink{Interface: "wan1", Name: "two", Weight: 1, Type: config.DHCP},
		config.Uplink{Interface: "wan2", Name: "three", Weight: 2, Type: config.PPP})
}

// merged are the generated rules as an administrator uses them: mail forced to line two, the DMZ's
// web server reachable on every line.
func merged(t *testing.T, cfg *config.Config) string {
	text := firewall.Iptables(cfg)
	for example, count := range map[string]int{
		"-A PREROUTING -i lan0 -p tcp --dport 25 -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x2/0xff": 1,
		"-A PREROUTING -d 100.64.0.2 -p tcp --dport 80 -j DNAT":                                               1, "-A PREROUTING -i wan1 -p tcp --dport 80 -j DNAT": 1,
		"-A PREROUTING -i wan2 -p tcp --dport 80 -j DNAT": 1,
	} {
		if got := strings.Count(text, "\n#"+example); got != count {
			t.Fatalf("%d examples %q, want %d", got, example, count)
		}
		text = strings.Replace(text, "\n#"+example, "\n"+example, 1)
	}
	return text
}

// The generated rules carry real traffic over real lines, with both variants of iptables.
func TestTrafficGenerated(t *testing.T) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			b := newBed(t, bedConfig())
			b.ip(b.router, "addr add 100.64.0.3/24 dev wan0")
			b.loadLate(t, variant)
			b.iptables(variant,
				// Other software's marks, and packets that lost theirs on the way.
				fmt.Sprintf("-t mangle -I PREROUTING -m conntrack --ctstate NEW -j CONNMARK --set-xmark %#x/%s", foreignConn, foreignBits),
				fmt.Sprintf("-t raw -A PREROUTING -j MARK --set-xmark %#x/0x0f000000", foreignPacket),
				fmt.Sprintf("-t mangle -A FORWARD -m mark ! --mark %#x/0x0f000000 -j DROP", foreignPacket),
				// The router's own service also under an inside address.
				"-t nat -A PREROUTING -p tcp --dport 82 -j DNAT --to-destination "+routerLAN+":81")
			b.scenario(t)
			t.Run("incoming, redirected to an inside address", func(t *testing.T) { b.incoming(t, "82", 100) })
			t.Run("incoming to a second address", b.second)
			t.Run("own, bound to an inside address", b.ownInside)
			t.Run("foreign bits", b.foreign)
			t.Run("filter", b.filter)
		})
	}
}

// Rules that the original program generated years ago go on working with the daemon's masked rules,
// at the original's own numbers.
func TestTrafficOriginalRules(t *testing.T) {
	rules, err := os.ReadFile("testdata/original.iptables")
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			cfg := bedConfig()
			cfg.Numbers.BasePriority, cfg.Numbers.DefaultPriority, cfg.Numbers.SuppressPriority = 40000, 40006, 0
			for i := range cfg.Uplinks {
				cfg.Uplinks[i].AddressPriority, cfg.Uplinks[i].MarkPriority = 40000+uint32(i), 40003+uint32(i)
			}
			b := newBed(t, cfg)
			b.load(variant, string(rules))
			b.scenario(t)
		})
	}
}

func (b *bed) load(variant, rules string) {
	b.t.Helper()
	if err := b.router.Do(func() error { return restore(variant, rules) }); err != nil {
		b.t.Fatal(err)
	}
	b.iptables(variant, "-A INPUT -p tcp --dport 81 -j ACCEPT")
}

func (b *bed) iptables(variant string, rules ...string) {
	b.t.Helper()
	for _, r := range rules {
		if err := b.router.Run("/usr/sbin/iptables-"+variant, strings.Fields(r)...); err != nil {
			b.t.Fatal(err)
		}
	}
}

// scenario is what any rules must do that go with the daemon.
func (b *bed) scenario(t *testing.T) {
	b.serve(b.internet, internet+":80")
	b.serve(b.internet, internet+":25")
	b.serve(b.server, ":80")
	b.serve(b.router, ":81")
	t.Run("balance", b.balance)
	t.Run("incoming to the router", func(t *testing.T) { b.incoming(t, "81", 100) })
	t.Run("incoming to the DMZ", func(t *testing.T) { b.incoming(t, "80", 100) })
	t.Run("hairpin", func(t *testing.T) {
		if c := b.mustDial(t, "", b.address(0).String()+":80"); c.seen.Addr().String() != "192.168.1.10" {
			t.Errorf("the server sees %s", c.seen)
		}
	})
	t.Run("forced", b.forced)
	t.Run("own", b.own)
	t.Run("selection changes", b.selectionChanges)
}

// mustDial connects from the LAN client.
func (b *bed) mustDial(t *testing.T, local, remote string) *conn {
	t.Helper()
	c, err := dial(b.client, local, remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// balance wants every line's share of 200 connections near its weight, five standard deviations of
// a random choice at most.
func (b *bed) balance(t *testing.T) {
	const connections, tolerance = 200, 35
	share, weights := make([]int, len(b.cfg.Uplinks)), 0
	for range connections {
		c := b.mustDial(t, "", internet+":80")
		i := b.lineOf(c.seen.Addr())
		if i < 0 {
			t.Fatalf("the internet host sees %s, the address of no line", c.seen)
		}
		share[i]++
	}
	for _, u := range b.cfg.Uplinks {
		weights += u.Weight
	}
	for i, u := range b.cfg.Uplinks {
		want := connections * u.Weight / weights
		if share[i] < want-tolerance || share[i] > want+tolerance {
			t.Errorf("%s carried %d of %d connections, want about %d", u.Interface, share[i], connections, want)
		}
	}
	t.Logf("shares %v", share)
	b.noLeaks(t)
}

// incoming connects from the internet to every line's address. An answer through another line would
// be dropped by its provider.
func (b *bed) incoming(t *testing.T, port string, connections int) {
	for i := range b.cfg.Uplinks {
		for range connections {
			c, err := dial(b.internet, "", net.JoinHostPort(b.address(i).String(), port))
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	b.noLeaks(t)
}

// forced: connections of a kind that is forced to line two use it and nothing else, selected or not.
func (b *bed) forced(t *testing.T) {
	for n := range 40 {
		if n == 20 {
			b.selects(0)
			defer b.selects(0, 1, 2)
		}
		if c := b.mustDial(t, "", internet+":25"); c.seen.Addr() != b.address(1) {
			t.Fatalf("a forced connection used the address %s, want %s", c.seen, b.address(1))
		}
	}
	b.noLeaks(t)
}

// own: the router's own connections are balanced with the right address, and follow an address that
// they are bound to.
func (b *bed) own(t *testing.T) {
	used := map[int]int{}
	for range 40 {
		c, err := dial(b.router, "", internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		used[b.lineOf(c.seen.Addr())]++
		// The port may change, where a connection from the LAN has it already.
		if local := netip.MustParseAddrPort(c.LocalAddr().String()); local.Addr() != c.seen.Addr() {
			t.Errorf("own connection from %s was translated to %s", local, c.seen)
		}
		c.Close()
	}
	if len(used) != 3 {
		t.Errorf("own connections per line: %v, want all lines used", used)
	}
	for i := range b.cfg.Uplinks {
		c, err := dial(b.router, b.address(i).String(), internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		if b.lineOf(c.seen.Addr()) != i {
			t.Errorf("bound to line %d, seen as %s", i, c.seen)
		}
		c.Close()
	}
	b.noLeaks(t)
}

// second: an address that no rule of the routing knows is answered through its line.
func (b *bed) second(t *testing.T) {
	for range 100 {
		c, err := dial(b.internet, "", "100.64.0.3:81")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	b.noLeaks(t)
}
