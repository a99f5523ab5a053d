package firewall_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"ftr/internal/netns"
)

// filter: who may connect to whom, with the example filter table.
func (b *bed) filter(t *testing.T) {
	b.serve(b.router, ":83")
	b.serve(b.client, ":83")
	for i := range b.providers {
		// Neighbours in a provider's network can send to inside addresses directly.
		b.ip(b.providers[i], "route add 192.168.1.0/24 via "+b.address(i).String())
	}
	const client = "192.168.1.10:83"
	for _, tt := range []struct {
		name string
		from *netns.NS
		to   string
		want error // as errors.Is has it; nil: connected
	}{
		{"LAN to router", b.client, routerLAN + ":83", nil},
		{"LAN to DMZ", b.client, serverDMZ + ":80", nil},
		{"DMZ to WAN", b.server, internet + ":80", nil},
		{"router to LAN", b.router, client, nil},
		{"WAN to LAN, static", b.providers[0], client, syscall.ECONNREFUSED},
		{"WAN to LAN, dhcp", b.providers[1], client, syscall.ECONNREFUSED},
		{"WAN to LAN, ppp", b.providers[2], client, syscall.ECONNREFUSED},
		{"WAN to router", b.internet, b.address(0).String() + ":83", os.ErrDeadlineExceeded},
		{"DMZ to LAN", b.server, client, os.ErrDeadlineExceeded},
		{"DMZ to router", b.server, "192.0.2.1:83", os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dialer := net.Dialer{Timeout: patience}
			if errors.Is(tt.want, os.ErrDeadlineExceeded) {
				// What is dropped never answers.
				dialer.Timeout = 200 * time.Millisecond
			}
			var c net.Conn
			err := tt.from.Do(func() (err error) {
				c, err = dialer.DialContext(t.Context(), "tcp4", tt.to)
				return err
			})
			if err == nil {
				c.Close()
			}
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				err = os.ErrDeadlineExceeded
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("connect: %v, want %v", err, tt.want)
			}
		})
	}
}
