package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// The managed table carries real traffic over real lines, beside other software's rules, which it leaves
// as they are.
func TestTrafficManaged(t *testing.T) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			cfg := bedConfig()
			for i := range cfg.Uplinks {
				cfg.Uplinks[i].Weight = i + 1
			}
			managed(cfg)
			cfg.Numbers.SteerMask = 0x3f00
			b := newBed(t, cfg)
			b.others(variant)
			before := b.foreignRules()
			if err := loadNft(b.router, firewall.Managed(cfg, turns(cfg)).String()); err != nil {
				t.Fatal(err)
			}
			b.serve(b.internet, internet+":80")
			b.serve(b.server, ":80")
			b.serve(b.router, ":81")
			t.Run("round robin", b.inTurn)
			t.Run("round robin, datagrams", b.datagramsInTurn)
			t.Run("incoming to the router", func(t *testing.T) { b.incoming(t, "81", 50) })
			t.Run("incoming to the DMZ", func(t *testing.T) { b.incoming(t, "80", 50) })
			t.Run("hairpin", func(t *testing.T) {
				if c := b.mustDial(t, "", b.address(0).String()+":80"); c.seen.Addr().String() != "192.168.1.10" {
					t.Errorf("the server sees %s", c.seen)
				}
			})
			t.Run("own", b.own)
			t.Run("selection changes", b.selectionChanges)
			t.Run("a dead line's turn", b.deadTurn)
			t.Run("foreign bits", b.foreign)
			t.Run("released connections", b.strays)
			if err := loadNft(b.router, firewall.Removal(firewall.ManagedTable)); err != nil {
				t.Fatal(err)
			}
			if after := b.foreignRules(); after != before {
				t.Errorf("other software's rules were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

// The rules for administrators who keep their own firewall do the same but for the dealing.
func TestTrafficGeneratedNftables(t *testing.T) {
	b := newBed(t, bedConfig())
	b.others("nft")
	if err := loadNft(b.router, firewall.Nftables(b.cfg)); err != nil {
		t.Fatal(err)
	}
	b.serve(b.internet, internet+":80")
	b.serve(b.server, ":80")
	b.serve(b.router, ":81")
	t.Run("balance", b.balance)
	t.Run("incoming to the router", func(t *testing.T) { b.incoming(t, "81", 50) })
	t.Run("incoming to the DMZ", func(t *testing.T) { b.incoming(t, "80", 50) })
	t.Run("own", b.own)
	t.Run("selection changes", b.selectionChanges)
	t.Run("foreign bits", b.foreign)
}

// A flow that began while nothing translated it gets no mark, which tells the daemon to forget it; then it is
// translated like any other.
func TestTrafficUntranslated(t *testing.T) {
	cfg := managed(bedConfig())
	b := newBed(t, cfg)
	if err := loadNft(b.router, "table ip tracks {\nchain any {\ntype filter hook forward priority 0;\nct state new accept\n}\n}\n"); err != nil {
		t.Fatal(err)
	}
	var flow net.Conn
	if err := b.client.Do(func() (err error) {
		flow, err = net.Dial("udp4", internet+":5060")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	b.tells(t, flow, 0)
	if err := loadNft(b.router, firewall.Managed(cfg, turns(cfg)).String()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.tells(t, flow, 0)
	}
	if err := b.router.Run("conntrack", "-D", "-p", "udp", "--dport", "5060"); err != nil {
		t.Fatal(err)
	}
	b.tells(t, flow, 1, 2, 3)
}

// tells sends a packet of a flow to port 5060, and wants its connection to have one of the marks then.
func (b *bed) tells(t *testing.T, flow net.Conn, marks ...uint32) {
	t.Helper()
	if _, err := flow.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	out, err := b.router.Output("conntrack", "-L", "-p", "udp", "--dport", "5060")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(out, " mark=")
	var mark uint32
	if _, err := fmt.Sscan(after, &mark); err != nil {
		t.Fatalf("no mark in %q: %v", out, err)
	}
	if !slices.Contains(marks, mark&b.cfg.Numbers.Mask) {
		t.Errorf("the connection has the mark %#x, want one of %v", mark, marks)
	}
}

// others are rules as Docker and Tailscale make them: translation of a service and of what leaves, marks
// of packets and of connections.
func (b *bed) others(variant string) {
	rules := []string{
		fmt.Sprintf("-t mangle -I PREROUTING -m conntrack --ctstate NEW -j CONNMARK --set-xmark %#x/%s", foreignConn, foreignBits),
		fmt.Sprintf("-t raw -A PREROUTING -j MARK --set-xmark %#x/0x0f000000", foreignPacket),
		fmt.Sprintf("-t mangle -A FORWARD -m mark ! --mark %#x/0x0f000000 -j DROP", foreignPacket),
		"-t nat -N DOCKER",
		"-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
		"-t nat -A DOCKER -p tcp --dport 80 -j DNAT --to-destination " + serverDMZ,
		"-t nat -A POSTROUTING -s 192.168.1.0/24 ! -o lan0 -m mark --mark 0x40000/0xff0000 -j MASQUERADE",
	}
	b.iptables(variant, rules...)
}

// foreignRules are all tables but ours, as they are shown.
func (b *bed) foreignRules() string {
	b.t.Helper()
	var all strings.Builder
	for _, variant := range variants {
		out, err := b.router.Output("/usr/sbin/iptables-" + variant + "-save")
		if err != nil {
			b.t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") { // dates and counters
				all.WriteString(line)
			}
		}
	}
	return all.String()
}

// inTurn: of any connections in a row, as many as the weights together, each line gets its weight.
func (b *bed) inTurn(t *testing.T) {
	var order []int
	for range 60 {
		order = append(order, b.lineOf(b.mustDial(t, "", internet+":80").seen.Addr()))
	}
	b.exact(t, order)
	b.noLeaks(t)
}

// datagramsInTurn is the same for flows of UDP.
func (b *bed) datagramsInTurn(t *testing.T) {
	var order []int
	for range 24 {
		order = append(order, b.lineOf(b.datagramFrom(t)))
	}
	b.exact(t, order)
}

// datagramFrom sends a datagram from a new port and returns the address that it arrives from.
func (b *bed) datagramFrom(t *testing.T) netip.Addr {
	t.Helper()
	var sink *net.UDPConn
	var flow net.Conn
	err := b.internet.Do(func() (err error) {
		sink, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(internet+":53")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	err = b.client.Do(func() (err error) {
		flow, err = net.Dial("udp4", internet+":53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flow.Close() })
	if _, err := flow.Write([]byte("datagram")); err != nil {
		t.Fatal(err)
	}
	sink.SetReadDeadline(time.Now().Add(patience))
	_, from, err := sink.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil {
		t.Fatalf("the datagram was lost: %v", err)
	}
	return from.Addr()
}

func (b *bed) exact(t *testing.T, order []int) {
	t.Helper()
	total := 0
	for _, u := range b.cfg.Uplinks {
		total += u.Weight
	}
	for at := range len(order) - total + 1 {
		count := make([]int, len(b.cfg.Uplinks))
		for _, line := range order[at : at+total] {
			count[line]++
		}
		for i, u := range b.cfg.Uplinks {
			if count[i] != u.Weight {
				t.Fatalf("connections %d to %d used the lines %v", at, at+total-1, order[at:at+total])
			}
		}
	}
}

// deadTurn: while a line is not selected its turns go to the others, without a change of the rules.
func (b *bed) deadTurn(t *testing.T) {
	b.selects(0, 1)
	defer b.selects(0, 1, 2)
	used := map[int]int{}
	for range 60 {
		used[b.lineOf(b.mustDial(t, "", internet+":80").seen.Addr())]++
	}
	if used[0] < 10 || used[1] < 20 || used[0]+used[1] != 60 {
		t.Errorf("connections of each line: %v", used)
	}
	b.noLeaks(t)
}

// strays: what is sent on a connection that the router has forgotten does not leave with an inside address.
func (b *bed) strays(t *testing.T) {
	remote, family := internet+":80", "ipv4"
	if b.family == config.IPv6 {
		remote, family = web6(internet6, 80), "ipv6"
	}
	for range 30 {
		c := b.mustDial(t, "", remote)
		if err := b.router.Run("conntrack", "-D", "-f", family, "-p", "tcp", "--orig-port-src", strconv.Itoa(int(c.LocalAddr().(*net.TCPAddr).AddrPort().Port()))); err != nil {
			t.Fatal(err)
		}
		if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil { // closing sends a reset, which begins no connection
			t.Fatal(err)
		}
		c.Close()
	}
	b.noLeaks(t)
}

// The deal is exact for all weights that a short cycle can say, and near for the rest.
func TestManagedDeal(t *testing.T) {
	for name, weights := range map[string][]int{
		"equal": {1, 1, 1}, "1/2/3": {1, 2, 3}, "common divisor": {200, 100}, "one": {7}, "none": {}, "large": {256, 255, 254, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var uplinks []config.Uplink
			for i := range weights {
				uplinks = append(uplinks, config.Uplink{Interface: fmt.Sprintf("wan%d", i)})
			}
			cfg := managed(numbered([]string{"lan0"}, nil, uplinks...))
			var list []firewall.Turn
			for i, w := range weights {
				list = append(list, firewall.Turn{Family: config.IPv4, Uplink: i, Weight: w})
			}
			text := firewall.Managed(cfg, list).String()
			count := make([]int, len(weights))
			for i := range weights {
				count[i] = strings.Count(text, fmt.Sprintf(" : goto steer%d,", i+1)) + strings.Count(text, fmt.Sprintf(" : goto steer%d }", i+1))
			}
			for i := range weights {
				if count[i]*weights[0] != count[0]*weights[i] {
					t.Errorf("turns %v for weights %v", count, weights)
				}
			}
			if dealt := strings.Contains(text, "numgen"); dealt != (len(weights) > 0) {
				t.Errorf("dealt: %t", dealt)
			}
		})
	}
}
