package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// Bits that other software uses: in the marks of connections and of packets.
const (
	foreignConn   = 0x00ab0000
	foreignPacket = 0x05000000
	foreignBits   = "0x00ff0000"
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

// loadLate loads the rules while there are connections that know no marks: they stay where they are.
func (b *bed) loadLate(t *testing.T, variant string) {
	rules := merged(t, b.cfg)
	_, unmarking, _ := strings.Cut(rules, "\n*nat\n")
	b.load(variant, "*nat\n"+unmarking)
	b.serve(b.internet, internet+":8080")
	var open []*conn
	for range 20 {
		open = append(open, b.mustDial(t, "", internet+":8080"))
	}
	b.load(variant, rules)
	b.talkThrough(t, open, []int{0, 1, 2}, []int{0}, []int{1}, []int{0, 1, 2})
	b.noLeaks(t)
}

// talkThrough changes the selection and wants all connections to go on each time.
func (b *bed) talkThrough(t *testing.T, open []*conn, selections ...[]int) {
	t.Helper()
	for _, selection := range selections {
		b.selects(selection...)
		for _, c := range open {
			if err := c.talk(); err != nil {
				t.Fatalf("selection %v: a connection with the address %s broke: %v", selection, c.seen, err)
			}
		}
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

// ownInside: the router's own connections from an inside address keep the line that they began on.
func (b *bed) ownInside(t *testing.T) {
	var open []*conn
	for range 20 {
		c, err := dial(b.router, routerLAN, internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		open = append(open, c)
	}
	b.talkThrough(t, open, []int{0}, []int{2}, []int{0, 1, 2})
	b.noLeaks(t)
}

// selectionChanges: connections that exist stay where they are, UDP without an answer too; new ones
// go to what is selected.
func (b *bed) selectionChanges(t *testing.T) {
	var open []*conn
	for range 30 {
		open = append(open, b.mustDial(t, "", internet+":80"))
		c, err := dial(b.router, "", internet+":80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		open = append(open, c)
	}
	datagrams := b.datagrams(t)
	for _, selection := range [][]int{{2}, {1}, {0, 1}, {0, 1, 2}} {
		b.talkThrough(t, open, selection)
		datagrams(selection)
		if c := b.mustDial(t, "", internet+":80"); len(selection) == 1 && b.lineOf(c.seen.Addr()) != selection[0] {
			t.Errorf("selection %v: a new connection used %s", selection, c.seen)
		}
	}
	b.noLeaks(t)
}

// datagrams opens UDP flows from the client and returns a function that sends one more on each and
// wants it to arrive from the flow's first address.
func (b *bed) datagrams(t *testing.T) func(selection []int) {
	var sink *net.UDPConn
	err := b.internet.Do(func() (err error) {
		sink, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(internet+":53")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	flows, first := make([]net.Conn, 12), make([]netip.AddrPort, 12)
	send := func(selection []int) {
		for i, flow := range flows {
			if _, err := flow.Write([]byte("datagram")); err != nil {
				t.Fatal(err)
			}
			sink.SetReadDeadline(time.Now().Add(3 * time.Second))
			_, from, err := sink.ReadFromUDPAddrPort(make([]byte, 64))
			if err != nil {
				t.Fatalf("selection %v: datagram of flow %s lost: %v", selection, first[i], err)
			}
			if first[i].IsValid() && from != first[i] {
				t.Errorf("selection %v: flow of %s now comes from %s", selection, first[i], from)
			}
			first[i] = from
		}
	}
	for i := range flows {
		err := b.client.Do(func() (err error) {
			flows[i], err = net.Dial("udp4", internet+":53")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { flows[i].Close() })
	}
	send(nil)
	return send
}

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
