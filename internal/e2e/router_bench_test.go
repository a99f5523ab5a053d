//go:build bench

package e2e_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/kernel"
	"ftr/internal/netns"
	"ftr/internal/routing"
)

const (
	forwardFlows   = 64
	forwardPairs   = 30
	forwardSlice   = 50 * time.Millisecond
	forwardPayload = 18 // the smallest Ethernet frame
)

// What lies beyond the interfaces of this test's routers is not there: its Ethernet address is nobody's, so
// that the other end of the wire drops what it gets at once.
const nobody = "02:00:00:00:00:99"

// TestBenchRouter measures what a managed firewall costs the router alone: small datagrams of 64 flows, forwarded
// with all rules, routes and tables that the daemon makes, beside a router that does plain source NAT over the
// same lines. One thread puts packets on the wire, and the kernel forwards in it; nobody receives them, so the
// whole time is the router's. Both routers get the same packets in turn, in short slices, so that what else the
// machine does falls on both. TestBenchForwarding measures the same between sockets.
func TestBenchRouter(t *testing.T) {
	for _, lines := range []int{3, 64} {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			plain := newAlone(t, "plain", lines)
			plain.plainSNAT("main")
			rules := newAlone(t, "rules", lines)
			rules.plainSNAT("100")
			rules.must(rules.router.Batch("rule add priority 19999 lookup main suppress_prefixlength 0", "rule add priority 20000 lookup 100"))
			managed := newAlone(t, "managed", lines)
			managed.daemonState()
			report := func(name string, a, b *alone) {
				wall, cpu := comparePairs(t, a, b)
				fmt.Printf("router alone, %d lines, %s: %s of plain; by processor time %s\n", lines, name, wall, cpu)
			}
			report("plain again (noise)", plain, plain)
			report("two rules more", plain, rules)
			report("managed", plain, managed)
		})
	}
}

// alone is a router with a network inside, whose packets this test makes, and lines.
type alone struct {
	t              *testing.T
	lines          int
	client, router *netns.NS
	socket         int
	messages       []message
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	sent   uint32
	_      uint32
}

func newAlone(t *testing.T, name string, lines int) *alone {
	f := &alone{t: t, lines: lines, client: forwardSpace(t, name+"-client"), router: forwardSpace(t, name)}
	sink := forwardSpace(t, name+"-sink")
	commands := []string{
		"link add lan0 type veth peer name eth0 netns " + f.client.Name,
		"link set lan0 up", "addr add 10.0.0.1/24 dev lan0",
	}
	for i := range lines {
		commands = append(commands,
			fmt.Sprintf("link add wan%d type veth peer name line%[1]d netns %s", i, sink.Name),
			fmt.Sprintf("link set wan%d up", i),
			fmt.Sprintf("addr add %s/24 dev wan%d", forwardAddress(i), i),
			fmt.Sprintf("neigh replace 100.64.%d.1 lladdr %s dev wan%[1]d nud permanent", i, nobody))
	}
	f.must(f.router.Batch(commands...))
	var ends []string
	for i := range lines {
		ends = append(ends, fmt.Sprintf("link set line%d up", i))
	}
	f.must(sink.Batch(ends...))
	f.must(f.client.Batch("link set eth0 up"))
	f.must(f.router.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	}))
	f.must(f.prepare())
	t.Cleanup(func() { unix.Close(f.socket) })
	return f
}

func forwardSpace(t *testing.T, name string) *netns.NS {
	t.Helper()
	ns, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func forwardAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{100, 64, byte(i), 2}) }

func (f *alone) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// plainSNAT spreads connections by the kernel's hash, with a route of a table, and translates their addresses.
func (f *alone) plainSNAT(table string) {
	var hops, names []string
	for i := range f.lines {
		hops = append(hops, fmt.Sprintf("nexthop via 100.64.%d.1 dev wan%[1]d weight %d", i, i%3+1))
		names = append(names, fmt.Sprintf("%q : %s", fmt.Sprintf("wan%d", i), forwardAddress(i)))
	}
	f.must(f.router.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/fib_multipath_hash_policy", []byte("1"), 0o644)
	}))
	f.must(f.router.Batch("route add table " + table + " default " + strings.Join(hops, " ")))
	f.load("table ip plain {\n\tchain leave {\n\t\ttype nat hook postrouting priority 100;\n" +
		"\t\tsnat to oifname map { " + strings.Join(names, ", ") + " }\n\t}\n}\n")
}

// daemonState makes the state that the daemon makes for lines that are all well.
func (f *alone) daemonState() {
	var text strings.Builder
	text.WriteString("firewall: managed\ndownlinks: {lan: lan0}\nbase_priority: 20000\nuplinks:\n")
	for i := range f.lines {
		fmt.Fprintf(&text, "- {interface: wan%d, type: static, ip: %s, gateway: 100.64.%[1]d.1, weight: %[3]d, priority_group: 1}\n",
			i, forwardAddress(i), i%3+1)
	}
	text.WriteString("tests: {interval: 1, ips: [198.51.100.1], required_successful: 1}\n")
	cfg, problems := config.Parse("bench", []byte(text.String()))
	if cfg == nil {
		f.t.Fatal(problems)
	}
	k, err := kernel.Open(kernel.Options{NetNS: f.router.FD()})
	f.must(err)
	defer k.Close()
	var obs routing.Observation
	var paths []routing.Path
	var reports []health.Report
	var selection routing.Selection
	// The kernel tells of new interfaces that they are up once a second, all at once.
	for end := time.Now().Add(10 * time.Second); len(selection.Members) < f.lines; {
		if time.Now().After(end) {
			f.t.Fatalf("selected %d of %d lines", len(selection.Members), f.lines)
		}
		obs, err = k.Observe(f.t.Context(), routing.ScopeOf(cfg))
		f.must(err)
		paths = routing.Resolve(cfg, &obs)
		reports = make([]health.Report, len(paths))
		selection = routing.Select(cfg, config.IPv4, paths, reports, nil)
	}
	want := routing.Want(cfg, &obs, paths, []routing.Selection{selection})
	for _, step := range routing.Plan(cfg, obs.Have, want) {
		f.must(k.Apply(f.t.Context(), step))
	}
	var turns []firewall.Turn
	for _, m := range routing.Deal(cfg, paths, reports, selection) {
		turns = append(turns, firewall.Turn{Family: config.IPv4, Uplink: m.Uplink, Weight: m.Weight})
	}
	f.load(firewall.Managed(cfg, turns).String())
}

