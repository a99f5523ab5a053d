package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

// Inet6 says how a line gets its IPv6.
type Inet6 uint8

// The kinds of IPv6.
const (
	// NoIPv6: there is none.
	NoIPv6 Inet6 = iota
	// FixedIPv6: the router has a fixed address; the gateway is link-local, as usual.
	FixedIPv6
	// AdvertisedIPv6: address and gateway come from the provider's router advertisements (RFC 4861, RFC 4862).
	AdvertisedIPv6
	// SolicitedIPv6 is AdvertisedIPv6 of a provider that advertises itself only when it is asked to.
	SolicitedIPv6
)

// Addresses of the lab over IPv6 that are the same on every line or host.
var (
	Gateway6   = netip.MustParseAddr("fe80::1") // of every line
	router6    = netip.MustParseAddr("fe80::2") // the router, on every line
	LANRouter6 = netip.MustParsePrefix("fd00:1::1/64")
	LANClient6 = netip.MustParsePrefix("fd00:1::2/64")
)

// advertiseEvery is the time between two advertisements; real providers take minutes.
const advertiseEvery = time.Second

// inet6Plan is the IPv6 of a line.
type inet6Plan struct {
	Address6   netip.Addr   // the router's, on a line with FixedIPv6
	Customer6  netip.Prefix // all that is the customer's: what the provider lets through
	Link6      netip.Prefix // of the line itself
	Delegated6 netip.Prefix // routed to the router
	core6      netip.Addr
	peer6      netip.Addr
}

// planInet6 gives line n (from 1) its addresses: a /48, of which the first /64 is the line and a /52 is
// delegated.
func planInet6(n int) inet6Plan {
	at := func(site, subnet uint16, host byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(site >> 8), byte(site), byte(subnet >> 8), byte(subnet), 15: host})
	}
	site := uint16(n)
	core := func(host byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0xfd, 0xcc, 0, 0, byte(site >> 8), byte(site), 15: host})
	}
	return inet6Plan{
		Address6: at(site, 0, 2), Customer6: netip.PrefixFrom(at(site, 0, 0), 48), Link6: netip.PrefixFrom(at(site, 0, 0), 64),
		Delegated6: netip.PrefixFrom(at(site, 0x1000, 0), 52), core6: core(2), peer6: core(1),
	}
}

// targets6 and servers6 are the internet's hosts.
func targets6() (targets, servers []netip.Addr) {
	for n := byte(1); n <= 6; n++ {
		targets = append(targets, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 15: n}))
		servers = append(servers, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 14: 1, 15: n}))
	}
	return targets, servers
}

// hasInet6 tells whether any line has IPv6.
func (p Plan) hasInet6() bool {
	for _, l := range p.Lines {
		if l.Inet6 != NoIPv6 {
			return true
		}
	}
	return false
}

// connectInet6 gives hosts and lines their IPv6.
func (l *Lab) connectInet6(ctx context.Context) error {
	if !l.Plan.hasInet6() {
		return nil
	}
	var addresses []string
	for _, a := range append(append([]netip.Addr{}, l.Plan.Targets6...), l.Plan.Servers6...) {
		addresses = append(addresses, "addr add "+a.String()+"/128 dev lo")
	}
	err := errors.Join(
		l.Internet.Sysctl("net/ipv6/conf/all/forwarding", "1"),
		l.Internet.Batch(addresses...),
		l.Router.Batch("addr add "+LANRouter6.String()+" dev lan0 nodad"),
		l.Client.Batch("addr add "+LANClient6.String()+" dev eth0 nodad", "route add ::/0 via "+LANRouter6.Addr().String()+" dev eth0"),
	)
	if err != nil {
		return err
	}
	for i, line := range l.Plan.Lines {
		if line.Inet6 == NoIPv6 {
			continue
		}
		if err := l.wireInet6(ctx, i); err != nil {
			return fmt.Errorf("IPv6 of line %d: %w", line.Number, err)
		}
	}
	// The kernel finds no neighbours before its own addresses are known to be no duplicates.
	return l.WaitFor(ctx, "the router's IPv6 addresses to be ready", 10*time.Second, func() (bool, error) {
		out, err := l.Router.Output("ip", "-6", "addr", "show", "tentative")
		return out == "", err
	})
}

func (l *Lab) wireInet6(ctx context.Context, i int) error {
	line, provider := l.Plan.Lines[i], l.Providers[i]
	if line.Kind == PPP {
		return errors.New("dialled lines of the lab have none")
	}
	up := fmt.Sprintf("isp%d", line.Number)
	err := errors.Join(
		provider.Sysctl("net/ipv6/conf/all/forwarding", "1"),
		l.Internet.Batch(
			fmt.Sprintf("addr add %s/64 dev %s nodad", line.peer6, up),
			fmt.Sprintf("route add %s via %s dev %s", line.Customer6, line.core6, up),
		),
		provider.Batch(
			fmt.Sprintf("addr add %s/64 dev %s nodad", line.core6, coreLink),
			fmt.Sprintf("route add ::/0 via %s dev %s", line.peer6, coreLink),
		),
		l.ServeInet6(i),
		provider.nft(fmt.Sprintf(`insert rule inet lab forward iifname "%s" ip6 saddr != %s counter name foreign drop`, customerLink, line.Customer6)),
		l.Router.Batch(fmt.Sprintf("addr add %s/64 dev %s nodad", router6, line.Interface)),
	)
	switch {
	case err != nil:
		return err
	case line.Inet6 == FixedIPv6:
		return l.Router.Batch(fmt.Sprintf("addr add %s/64 dev %s nodad", line.Address6, line.Interface))
	}
	return l.advertise(ctx, i)
}

