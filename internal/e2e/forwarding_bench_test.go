//go:build bench

package e2e_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

const (
	forwardRounds = 100
	forwardBurst  = 50 * time.Millisecond
)

// TestBenchForwarding measures what the rules cost each packet: small UDP packets of 64 flows from the
// LAN, as many as one core can send, through routers of the program and through one that does plain
// source NAT over the same lines, in short turns, so that what else the machine does falls on all. One more
// has the least that any policy routing needs, two rules, and shows what the kernel takes for that.
func TestBenchForwarding(t *testing.T) {
	for _, n := range []int{3, 64} {
		managed := func(head func(*bed) string) func(*bed) {
			return func(b *bed) {
				b.must(b.WriteConfig("firewall: managed\n" + head(b) + b.Config()))
				b.must(b.StartDaemon(b.t.Context()))
				b.tabled()
				b.uses(30*time.Second, all(n)...)
			}
		}
		plain := newForwarder(t, n, "plain", func(b *bed) { b.plain("main") })
		rivals := []*forwarder{
			newForwarder(t, n, "again", func(b *bed) { b.plain("main") }),
			newForwarder(t, n, "rules", func(b *bed) {
				b.plain("100")
				b.must(b.Router.Batch("rule add priority 19999 lookup main suppress_prefixlength 0", "rule add priority 20000 lookup 100"))
			}),
			newForwarder(t, n, "manual", func(b *bed) {
				b.start(b.Config())
				b.uses(30*time.Second, all(n)...)
			}),
			newForwarder(t, n, "managed", managed(func(*bed) string { return "" })),
			newForwarder(t, n, "policies", managed(hundredPolicies)),
		}
		turns := append(slices.Clone(rivals), plain)
		for i := range forwardRounds {
			for j := range turns {
				turns[(i+j)%len(turns)].burst(forwardBurst)
			}
		}
		fmt.Printf("forwarding, %d lines: %s of plain source NAT, %d turns of %s\n", n, plain.summary(), forwardRounds, forwardBurst)
		for _, r := range rivals {
			var ratios quartiles
			for i, rate := range r.rates {
				ratios = append(ratios, rate/plain.rates[i])
			}
			fmt.Printf("forwarding, %d lines: %s %s of plain\n", n, r.name, ratios)
		}
	}
}

// summary says how many packets a second went through.
func (f *forwarder) summary() string {
	sorted := slices.Sorted(slices.Values(f.rates))
	return fmt.Sprintf("%.0f packets a second (%.0f to %.0f)", median(sorted), sorted[0], sorted[len(sorted)-1])
}

// hundredPolicies match nothing of what is sent, so that each first packet passes them all.
func hundredPolicies(b *bed) string {
	var text strings.Builder
	text.WriteString("policies:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "- {name: p%d, source: 172.16.%d.0/24, protocol: udp, destination_port: %d, uplinks: [%s, %s], sticky: source}\n",
			i, i, 9, b.Plan.Lines[0].Interface, b.Plan.Lines[1].Interface)
	}
	return text.String()
}

// TestBenchFirstPacket measures what a connection's first packet costs: datagrams that each begin a flow.
func TestBenchFirstPacket(t *testing.T) {
	rivals := []*forwarder{
		newForwarder(t, 3, "plain", func(b *bed) { b.plain("main") }),
		newForwarder(t, 3, "managed", func(b *bed) {
			b.must(b.WriteConfig("firewall: managed\n" + b.Config()))
			b.must(b.StartDaemon(b.t.Context()))
			b.tabled()
			b.uses(30*time.Second, all(3)...)
		}),
		newForwarder(t, 3, "policies", func(b *bed) {
			b.must(b.WriteConfig("firewall: managed\n" + hundredPolicies(b) + b.Config()))
			b.must(b.StartDaemon(b.t.Context()))
			b.tabled()
			b.uses(30*time.Second, all(3)...)
		}),
	}
	for range 15 {
		for _, r := range rivals {
			r.ratios = append(r.ratios, r.beginnings(2000))
		}
	}
	for _, r := range rivals {
		slices.Sort(r.ratios)
		fmt.Printf("first packets: %s %.2f µs (median of %d; %.2f to %.2f)\n", r.name, median(r.ratios), len(r.ratios), r.ratios[0], r.ratios[len(r.ratios)-1])
	}
}

