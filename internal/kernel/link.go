package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Operational states in which nothing passes (RFC 2863 §3.1.14, linux/if.h). Tunnels and PPP links
// stay "unknown" (0) all their life: only the driver's IFF_LOWER_UP speaks there.
const (
	operNotPresent     = 1
	operDown           = 2
	operLowerLayerDown = 3
)

// skipStatistics is RTEXT_FILTER_SKIP_STATS: the counters are most of a link message.
const skipStatistics = 1 << 3

// tunnels are the types of interfaces (ip-link(8)) that carry packets within packets.
var tunnels = []string{
	"amneziawg", "erspan", "fou", "geneve", "gre", "gretap", "gue", "ip6erspan", "ip6gre", "ip6gretap", "ip6tnl", "ipip", "ovpn", "sit",
	"tun", "vti", "vti6", "vxlan", "wireguard", "xfrm",
}

// links returns all interfaces without their addresses, and what is told of their sysctls.
func (k *Kernel) links() ([]routing.Link, devconfs, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, skipStatistics)
	b, err := body(make([]byte, unix.SizeofIfInfomsg), ae)
	if err != nil {
		return nil, nil, err
	}
	messages, err := k.dump(unix.RTM_GETLINK, b)
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	links, confs := make([]routing.Link, 0, len(messages)), make(devconfs, len(messages))
	indexes := make(map[string]int, len(messages))
	for _, m := range messages {
		l, conf, err := decodeLink(m.Data)
		if err != nil {
			return nil, nil, fmt.Errorf("list interfaces: %w", err)
		}
		links = append(links, l)
		confs[l.Name], indexes[l.Name] = conf, l.Index
	}
	k.indexes.Store(&indexes)
	return links, confs, nil
}

// askIndex asks the kernel for the index of an interface; the error names it.
func (k *Kernel) askIndex(name string) (int, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("interface %q: not a name that an interface can have", name)
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, skipStatistics)
	ae.String(unix.IFLA_IFNAME, name)
	b, err := body(make([]byte, unix.SizeofIfInfomsg), ae)
	if err != nil {
		return 0, err
	}
	messages, err := k.conn.Execute(request(unix.RTM_GETLINK, 0, b))
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, explain(err))
	}
	if len(messages) != 1 {
		return 0, fmt.Errorf("interface %s: %d answers instead of one", name, len(messages))
	}
	l, _, err := decodeLink(messages[0].Data)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return l.Index, nil
}

// decodeLink reads a struct ifinfomsg and its attributes.
func decodeLink(b []byte) (l routing.Link, conf devconf, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, conf, errShort
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	l = routing.Link{
		Index:        int(int32(binary.NativeEndian.Uint32(b[4:]))),
		Up:           flags&unix.IFF_UP != 0,
		PointToPoint: flags&unix.IFF_POINTOPOINT != 0,
	}
	var oper uint8
	err = attributes(b, unix.SizeofIfInfomsg, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.IFLA_IFNAME:
			l.Name = d.String()
		case unix.IFLA_OPERSTATE:
			oper = d.Uint8()
		case unix.IFLA_AF_SPEC:
			d.Nested(conf.decode)
		case unix.IFLA_LINKINFO:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					if d.Type() == unix.IFLA_INFO_KIND && slices.Contains(tunnels, d.String()) {
						l.Tunnel = d.String()
					}
				}
				return nil
			})
		}
	})
	dead := oper == operNotPresent || oper == operDown || oper == operLowerLayerDown
	l.Carrier = flags&unix.IFF_LOWER_UP != 0 && !dead
	return l, conf, err
}

// addresses adds to links their addresses of one family, in the order of the kernel: primary ones
// first.
func (k *Kernel) addresses(f config.Family, links []routing.Link) error {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0] = addressFamily(f)
	messages, err := k.dump(unix.RTM_GETADDR, header)
	if err != nil {
		return fmt.Errorf("list %s addresses: %w", f, err)
	}
	for _, m := range messages {
		index, a, err := decodeAddress(m.Data)
		if err != nil {
			return fmt.Errorf("list %s addresses: %w", f, err)
		}
		i := slices.IndexFunc(links, func(l routing.Link) bool { return l.Index == index })
		if i >= 0 && a.Prefix.IsValid() {
			links[i].Addresses = append(links[i].Addresses, a)
		}
	}
	return nil
}

// decodeAddress reads a struct ifaddrmsg and its attributes. IFA_LOCAL is the interface's own address;
// IFA_ADDRESS is the same again, or the peer of a point-to-point link. IPv6 sends IFA_LOCAL only where
// there is a peer. The prefix is invalid for an address of a family that is not IP.
func decodeAddress(b []byte) (index int, a routing.Address, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, a, errShort
	}
	family, bits, flags := b[0], int(b[1]), uint32(b[2])
	index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	var local, address netip.Addr
	err = attributes(b, unix.SizeofIfAddrmsg, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.IFA_LOCAL:
			local = decodeIP(family, d.Bytes())
		case unix.IFA_ADDRESS:
			address = decodeIP(family, d.Bytes())
		case unix.IFA_FLAGS:
			flags = d.Uint32()
		}
	})
	if !local.IsValid() {
		local = address
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	if address != local {
		a.Peer = address
	}
	// In IPv6 this bit says "temporary" (RFC 8981): it goes away soon, which is as little use to us.
	a.Secondary = flags&unix.IFA_F_SECONDARY != 0
	a.Tentative = flags&unix.IFA_F_DADFAILED != 0 ||
		flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	a.Deprecated = flags&unix.IFA_F_DEPRECATED != 0
	a.Dynamic = flags&unix.IFA_F_PERMANENT == 0
	return index, a, err
}

// decodeIP returns an invalid address where the bytes are not one of the family.
func decodeIP(family uint8, b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.Is4() != (family == unix.AF_INET) {
		return netip.Addr{}
	}
	return a
}

func addressFamily(f config.Family) uint8 {
	if f == config.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// familyOf returns the family of an AF_ constant; ok is false for others than IPv4 and IPv6.
func familyOf(af uint8) (f config.Family, ok bool) {
	switch af {
	case unix.AF_INET:
		return config.IPv4, true
	case unix.AF_INET6:
		return config.IPv6, true
	default:
		return 0, false
	}
}
