package kernel

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// protocols6 are the protocols of IPv6 default routes in main that are looked for: of the kernel, the
// administrator, router advertisements, DHCP clients, keepalived, this program, and FRR's static
// routes. Those of routing daemons are left out, since they hold a full table.
var protocols6 = []uint8{
	unix.RTPROT_REDIRECT, unix.RTPROT_KERNEL, unix.RTPROT_BOOT, unix.RTPROT_STATIC, unix.RTPROT_RA,
	unix.RTPROT_DHCP, unix.RTPROT_KEEPALIVED, routing.RouteProtocol, 196,
}

// defaults returns the default routes in main. A router may hold a full BGP table there, a million
// routes, and this is asked after every event, while the kernel has no filter for "default routes".
//
//   - IPv4 tables are tries that the kernel dumps in the order of addresses (leaf_walk_rcu in
//     net/ipv4/fib_trie.c; the dump is resumed by address, so the order is part of how it works):
//     the default routes, of any protocol, come first, and the rest is never asked for.
//   - IPv6 tables come in an order that puts the default routes last. There the kernel selects by
//     protocol, and only what is usual for default routes crosses to us.
func (k *Kernel) defaults(f config.Family, n names) ([]routing.Route, error) {
	if f == config.IPv4 {
		return k.defaults4(n)
	}
	var defaults []routing.Route
	for _, p := range protocols6 {
		routes, err := k.routes(f, routeFilter{table: unix.RT_TABLE_MAIN, protocol: p}, n)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.IsDefault() {
				defaults = append(defaults, r)
			}
		}
	}
	slices.SortStableFunc(defaults, func(a, b routing.Route) int { return cmp.Compare(a.Metric, b.Metric) })
	return defaults, nil
}

// defaults4 begins to dump main and hangs up after the default routes; the socket is its own, since
// the rest of the dump dies with it.
func (k *Kernel) defaults4(n names) (defaults []routing.Route, err error) {
	defer func() {
		if err != nil {
			defaults, err = nil, fmt.Errorf("list IPv4 default routes of main: %w", explain(err))
		}
	}()
	conn, err := k.dial(0)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	b, err := encodeFilter(config.IPv4, routeFilter{table: unix.RT_TABLE_MAIN})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Send(request(unix.RTM_GETROUTE, netlink.Dump, b)); err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, messageBuffer)
	for more := true; more; {
		datagram, err := receive(raw, buffer)
		if err != nil {
			return nil, err
		}
		var found []routing.Route
		if found, more, err = firstDefaults(datagram, n); err != nil {
			return nil, err
		}
		defaults = append(defaults, found...)
	}
	return defaults, nil
}

// receive reads one datagram.
func receive(raw syscall.RawConn, buffer []byte) (datagram []byte, err error) {
	var size int
	waitErr := raw.Read(func(fd uintptr) bool {
		size, _, err = unix.Recvfrom(int(fd), buffer, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if waitErr != nil {
		return nil, waitErr
	}
	return buffer[:max(size, 0)], err
}

// firstDefaults returns the default routes at the beginning of a part of a dump; more is false once a
// route with another address was met, or the end.
func firstDefaults(datagram []byte, n names) (defaults []routing.Route, more bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return nil, false, err
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return defaults, false, nil
		case unix.NLMSG_ERROR:
			return nil, false, dumpError(m.Data)
		case unix.RTM_NEWROUTE:
			r, cloned, err := decodeRoute(m.Data, n)
			if err != nil {
				return nil, false, err
			}
			if !r.Destination.Addr().IsUnspecified() {
				return defaults, false, nil
			}
			// 0.0.0.0/1 and the like, which VPNs use, stand among the default routes.
			if !cloned && r.IsDefault() {
				defaults = append(defaults, r)
			}
		}
	}
	return defaults, true, nil
}

// dumpError returns the errno of a struct nlmsgerr (netlink(7)).
func dumpError(b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	if code := int32(binary.NativeEndian.Uint32(b)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}
