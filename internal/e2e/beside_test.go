package e2e_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/lab"
	"ftr/internal/netns"
)

// A managed firewall lives beside those who filter: their rules decide what passes, and count it; what passes is
// dealt, translated once and answered as without them; and of their rules not a byte changes.
func TestManagedBeside(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		nft, iptables []string
		special       func(*bed)
	}{
		"docker":    {[]string{"filter.nft"}, []string{"docker.rules"}, (*bed).besideDocker},
		"tailscale": {[]string{"filter.nft"}, []string{"docker.rules", "tailscale.rules"}, (*bed).besideTailscale},
		"firewalld": {[]string{"firewalld.nft"}, nil, (*bed).besideFirewalld},
		"ufw":       {nil, []string{"ufw.rules"}, func(*bed) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, text := newManagedBed(t, three())
			for _, file := range test.nft {
				b.must(b.Router.Input(fixture(t, "beside/"+file), "nft", "-f", "-"))
			}
			for _, file := range test.iptables {
				b.must(b.Router.Input(fixture(t, "beside/"+file), "iptables-nft-restore", "--noflush"))
			}
			b.must(b.WriteConfig(text))
			b.must(b.ApplyRules(t.Context()))
			before := b.others()
			b.begin(text)
			b.passes()
			test.special(b)
			b.must(b.Cut(0))
			b.uses(soon, 1, 2)
			b.spread("a line is dead", 20)
			b.must(b.Restore(0))
			b.uses(20*time.Second, 0, 1, 2)
			b.exactly("the line is back", 30, []int{10, 10, 10})
			b.noLeaks()
			if after := b.others(); after != before {
				t.Errorf("others' rules changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// passes opens connections of each kind, and wants each rule that allows or refuses them to have counted them.
func (b *bed) passes() {
	b.t.Helper()
	counts := map[string]int{"to the internet": 30, "web on the router": 30, "forwarded ports": 30, "forwarded answers": 60, "answers": 60, "closed port": 1}
	begun := map[string]int{}
	for rule := range counts {
		begun[rule] = b.counted(rule)
	}
	b.exactly("beside others", 30, []int{10, 10, 10})
	b.incoming("beside others", 10)
	if conn, err := b.dialIn(0, 9999); err == nil {
		conn.Close()
		b.t.Error("a closed port is open")
	}
	own, err := b.Router.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[0], lab.WebPort), "/")
	b.must(err)
	own.Body.Close()
	for rule, least := range counts {
		if n := b.counted(rule) - begun[rule]; n < least {
			b.t.Errorf("the rule %q counted %d packets, want at least %d", rule, n, least)
		}
	}
}

// dialIn opens a connection from the internet to a port of a line's address.
func (b *bed) dialIn(line int, port uint16) (net.Conn, error) {
	b.t.Helper()
	var conn net.Conn
	return conn, b.Internet.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", netip.AddrPortFrom(b.Plan.Lines[line].Address, port).String(), 3*time.Second)
		return err
	})
}

var packetCount = regexp.MustCompile(`counter packets (\d+) |^\[(\d+):`)

// counted returns the packets that others' rules with these words have counted.
func (b *bed) counted(words string) (sum int) {
	b.t.Helper()
	rules, err := b.Router.Output("nft", "list", "ruleset")
	b.must(err)
	saved, err := b.Router.Output("iptables-nft-save", "-c")
	b.must(err)
	found := false
	for line := range strings.Lines(rules + saved) {
		m := packetCount.FindStringSubmatch(strings.TrimSpace(line))
		if !strings.Contains(line, words) || m == nil {
			continue
		}
		n, err := strconv.Atoi(m[1] + m[2])
		b.must(err)
		sum, found = sum+n, true
	}
	if !found {
		b.t.Fatalf("no rule with a counter has %q:\n%s%s", words, rules, saved)
	}
	return sum
}

