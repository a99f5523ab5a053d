package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Of a router solicitation (RFC 4861 §4.1, §4.6.1).
const (
	routerSolicitation = 133
	sourceLinkLayer    = 1
)

// allRouters is the link-local group of all routers (RFC 4291 §2.7.1).
var allRouters = [16]byte{0xff, 0x02, 15: 2}

// Solicit asks the routers on an interface to advertise themselves (RFC 4861 §6.3.7). The kernel does so by
// itself when an interface comes up, and not when it begins to listen later. It takes the answer as any other
// advertisement, if the interface accepts them. CAP_NET_RAW is needed.
func (k *Kernel) Solicit(ctx context.Context, device string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ask for routers on %s: %w", device, err)
	}
	if err := k.inside(func() error { return solicit(device) }); err != nil {
		return fmt.Errorf("ask for routers on %s: %w", device, err)
	}
	return nil
}

func solicit(device string) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Routers take no solicitation that could have come from elsewhere: its hop limit is 255 (§6.1.1).
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.BindToDevice(fd, device),
	)
	if err != nil {
		return err
	}
	// The kernel takes a link-local address of the interface as source, and fills in the checksum.
	return unix.Sendto(fd, solicitation(link.HardwareAddr), 0, &unix.SockaddrInet6{Addr: allRouters, ZoneId: uint32(link.Index)})
}

// solicitation is the message, with the address to which the answer may be sent where that is Ethernet's.
func solicitation(own net.HardwareAddr) []byte {
	b := make([]byte, 8, 16)
	b[0] = routerSolicitation
	if len(own) == 6 {
		b = append(append(b, sourceLinkLayer, 1), own...)
	}
	return b
}
