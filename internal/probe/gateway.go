package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// askGateway has the kernel probe a neighbour on the device (ARP, RFC 826; neighbour discovery, RFC
// 4861, section 7.3) and returns the time until it is confirmed. The kernel asks three times, a second
// apart by default (arp(7), ucast_solicit and retrans_time_ms), before it gives the neighbour up; ctx
// may end the waiting earlier, but not the kernel's asking. The kernel chooses the source address; for
// IPv6 it asks only when the interface has a link-local address that is no more tentative (RFC 4862,
// section 5.4), a second or two after the link has come up.
//
// An entry that the administrator fixed (permanent, noarp) is never probed, nor touched.
func askGateway(ctx context.Context, device string, address netip.Addr) (time.Duration, error) {
	index, err := arpDevice(device)
	if err != nil {
		return 0, err
	}
	n := neighbour{index: index, address: address.WithZone("")}
	// Watched before it is asked for, so that no answer is missed.
	watch, err := n.watch()
	if err != nil {
		return 0, fmt.Errorf("watch neighbours: %w", err)
	}
	defer watch.Close()
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0, fmt.Errorf("open netlink socket: %w", err)
	}
	defer conn.Close()
	state, err := n.state(conn)
	if err != nil {
		return 0, err
	}
	if state&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 {
		return 0, fmt.Errorf("the neighbour entry of %v on %s is fixed by hand, the kernel does not probe it: delete the entry or choose another method",
			n.address, device)
	}
	began := time.Now()
	if err := n.solicit(conn, state); err != nil {
		return 0, explainSolicit(err, device)
	}
	defer until(ctx, watch.SetReadDeadline)()
	err = n.await(watch, conn, device)
	return time.Since(began), err
}

// explainSolicit says why the kernel does not ask a neighbour.
func explainSolicit(err error, device string) error {
	if errors.Is(err, syscall.EPERM) {
		return &reason{"neighbour probes are not permitted: the capability CAP_NET_ADMIN is missing", syscall.EPERM}
	}
	return explain(err, line{device: device})
}

// await waits until the neighbour is confirmed or given up.
func (n neighbour) await(watch, conn *netlink.Conn, device string) error {
	for {
		messages, err := watch.Receive()
		switch {
		case errors.Is(err, syscall.ENOBUFS): // changes were lost: ask
			state, err := n.state(conn)
			if done, verdict := n.judge(state, device); done || err != nil {
				return errors.Join(err, verdict)
			}
		case err != nil:
			return err
		}
		for _, m := range messages {
			state, ok := n.stateIn(m)
			if !ok {
				continue
			}
			if m.Header.Type == unix.RTM_DELNEIGH {
				return fmt.Errorf("the neighbour entry of %v was deleted: is %s down or gone?", n.address, device)
			}
			if done, verdict := n.judge(state, device); done {
				return verdict
			}
		}
	}
}

// judge tells whether a state ends the probe, and how.
func (n neighbour) judge(state uint16, device string) (done bool, verdict error) {
	switch {
	case state&unix.NUD_REACHABLE != 0:
		return true, nil
	case state&unix.NUD_FAILED != 0:
		return true, fmt.Errorf("gateway %v does not answer on %s: the kernel gave it up (neighbour FAILED)", n.address, device)
	default:
		return false, nil
	}
}

// arpDevice returns the index of an interface that has neighbours.
func arpDevice(device string) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	index, err := indexOf(fd, device)
	if err != nil {
		return 0, explain(err, line{device: device})
	}
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, noDevice(device)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return 0, explain(err, line{device: device})
	}
	if request.Uint16()&(unix.IFF_NOARP|unix.IFF_LOOPBACK) != 0 {
		return 0, fmt.Errorf("%s has no neighbours to probe (a point-to-point link): choose another method", device)
	}
	return index, nil
}
