package kernel_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

var both = []config.Family{config.IPv4, config.IPv6}

// script runs commands of ip(8), one a line.
func (w *realWorld) script(lines string) {
	w.t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := w.ip(line); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *realWorld) observe(scope routing.Scope) routing.Observation {
	w.t.Helper()
	obs, err := w.Observe(context.Background(), scope)
	if err != nil {
		w.t.Fatal(err)
	}
	return obs
}

// carrier waits until links have a carrier: the kernel tells of it when it finds the time.
func (w *realWorld) carrier(links ...string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		obs := w.observe(routing.Scope{Interfaces: links})
		if len(obs.Links) == len(links) && !slices.ContainsFunc(obs.Links, func(l routing.Link) bool { return !l.Carrier }) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no carrier: %+v", obs.Links)
		}
	}
}

// holdTunnel makes a tunnel device that a process holds, as a PPP daemon does: it has a carrier, and
// its operational state stays unknown.
func holdTunnel(t *testing.T, w *realWorld, name string) {
	t.Helper()
	err := w.ns.Do(func() error {
		file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { file.Close() })
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN)
		return unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, request)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestObserveLinks(t *testing.T) {
	w := newRealWorld(t, "links")
	holdTunnel(t, w, "tun0")
	w.script(`
		link add up0 type veth peer name up0-x
		link set up0-x up
		link set up0 up
		link add down0 type veth peer name down0-x
		link set down0-x up
		link add cut0 type veth peer name cut0-x
		link set cut0 up
		link add base0 type veth peer name base0-x
		link set base0 up
		link add link base0 name low0 type macvlan
		link set low0 up
		link add eth0.100 type veth peer name eth0.100-x
		link set tun0 up
		link add unasked type veth peer name unasked-x
	`)
	w.carrier("up0")
	obs := w.observe(routing.Scope{Interfaces: []string{"up0", "down0", "cut0", "low0", "tun0", "eth0.100", "missing"}})
	got := map[string]string{}
	for _, l := range obs.Links {
		got[l.Name] = fmt.Sprintf("up=%v carrier=%v p2p=%v", l.Up, l.Carrier, l.PointToPoint)
		if l.Index == 0 {
			t.Errorf("%s has no index", l.Name)
		}
	}
	want := map[string]string{
		"up0":      "up=true carrier=true p2p=false",
		"down0":    "up=false carrier=false p2p=false",
		"cut0":     "up=true carrier=false p2p=false",
		"low0":     "up=true carrier=false p2p=false",
		"tun0":     "up=true carrier=true p2p=true",
		"eth0.100": "up=false carrier=false p2p=false",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("links (-want +got):\n%s", d)
	}
}

func TestObserveAddresses(t *testing.T) {
	w := newRealWorld(t, "addresses")
	w.script(`
		link add w0 type veth peer name w0-x
		link set w0 addrgenmode none
		addr add 192.0.2.2/24 dev w0
		addr add 192.0.2.3/24 dev w0
		addr add 198.51.100.2 peer 198.51.100.1/32 dev w0
		addr add 2001:db8::1/64 dev w0 nodad
		addr add 2001:db8::2/64 dev w0 nodad preferred_lft 0
		addr add 2001:db8::3/64 dev w0
		addr add 2001:db8:9::2 peer 2001:db8:9::1/128 dev w0 nodad
		link set w0 up
	`)
	obs := w.observe(routing.Scope{Families: both, Interfaces: []string{"w0"}})
	// IPv6 lists the address added last first.
	want := []routing.Address{
		{Prefix: netip.MustParsePrefix("192.0.2.2/24")},
		{Prefix: netip.MustParsePrefix("198.51.100.2/32"), Peer: netip.MustParseAddr("198.51.100.1")},
		{Prefix: netip.MustParsePrefix("192.0.2.3/24"), Secondary: true},
		{Prefix: netip.MustParsePrefix("2001:db8:9::2/128"), Peer: netip.MustParseAddr("2001:db8:9::1")},
		{Prefix: netip.MustParsePrefix("2001:db8::3/64"), Tentative: true},
		{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Deprecated: true},
		{Prefix: netip.MustParsePrefix("2001:db8::1/64")},
	}
	if d := gocmp.Diff(want, obs.Links[0].Addresses, equal...); d != "" {
		t.Errorf("addresses (-want +got):\n%s", d)
	}
}

