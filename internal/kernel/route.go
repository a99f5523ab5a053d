package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// names gives the name of an interface by its index.
type names map[int]string

func namesOf(links []routing.Link) names {
	n := make(names, len(links))
	for _, l := range links {
		n[l.Index] = l.Name
	}
	return n
}

// name returns the name of an interface; one that is gone is shown as ip(8) does: if7.
func (n names) name(index int) string {
	if name, ok := n[index]; ok {
		return name
	}
	return fmt.Sprintf("if%d", index)
}

// routeFilter is what the kernel selects routes by; 0 is any.
type routeFilter struct {
	table    uint32
	protocol uint8
}

// routes returns the routes of a family that match a filter. A table that does not exist has none.
func (k *Kernel) routes(f config.Family, filter routeFilter, n names) ([]routing.Route, error) {
	b, err := encodeFilter(f, filter)
	if err != nil {
		return nil, err
	}
	messages, err := k.dump(unix.RTM_GETROUTE, b)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s routes of table %d: %w", f, filter.table, err)
	}
	var routes []routing.Route
	for _, m := range messages {
		r, cloned, err := decodeRoute(m.Data, n)
		if err != nil {
			return nil, fmt.Errorf("list %s routes of table %d: %w", f, filter.table, err)
		}
		if !cloned && r.Family == f {
			routes = append(routes, r)
		}
	}
	return routes, nil
}

func encodeFilter(f config.Family, filter routeFilter) ([]byte, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = addressFamily(f)
	header[5] = filter.protocol
	ae := netlink.NewAttributeEncoder()
	if filter.table != 0 {
		header[4] = compatTable(filter.table)
		ae.Uint32(unix.RTA_TABLE, filter.table)
	}
	return body(header, ae)
}

// decodeRoute reads a struct rtmsg and its attributes. What cannot be expressed by a routing.Route
// sets its Other. Cloned is true for entries of a cache, which are no routes that anybody configured.
func decodeRoute(b []byte, n names) (r routing.Route, cloned bool, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, false, errShort
	}
	family, bits, flags := b[0], int(b[1]), binary.NativeEndian.Uint32(b[8:])
	f, ok := familyOf(family)
	r = routing.Route{Family: f, Table: uint32(b[4]), Protocol: b[5], Type: routing.RouteType(b[7])}
	known := r.Type == routing.Unicast || r.Type == routing.Unreachable
	r.Other = !ok || !known || b[2] != 0 || b[3] != 0
	destination := netip.IPv4Unspecified()
	if f == config.IPv6 {
		destination = netip.IPv6Unspecified()
	}
	single := hop{flags: flags, weight: 1}
	var hops []hop
	err = attributes(b, unix.SizeofRtMsg, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.RTA_DST:
			destination = decodeIP(family, d.Bytes())
		case unix.RTA_PRIORITY:
			r.Metric = d.Uint32()
		case unix.RTA_TABLE:
			r.Table = d.Uint32()
		case unix.RTA_PREFSRC:
			r.Source = decodeIP(family, d.Bytes())
			r.Other = r.Other || !r.Source.IsValid()
		case unix.RTA_GATEWAY, unix.RTA_OIF:
			single.decode(family, d)
		case unix.RTA_MULTIPATH:
			d.Do(func(b []byte) (err error) {
				hops, err = decodeHops(family, b)
				return err
			})
		case unix.RTA_CACHEINFO:
			// IPv6 always sends it; a route that expires (offset 8 of struct rta_cacheinfo) is not ours.
			v := d.Bytes()
			r.Other = r.Other || len(v) < 12 || binary.NativeEndian.Uint32(v[8:]) != 0
		case unix.RTA_PREF:
			r.Other = r.Other || d.Uint8() != 0 // ICMPV6_ROUTER_PREF_MEDIUM
		case unix.RTA_PAD:
		default:
			r.Other = true
		}
	})
	r.Destination = netip.PrefixFrom(destination, bits)
	r.Other = r.Other || !r.Destination.IsValid()
	if hops == nil && single.index != 0 {
		hops = []hop{single}
	}
	// IPv6 shows "dev lo" in routes that lead nowhere.
	if r.Type == routing.Unicast {
		for _, h := range hops {
			r.Other = r.Other || h.other
			r.NextHops = append(r.NextHops, h.nextHop(n))
		}
	}
	return r, flags&unix.RTM_F_CLONED != 0, err
}

// hop is a next hop as the kernel describes it.
type hop struct {
	index   int
	gateway netip.Addr
	flags   uint32
	weight  int
	other   bool
}