// others are all tables but the program's, without what changes with traffic.
func (b *bed) others() string {
	b.t.Helper()
	tables, err := b.Router.Output("nft", "list", "tables")
	b.must(err)
	var all strings.Builder
	for table := range strings.Lines(tables) {
		fields := strings.Fields(table) // table FAMILY NAME
		if strings.HasPrefix(fields[2], "ftr") {
			continue
		}
		out, err := b.Router.Output("nft", "--stateless", "list", "table", fields[1], fields[2])
		b.must(err)
		all.WriteString(out)
	}
	return all.String()
}

// join adds a machine behind an interface of the router.
func (b *bed) join(name, device string, router, address netip.Prefix) *lab.Host {
	b.t.Helper()
	ns, err := netns.New(strings.ReplaceAll(strings.ToLower(b.t.Name()), "/", ".") + "." + name)
	b.must(err)
	b.t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			b.t.Error(err)
		}
	})
	b.must(b.Router.Batch("link add "+device+" type veth peer name eth0 netns "+ns.Name,
		fmt.Sprintf("addr add %s dev %s", router, device), "link set "+device+" up"))
	b.must(ns.Batch(fmt.Sprintf("addr add %s dev eth0", address), "link set eth0 up",
		fmt.Sprintf("route add default via %s dev eth0 onlink", router.Addr())))
	// Until the kernel has seen the carrier it drops what is sent.
	b.wait("the carrier of "+device, soon, func() bool {
		inside, err := ns.Output("ip", "link", "show", "eth0")
		b.must(err)
		return strings.Contains(inside, " state UP ") && strings.Contains(b.ip("link", "show", device), " state UP ")
	})
	return &lab.Host{NS: ns}
}

// dealt opens two connections for each line from a machine, and wants each line to carry two.
func (b *bed) dealt(what string, from *lab.Host) {
	b.t.Helper()
	var lines []string
	for range 2 * len(b.Plan.Lines) {
		answer, err := from.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[0], lab.WebPort), "/")
		b.must(err)
		answer.Body.Close()
		lines = append(lines, answer.Header.Get(lab.LineHeader))
	}
	slices.Sort(lines)
	if want := []string{"1", "1", "2", "2", "3", "3"}; !slices.Equal(lines, want) {
		b.t.Errorf("%s: connections leave by the lines %v, want %v", what, lines, want)
	}
}

// besideDocker has a container that publishes a port: it answers through the line that was called, also to the LAN,
// and what it opens itself is dealt and translated once.
func (b *bed) besideDocker() {
	b.t.Helper()
	container := b.join("container", "docker0", netip.MustParsePrefix("172.17.0.1/16"), netip.MustParsePrefix("172.17.0.2/16"))
	listener, err := container.Listen(b.t.Context(), "tcp4", "172.17.0.2:80")
	b.must(err)
	b.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("container"))
			conn.Close()
		}
	}()
	answers := func(what string, conn net.Conn, err error) {
		b.t.Helper()
		b.must(err)
		defer conn.Close()
		b.must(conn.SetDeadline(time.Now().Add(3 * time.Second)))
		text := make([]byte, 9)
		if n, err := conn.Read(text); string(text[:n]) != "container" {
			b.t.Errorf("%s: the published port answers %q, %v", what, text[:n], err)
		}
	}
	for range 5 {
		for i, line := range b.Plan.Lines {
			conn, err := b.dialIn(i, 8081)
			answers("from the internet on "+line.Interface, conn, err)
		}
	}
	conn, err := b.Client.Dial(b.t.Context(), "tcp4", netip.AddrPortFrom(b.Plan.Lines[1].Address, 8081).String())
	answers("from the LAN", conn, err)
	b.dealt("a container", container)
	for words, least := range map[string]int{
		"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT": 16, "-A DOCKER -d 172.17.0.2/32 ! -i docker0": 15,
		"-A FORWARD -i docker0 ! -o docker0 -j ACCEPT": 6,
	} {
		if n := b.counted(words); n < least {
			b.t.Errorf("%s counted %d packets, want at least %d", words, n, least)
		}
	}
	if n := b.counted("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"); n > 0 {
		b.t.Errorf("Docker translated %d connections that were translated already", n)
	}
}