// TestObserveForeignRules holds that nothing which we cannot write looks like something that we could.
func TestObserveForeignRules(t *testing.T) {
	w := newRealWorld(t, "rules")
	plain := []string{ // expressible, in the order of their priorities
		"-4 rule add priority 100 from 192.0.2.0/24 lookup 7",
		"-4 rule add priority 101 fwmark 0x10/0xff lookup 300",
		"-4 rule add priority 102 lookup 254 suppress_prefixlength 0",
		"-4 rule add priority 103 fwmark 3 lookup 7",
		"-4 rule add priority 104 iif lo oif eth7 ipproto udp sport 68 lookup 7",
	}
	other := []string{
		"-4 rule add priority 200 to 192.0.2.0/24 lookup 7",
		"-4 rule add priority 200 iif eth7 lookup 7",
		"-4 rule add priority 200 tos 0x10 lookup 7",
		"-4 rule add priority 200 ipproto tcp dport 80 lookup 7",
		"-4 rule add priority 200 sport 1-9 lookup 7",
		"-4 rule add priority 200 uidrange 0-0 lookup 7",
		"-4 rule add priority 200 not from 192.0.2.2 lookup 7",
		"-4 rule add priority 200 tun_id 7 lookup 7",
		"-4 rule add priority 200 suppress_ifgroup 3 lookup 7",
		"-4 rule add priority 200 from 192.0.2.2 blackhole",
		"-4 rule add priority 200 from 192.0.2.2 unreachable",
		"-4 rule add priority 200 goto 300",
		"-4 rule add priority 200 realms 1/2 lookup 7",
		"-6 rule add priority 200 to 2001:db8::/32 lookup 7",
	}
	w.script(strings.Join(append(plain, other...), "\n"))
	var got, gotOther []string
	for _, r := range w.observe(routing.Scope{Families: both}).Have.Rules {
		switch {
		case r.Priority == 200:
			gotOther = append(gotOther, r.String())
			if !r.Other {
				t.Errorf("rule %q looks like one that we could write", r)
			}
		case r.Other:
			t.Errorf("rule %q is only a lookup", r)
		default:
			got = append(got, fmt.Sprintf("%s %s", r.Family, r))
		}
	}
	if len(gotOther) != len(other) {
		t.Errorf("%d of %d foreign rules observed: %q", len(gotOther), len(other), gotOther)
	}
	want := []string{
		"IPv4 from all lookup 255 priority 0 protocol 2",
		"IPv4 from 192.0.2.0/24 lookup 7 priority 100",
		"IPv4 from all fwmark 0x10/0xff lookup 300 priority 101",
		"IPv4 from all lookup 254 suppress_prefixlength 0 priority 102",
		"IPv4 from all fwmark 0x3/0xffffffff lookup 7 priority 103",
		"IPv4 from all iif lo oif eth7 ipproto udp sport 68 lookup 7 priority 104",
		"IPv4 from all lookup 254 priority 32766 protocol 2",
		"IPv4 from all lookup 253 priority 32767 protocol 2",
		"IPv6 from all lookup 255 priority 0 protocol 2",
		"IPv6 from all lookup 254 priority 32766 protocol 2",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

func TestObserveForeignRoutes(t *testing.T) {
	w := newRealWorld(t, "routes")
	w.script(`
		link add w0 type veth peer name w0-x
		link set w0-x up
		link set w0 up
		addr add 192.0.2.2/24 dev w0
		addr add 2001:db8::2/64 dev w0 nodad
		nexthop add id 5 via 192.0.2.1 dev w0
		nexthop add id 6 via 192.0.2.3 dev w0
		nexthop add id 7 group 5/6
	`)
	other := []string{
		"-4 route add blackhole 198.51.100.0/24 table 7",
		"-4 route add prohibit 198.51.100.0/24 table 7 metric 1",
		"-4 route add throw 198.51.100.0/24 table 7 metric 2",
		"-4 route add 198.51.100.0/24 via 192.0.2.1 table 7 tos 0x10",
		"-4 route add 198.51.100.0/24 via 192.0.2.1 table 7 metric 3 mtu 1400",
		"-4 route add 198.51.100.0/24 nhid 5 table 7 metric 4",
		"-4 route add 198.51.100.0/24 nhid 7 table 7 metric 5",
		"-4 route add 198.51.100.0/24 via inet6 2001:db8::1 dev w0 table 7 metric 6",
		"-4 route add 198.51.100.0/24 via 192.0.2.1 realm 5 table 7 metric 7",
		"-4 route add 198.51.100.0/24 table 7 metric 8 nexthop via 192.0.2.1 realm 4 nexthop via 192.0.2.3",
		"-6 route add 2001:db8:5::/48 via 2001:db8::1 table 7 expires 600",
		"-6 route add 2001:db8:5::/48 via 2001:db8::1 table 7 metric 5 pref high",
		"-6 route add 2001:db8:5::/48 from 2001:db8:7::/48 via 2001:db8::1 table 7 metric 6",
	}
	w.script(strings.Join(other, "\n"))
	routes := w.observe(routing.Scope{Families: both, Tables: []uint32{7, 8}}).Have.Routes
	if len(routes) != len(other) {
		t.Errorf("%d of %d foreign routes observed: %v", len(routes), len(other), routes)
	}
	for _, r := range routes {
		if !r.Other || r.Equal(r) {
			t.Errorf("route %q (type %d) looks like one that we could write", r, r.Type)
		}
	}
}

// TestObserveDefaults holds that default routes of any protocol are found among many other routes, and
// tables by the priorities of rules that lead to them.
func TestObserveDefaults(t *testing.T) {
	w := newRealWorld(t, "defaults")
	lines := []string{
		"link add w0 type veth peer name w0-x", "link set w0-x up", "link set w0 up",
		"addr add 192.0.2.2/24 dev w0", "addr add 2001:db8::2/64 dev w0 nodad",
		"route add default via 192.0.2.1 metric 100 proto dhcp",
		"route add default via 192.0.2.1 metric 50 proto bird",
		"route add 0.0.0.0/1 via 192.0.2.1", "route add 128.0.0.0/1 via 192.0.2.1",
		"route add unreachable default metric 4278198272",
		"route add default via 192.0.2.1 table 70",
		"route add default via 192.0.2.1 table 71",
		"rule add from 192.0.2.2 lookup 70 priority 5000",
		"rule add from 192.0.2.2 lookup 71 priority 5001",
	}
	for i := range 5000 {
		lines = append(lines, fmt.Sprintf("route add 10.%d.%d.0/24 via 192.0.2.1 proto bgp", i/250, i%250))
	}
	if err := w.ns.Batch(lines...); err != nil {
		t.Fatal(err)
	}
	w.script(`
		-6 route add default via 2001:db8::1 proto ra metric 1024
		-6 route add default via 2001:db8::1 proto static metric 10
	`)
	obs := w.observe(routing.Scope{Families: both, FirstPriority: 5000, LastPriority: 5000})
	var got []string
	for _, r := range append(obs.Defaults, obs.Have.Routes...) {
		got = append(got, r.String())
	}
	want := []string{
		"default via 192.0.2.1 dev w0 table 254 metric 50 protocol 12",
		"default via 192.0.2.1 dev w0 table 254 metric 100 protocol 16",
		"unreachable default table 254 metric 4278198272 protocol 3",
		"default via 2001:db8::1 dev w0 table 254 metric 10 protocol 4",
		"default via 2001:db8::1 dev w0 table 254 metric 1024 protocol 9",
		"default via 192.0.2.1 dev w0 table 70 protocol 3",
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("defaults and routes (-want +got):\n%s", d)
	}
}