func (h *hop) decode(family uint8, d *netlink.AttributeDecoder) {
	switch d.Type() {
	case unix.RTA_GATEWAY:
		h.gateway = decodeIP(family, d.Bytes())
		h.other = h.other || !h.gateway.IsValid()
	case unix.RTA_OIF:
		h.index = int(int32(d.Uint32()))
	default:
		h.other = true
	}
}

func (h *hop) nextHop(n names) routing.NextHop {
	return routing.NextHop{
		Interface: n.name(h.index), Gateway: h.gateway, OnLink: h.flags&unix.RTNH_F_ONLINK != 0, Weight: h.weight,
	}
}

// decodeHops reads the array of struct rtnexthop in RTA_MULTIPATH (rtnetlink(7)): length, flags,
// weight less one, interface, and attributes of its own.
func decodeHops(family uint8, b []byte) ([]hop, error) {
	var hops []hop
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, errShort
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return nil, fmt.Errorf("next hop of %d bytes in %d", length, len(b))
		}
		h := hop{flags: uint32(b[2]), weight: int(b[3]) + 1, index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
		err := attributes(b[:length], unix.SizeofRtNexthop, func(d *netlink.AttributeDecoder) { h.decode(family, d) })
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
		b = b[min((length+3)&^3, len(b)):]
	}
	return hops, nil
}

// encodeRoute writes what decodeRoute reads; index gives the index of an interface by its name.
// Deletion leaves the scope open, as ip(8) does.
func encodeRoute(r routing.Route, deletion bool, index func(name string) (int, error)) ([]byte, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = addressFamily(r.Family), uint8(r.Destination.Bits())
	header[4], header[5], header[7] = compatTable(r.Table), r.Protocol, uint8(r.Type)
	header[6] = scope(r, deletion)
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.RTA_TABLE, r.Table)
	ae.Uint32(unix.RTA_PRIORITY, r.Metric)
	if !r.IsDefault() {
		ae.Bytes(unix.RTA_DST, r.Destination.Addr().AsSlice())
	}
	if r.Source.IsValid() {
		ae.Bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	switch {
	case r.Other:
		// Only a deletion comes here: it names the route by its place, since its ways cannot be told.
	case len(r.NextHops) == 1:
		h := r.NextHops[0]
		i, err := index(h.Interface)
		if err != nil {
			return nil, err
		}
		binary.NativeEndian.PutUint32(header[8:], hopFlags(h))
		ae.Uint32(unix.RTA_OIF, uint32(i))
		if h.Gateway.IsValid() {
			ae.Bytes(unix.RTA_GATEWAY, h.Gateway.AsSlice())
		}
	case len(r.NextHops) > 1:
		hops, err := encodeHops(r.NextHops, index)
		if err != nil {
			return nil, err
		}
		ae.Bytes(unix.RTA_MULTIPATH, hops)
	}
	return body(header, ae)
}

func encodeHops(hops []routing.NextHop, index func(name string) (int, error)) ([]byte, error) {
	var all []byte
	for _, h := range hops {
		if h.Weight < 1 || h.Weight > 256 {
			return nil, fmt.Errorf("weight %d of the next hop on %s: must be 1 to 256", h.Weight, h.Interface)
		}
		i, err := index(h.Interface)
		if err != nil {
			return nil, err
		}
		header := make([]byte, unix.SizeofRtNexthop)
		header[2], header[3] = uint8(hopFlags(h)), uint8(h.Weight-1)
		binary.NativeEndian.PutUint32(header[4:], uint32(i))
		ae := netlink.NewAttributeEncoder()
		if h.Gateway.IsValid() {
			ae.Bytes(unix.RTA_GATEWAY, h.Gateway.AsSlice())
		}
		b, err := body(header, ae)
		if err != nil {
			return nil, err
		}
		binary.NativeEndian.PutUint16(b, uint16(len(b)))
		all = append(all, b...)
	}
	return all, nil
}

func hopFlags(h routing.NextHop) uint32 {
	if h.OnLink {
		return unix.RTNH_F_ONLINK
	}
	return 0
}

// scope is that of the destination as ip(8) chooses it: what is reached without a gateway is on the
// link. IPv6 does not look at it.
func scope(r routing.Route, deletion bool) uint8 {
	if deletion {
		return unix.RT_SCOPE_NOWHERE
	}
	for _, h := range r.NextHops {
		if h.Gateway.IsValid() {
			return unix.RT_SCOPE_UNIVERSE
		}
	}
	if r.Type == routing.Unicast {
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}
