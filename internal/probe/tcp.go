package probe

import (
	"context"
	"errors"
	"net/netip"
	"syscall"

	"ftr/internal/config"
)

// askTCP connects to a port and resets the connection. That the target refuses is an answer too: by an
// RST (RFC 9293, section 3.5.2), at once or after the handshake, or by an ICMP error of its own, as its
// packet filter may prefer. What a router on the way refuses is none.
func askTCP(ctx context.Context, l line, target config.Target) error {
	conn, err := dial(ctx, "tcp", l, netip.AddrPortFrom(target.Address, target.Port))
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET):
		return nil
	case err != nil:
		return err
	default:
		return conn.Close()
	}
}
