package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dial connects a socket of TCP or UDP that is bound to the line. Closing a TCP connection resets it
// (socket(7), SO_LINGER): a probe a second would otherwise leave 60 sockets in TIME-WAIT.
//
// A refusal by the target itself is syscall.ECONNREFUSED; one by a router on the way names that router.
func dial(ctx context.Context, network string, l line, to netip.AddrPort) (net.Conn, error) {
	// Of a connection that fails nothing is left, but its error queue says why: keep a second descriptor.
	var watch *os.File
	defer func() { watch.Close() }()
	d := net.Dialer{
		KeepAlive: -1,
		LocalAddr: localAddr(network, l.source),
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			controlled := c.Control(func(fd uintptr) {
				watch.Close() // of an attempt that the dialer repeats
				watch, err = bindLine(int(fd), l)
			})
			return errors.Join(controlled, err)
		},
	}
	conn, err := d.DialContext(ctx, network, to.String())
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		return nil, explainDial(err, watch, l, to.Addr())
	}
	if c, ok := conn.(*net.TCPConn); ok {
		err = c.SetLinger(0)
	}
	return conn, err
}

// localAddr is the address with any port, in the form that package net wants.
func localAddr(network string, source netip.Addr) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
}

// bindLine binds a socket to the line's device, has it queue ICMP errors (ip(7), IP_RECVERR), and
// returns another descriptor of it.
func bindLine(fd int, l line) (*os.File, error) {
	if err := bindDevice(fd, l); err != nil {
		return nil, err
	}
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if l.source.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return nil, fmt.Errorf("ask for ICMP errors: %w", err)
	}
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate socket: %w", err)
	}
	return os.NewFile(uintptr(second), "probe:"+l.device), nil
}

// bindDevice binds a socket to the line's device, and marks what it sends.
func bindDevice(fd int, l line) error {
	if l.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(l.mark)); err != nil {
			return fmt.Errorf("mark packets: %w", err)
		}
	}
	return unix.BindToDevice(fd, l.device)
}

// explainDial says why no connection was made.
func explainDial(err error, watch *os.File, l line, target netip.Addr) error {
	if watch == nil {
		return explain(err, l)
	}
	raw, controlled := watch.SyscallConn()
	if controlled != nil {
		return explain(err, l)
	}
	text, by := queuedRefusal(raw)
	if text == "" || by == target && errors.Is(err, syscall.ECONNREFUSED) {
		return explain(err, l)
	}
	return fmt.Errorf("%s %v", text, by)
}

// queuedRefusal takes the ICMP error from a socket's error queue that made an operation fail: what it
// says, and whose it is. Empty: there is none.
func queuedRefusal(raw syscall.RawConn) (text string, by netip.Addr) {
	control := make([]byte, 256)
	n := 0
	controlled := raw.Control(func(fd uintptr) {
		var err error
		_, n, _, _, err = unix.Recvmsg(int(fd), make([]byte, 1), control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			n = 0
		}
	})
	if controlled != nil || n == 0 {
		return "", netip.Addr{}
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return "", netip.Addr{}
	}
	for _, m := range messages {
		if text, by := refusal(m); text != "" {
			return text, by
		}
	}
	return "", netip.Addr{}
}

// refusal reads struct sock_extended_err, which the address of who sent the ICMP error follows (ip(7),
// linux/errqueue.h).
func refusal(m unix.SocketControlMessage) (text string, by netip.Addr) {
	const (
		origin, kind, code = 4, 5, 6
		offender           = 16
		icmp4, icmp6       = 2, 3 // SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
	)
	b := m.Data
	if len(b) < offender+2 {
		return "", netip.Addr{}
	}
	family := binary.NativeEndian.Uint16(b[offender:])
	switch {
	case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR && b[origin] == icmp4 &&
		family == unix.AF_INET && len(b) >= offender+unix.SizeofSockaddrInet4:
		return refusal4(b[kind], b[code]), netip.AddrFrom4([4]byte(b[offender+4:]))
	case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR && b[origin] == icmp6 &&
		family == unix.AF_INET6 && len(b) >= offender+24:
		return refusal6(b[kind], b[code]), netip.AddrFrom16([16]byte(b[offender+8:]))
	default:
		return "", netip.Addr{}
	}
}