// besideTailscale has a peer whose exit node is this router, and a daemon that marks what it sends: both are dealt,
// and keep their bits. The rule that leads such packets on is the one that docs/operations.md tells.
func (b *bed) besideTailscale() {
	b.t.Helper()
	peer := b.join("peer", "tailscale0", netip.MustParsePrefix("100.101.102.103/32"), netip.MustParsePrefix("100.101.102.104/32"))
	b.must(b.Router.Batch("route add 100.101.102.104 dev tailscale0 table 52",
		"rule add priority 5205 fwmark 0x80000/0xff0000 goto 19999",
		"rule add priority 5210 fwmark 0x80000/0xff0000 lookup main", "rule add priority 5230 fwmark 0x80000/0xff0000 lookup default",
		"rule add priority 5250 fwmark 0x80000/0xff0000 unreachable", "rule add priority 5270 lookup 52"))
	b.must(b.Router.Input(`table inet watch {
	chain forward { type filter hook postrouting priority 300; oifname "wan*" meta mark & 0xff0000 == 0x40000 counter comment "peer's bits"; }
	chain own { type filter hook postrouting priority 301; oifname "wan*" udp dport 3478 meta mark & 0xff0000 == 0x80000 counter comment "own bits"; }
}
`, "nft", "-f", "-"))
	b.dealt("a peer", peer)
	server, err := b.Internet.ListenPacket(b.t.Context(), "udp4", netip.AddrPortFrom(b.Plan.Servers[0], 3478).String())
	b.must(err)
	b.t.Cleanup(func() { server.Close() })
	const count = 12
	for i := range count {
		b.marked(server, i)
	}
	if n := b.counted("own bits"); n != 2*count {
		b.t.Errorf("%d packets that Tailscale's daemon sent kept its bits, want %d", n, 2*count)
	}
	if n := b.counted("peer's bits"); n < 6 {
		b.t.Errorf("%d packets of a peer kept Tailscale's bits", n)
	}
	b.must(b.Router.Run("nft", "delete table inet watch"))
	if n := b.counted("-A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE"); n > 0 {
		b.t.Errorf("Tailscale translated %d connections that were translated already", n)
	}
}

// marked sends two packets with the mark of Tailscale's daemon over one socket, each after an answer to the one before.
func (b *bed) marked(server net.PacketConn, i int) {
	b.t.Helper()
	conn, err := b.Router.Dial(b.t.Context(), "udp4", server.LocalAddr().String())
	b.must(err)
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	b.must(err)
	b.must(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0x80000) }))
	b.must(err)
	var first net.Addr
	for packet := range 2 {
		deadline := time.Now().Add(3 * time.Second)
		_, err := conn.Write([]byte("stun"))
		b.must(err)
		b.must(server.SetReadDeadline(deadline))
		_, from, err := server.ReadFrom(make([]byte, 16))
		if err != nil {
			b.t.Fatalf("packet %d of socket %d, from %s: %v", packet, i, conn.LocalAddr(), err)
		}
		if packet > 0 && from.String() != first.String() {
			b.t.Errorf("socket %d is seen as %s and then as %s", i, first, from)
		}
		first = from
		_, err = server.WriteTo([]byte("answer"), from)
		b.must(err)
		b.must(conn.SetReadDeadline(deadline))
		_, err = conn.Read(make([]byte, 16))
		b.must(err)
	}
}

// besideFirewalld has a port that firewalld forwards; its masquerading finds nothing to do.
func (b *bed) besideFirewalld() {
	b.t.Helper()
	for i := range b.Plan.Lines {
		conn, err := b.dialIn(i, 8082)
		b.must(err)
		conn.Close()
	}
	if n := b.counted(`comment "forwarded port"`); n < len(b.Plan.Lines) {
		b.t.Errorf("firewalld forwarded %d connections, want %d", n, len(b.Plan.Lines))
	}
	if n := b.counted("masqueraded again"); n > 0 {
		b.t.Errorf("firewalld translated %d connections that were translated already", n)
	}
}