// tabled waits for the managed table.
func (b *bed) tabled() {
	b.wait("the managed table", 30*time.Second, func() bool { return b.rules() != "" })
}

// beginnings sends datagrams to new ports and returns the microseconds that each takes.
func (f *forwarder) beginnings(count int) float64 {
	var sender *net.UDPConn
	f.must(f.Client.Do(func() (err error) {
		sender, err = net.ListenUDP("udp4", nil)
		return err
	}))
	defer sender.Close()
	before, began := f.arrived(), time.Now()
	for i := range count {
		_, err := sender.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(f.Plan.Servers[0], uint16(10000+i)))
		f.must(err)
	}
	took := float64(time.Since(began).Microseconds()) / float64(count)
	if arrived := f.arrived() - before; arrived < uint64(count)*95/100 {
		f.t.Errorf("%s: %d of %d arrived", f.name, arrived, count)
	}
	return took
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

func all(n int) (lines []int) {
	for i := range n {
		lines = append(lines, i)
	}
	return lines
}

// plain makes the router one that spreads connections over all lines by a route of a table and translates
// addresses, and nothing else.
func (b *bed) plain(table string) {
	var hops, names []string
	for _, l := range b.Plan.Lines {
		hops = append(hops, fmt.Sprintf("nexthop via %s dev %s", l.Gateway, l.Interface))
		names = append(names, fmt.Sprintf("%q : %s", l.Interface, l.Address))
	}
	b.must(b.Router.Sysctl("net/ipv4/ip_forward", "1"))
	b.must(b.Router.Sysctl("net/ipv4/fib_multipath_hash_policy", "1"))
	b.must(b.Router.Batch("route add table " + table + " default " + strings.Join(hops, " ")))
	b.must(b.Router.Input("table ip plain {\nchain leave {\ntype nat hook postrouting priority 100;\nsnat to oifname map { "+
		strings.Join(names, ", ")+" }\n}\n}\n", "nft", "-f", "-"))
}

// forwarder is a router under load.
type forwarder struct {
	*bed
	name   string
	flows  []net.Conn
	rates  []float64
	ratios []float64 // to the plain one's rate of the same turn
}

const flows = 64

func newForwarder(t *testing.T, lines int, name string, setUp func(*bed)) *forwarder {
	f := &forwarder{name: name}
	f.bed = newBedNamed(t, fmt.Sprintf("%s%d.", name, lines), make([]lab.Line, lines))
	setUp(f.bed)
	// What nobody reads is dropped at the socket, and counted as arrived at the interfaces.
	sink, err := f.Internet.ListenPacket(t.Context(), "udp4", f.Plan.Servers[0].String()+":9")
	f.must(err)
	t.Cleanup(func() { sink.Close() })
	for range flows {
		flow, err := f.Client.Dial(t.Context(), "udp4", f.Plan.Servers[0].String()+":9")
		f.must(err)
		t.Cleanup(func() { flow.Close() })
		f.flows = append(f.flows, flow)
	}
	f.burst(200 * time.Millisecond)
	f.rates = nil
	return f
}

// burst sends for a while and returns the packets a second that arrived.
func (f *forwarder) burst(d time.Duration) float64 {
	before, began := f.arrived(), time.Now()
	for end := began.Add(d); time.Now().Before(end); {
		for range 16 {
			for _, flow := range f.flows {
				_, err := flow.Write([]byte("x"))
				f.must(err)
			}
		}
	}
	rate := float64(f.arrived()-before) / time.Since(began).Seconds()
	f.rates = append(f.rates, rate)
	return rate
}

// arrived returns how many packets the internet host was given.
func (f *forwarder) arrived() (packets uint64) {
	var text []byte
	f.must(f.Internet.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	}))
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok || !strings.HasPrefix(strings.TrimSpace(name), "isp") {
			continue
		}
		var bytes, n uint64
		_, err := fmt.Sscan(rest, &bytes, &n)
		f.must(err)
		packets += n
	}
	return packets
}