func (f *alone) load(text string) {
	f.t.Helper()
	f.must(f.router.Do(func() error { return loadText(text) }))
}

// prepare opens the socket that sends, and makes the packets.
func (f *alone) prepare() error {
	var gateway, own net.HardwareAddr
	if err := f.router.Do(func() error {
		i, err := net.InterfaceByName("lan0")
		if err == nil {
			gateway = i.HardwareAddr
		}
		return err
	}); err != nil {
		return err
	}
	if err := f.client.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		own = i.HardwareAddr
		if f.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(f.socket, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return err
		}
		return unix.Bind(f.socket, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: i.Index}) // IPv4, in network order
	}); err != nil {
		return err
	}
	f.messages = make([]message, forwardFlows)
	for i := range f.messages {
		frame := datagram(own, gateway, uint16(10000+i))
		m := &f.messages[i].header
		m.Iov, m.Iovlen = &unix.Iovec{Base: &frame[0], Len: uint64(len(frame))}, 1
	}
	return nil
}

// datagram is an Ethernet frame from 10.0.0.2 to 198.51.100.1, without checksum of UDP.
func datagram(from, to net.HardwareAddr, port uint16) []byte {
	ip := make([]byte, 28+forwardPayload)
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{10, 0, 0, 2, 198, 51, 100, 1})
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum&0xffff+sum>>16))
	binary.BigEndian.PutUint16(ip[20:], port)
	binary.BigEndian.PutUint16(ip[22:], 5001)
	binary.BigEndian.PutUint16(ip[24:], 8+forwardPayload)
	return slices.Concat(to, from, []byte{8, 0}, ip)
}

// send sends one packet of each flow.
func (f *alone) send() error {
	for at := 0; at < len(f.messages); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(f.socket), uintptr(unsafe.Pointer(&f.messages[at])),
			uintptr(len(f.messages)-at), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		at += int(n)
	}
	return nil
}

// rates are packets per second, and per second of the sending thread's own time.
type rates struct{ wall, cpu float64 }

// slice sends for a while. Not one packet may be lost: what is not forwarded costs less.
func (f *alone) slice() (r rates, err error) {
	before, err := f.forwarded()
	if err != nil {
		return r, err
	}
	var cpu0, cpu1 unix.Timespec
	begin, sent := time.Now(), 0
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu0); err != nil {
		return r, err
	}
	for time.Since(begin) < forwardSlice {
		for range 8 {
			if err := f.send(); err != nil {
				return r, err
			}
			sent += forwardFlows
		}
	}
	took := time.Since(begin)
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu1); err != nil {
		return r, err
	}
	after, err := f.forwarded()
	if err != nil {
		return r, err
	}
	if lost := sent - int(after-before); lost > sent/1000 {
		return r, fmt.Errorf("%s forwarded %d of %d packets", f.router.Name, after-before, sent)
	}
	return rates{float64(sent) / took.Seconds(), float64(sent) / (float64(cpu1.Nano()-cpu0.Nano()) / 1e9)}, nil
}

// forwarded is how many packets have left on all lines.
func (f *alone) forwarded() (total uint64, err error) {
	err = f.router.Do(func() error {
		file, err := os.Open("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		defer file.Close()
		for s := bufio.NewScanner(file); s.Scan(); {
			name, figures, _ := strings.Cut(strings.TrimSpace(s.Text()), ":")
			if !strings.HasPrefix(name, "wan") {
				continue
			}
			var n uint64
			if _, err := fmt.Sscan(strings.Fields(figures)[9], &n); err != nil {
				return err
			}
			total += n
		}
		return nil
	})
	return total, err
}

// quartiles say how the ratios of the pairs are spread.
type quartiles []float64

func (q quartiles) String() string {
	slices.Sort(q)
	at := func(f float64) float64 { return q[int(f*float64(len(q)-1))] }
	return fmt.Sprintf("%.3f (quartiles %.3f to %.3f)", at(0.5), at(0.25), at(0.75))
}

// comparePairs measures b relative to a.
func comparePairs(t *testing.T, a, b *alone) (wall, cpu quartiles) {
	t.Helper()
	sum := 0.0
	for i := range forwardPairs + 2 {
		first, second := a, b
		if i%2 == 1 {
			first, second = b, a
		}
		one, err := first.slice()
		if err != nil {
			t.Fatal(err)
		}
		two, err := second.slice()
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			one, two = two, one
		}
		if i < 2 { // connections begin
			continue
		}
		sum += one.wall
		wall, cpu = append(wall, two.wall/one.wall), append(cpu, two.cpu/one.cpu)
	}
	t.Logf("plain: %.0f packets/s", sum/forwardPairs)
	return wall, cpu
}

// loadText gives text to nft(8) in the namespace of the calling thread.
func loadText(text string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}