// ServeInet6 gives the provider's end of line i its addresses, and the route to the customer: the kernel
// takes them away when the interface goes down.
func (l *Lab) ServeInet6(i int) error {
	line := l.Plan.Lines[i]
	if line.Inet6 == NoIPv6 {
		return nil
	}
	return l.Providers[i].Batch(
		fmt.Sprintf("addr replace %s/64 dev %s nodad", Gateway6, customerLink),
		fmt.Sprintf("addr replace %s/64 dev %s nodad", line.Link6.Addr().Next(), customerLink),
		fmt.Sprintf("route replace %s via %s dev %s", line.Delegated6, router6, customerLink),
	)
}

// advertise sends router advertisements on a line until the lab is closed.
func (l *Lab) advertise(ctx context.Context, i int) error {
	var conn *icmp.PacketConn
	err := l.Providers[i].Do(func() (err error) {
		if conn, err = icmp.ListenPacket("ip6:ipv6-icmp", Gateway6.String()+"%"+customerLink); err != nil {
			return err
		}
		device, err := net.InterfaceByName(customerLink)
		if err != nil {
			return err
		}
		p := conn.IPv6PacketConn()
		var filter ipv6.ICMPFilter
		filter.SetAll(true)
		filter.Accept(ipv6.ICMPTypeRouterSolicitation)
		return errors.Join(p.SetMulticastInterface(device), p.SetMulticastHopLimit(255), p.SetHopLimit(255),
			p.SetICMPFilter(&filter), p.JoinGroup(device, &net.IPAddr{IP: net.ParseIP("ff02::2")}))
	})
	if err != nil {
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		return fmt.Errorf("advertise: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.servers.advertisers = append(l.servers.advertisers, stop)
	send := func() {
		// A line without carrier takes none; the next one may be heard again.
		_, _ = conn.WriteTo(advertisement(l.Plan.Lines[i].Link6), &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: customerLink})
	}
	l.servers.done.Go(func() {
		defer conn.Close()
		if l.Plan.Lines[i].Inet6 == SolicitedIPv6 {
			whenAsked(ctx, conn, send)
			return
		}
		tick := time.NewTicker(advertiseEvery)
		defer tick.Stop()
		for {
			send()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return nil
}

// whenAsked answers router solicitations until ctx ends.
func whenAsked(ctx context.Context, conn *icmp.PacketConn, answer func()) {
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	for packet := make([]byte, 1500); ctx.Err() == nil; {
		if _, _, err := conn.ReadFrom(packet); err == nil {
			answer()
		}
	}
}

// advertisement is a router advertisement with one prefix, on the link and for addresses (RFC 4861 §4.2,
// §4.6.2). The kernel fills in the checksum.
func advertisement(prefix netip.Prefix) []byte {
	const lifetime = 7200
	b := []byte{byte(ipv6.ICMPTypeRouterAdvertisement), 0, 0, 0, 64, 0, lifetime >> 8 & 0xff, lifetime & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
	seconds := []byte{0, 0, lifetime >> 8, lifetime & 0xff}
	b = append(b, 3, 4, byte(prefix.Bits()), 0xc0)
	b = append(append(b, seconds...), seconds...)
	address := prefix.Addr().As16()
	return append(append(b, 0, 0, 0, 0), address[:]...)
}

// configInet6 writes the key of a line.
func (l PlanLine) configInet6() string {
	switch l.Inet6 {
	case FixedIPv6:
		return fmt.Sprintf("  ipv6: {ip: %q, gateway: %q}\n", l.Address6, Gateway6)
	case AdvertisedIPv6, SolicitedIPv6:
		return "  ipv6: auto\n"
	case NoIPv6:
	}
	return ""
}

// CutFamily6 drops what the provider of line i would forward of IPv6, both ways. Restore ends it.
func (l *Lab) CutFamily6(i int) error {
	if err := l.known(i); err != nil {
		return err
	}
	l.log.Event(i, "loses its IPv6 silently upstream")
	return l.Providers[i].nft("add rule inet lab impair meta nfproto ipv6 drop")
}

// Selected6 is Selected for IPv6.
func (l *Lab) Selected6() ([]NextHop, error) {
	out, err := l.Router.Output("ip", "-6", "-j", "route", "show", "table", "all", "default")
	if err != nil {
		return nil, err
	}
	return l.Plan.selected(strings.ReplaceAll(out, `"metric":4294967295`, `"metric":2147483647`), strconv.Itoa(baseTable+len(l.Plan.Lines)))
}

// PageFrom asks a web server over a new connection from one of the client's addresses, and returns its page:
// who answers, and the addresses of both ends as the server sees them.
func (l *Lab) PageFrom(ctx context.Context, from netip.Addr, server netip.AddrPort, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := l.Client.DialFrom(ctx, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), "tcp", server.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.String()+"/", nil)
	if err != nil {
		return "", err
	}
	response, err := exchange(conn, request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}
