package lab_test

import (
	"net/netip"
	"strings"
	"testing"

	"ftr/internal/lab"
)

// A PPP line is a point-to-point interface that comes and goes, with another address each time.
func TestPPPLine(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: []lab.Line{{Kind: lab.PPP, Rate: 10 * lab.Mbit}}})
	connected := func(own, peer netip.Addr) {
		t.Helper()
		out, err := l.Router.Output("ip", "-4", "addr", "show", "dev", "wan1")
		if err != nil || !strings.Contains(out, "POINTOPOINT") || !strings.Contains(out, own.String()+" peer "+peer.String()) {
			t.Errorf("the interface has %s, want %s peer %s, %v", out, own, peer, err)
		}
		if err := l.Router.Batch("route replace default dev wan1"); err != nil {
			t.Fatal(err)
		}
		a := attemptFromRouter(t, l, own)
		if a != nil {
			t.Errorf("as %s: %v", own, a)
		}
	}
	line := l.Plan.Lines[0]
	connected(line.Address, line.Gateway)
	if err := l.HangUp(0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Router.Output("ip", "link", "show", "dev", "wan1"); err == nil {
		t.Error("the interface is there while the line is not connected")
	}
	next, peer := line.Customer.Addr().Next().Next().Next().Next(), line.Customer.Addr().Next()
	if err := l.Connect(0, next, peer); err != nil {
		t.Fatal(err)
	}
	connected(next, peer)
	if err := l.CutCarrier(0); err != nil {
		t.Fatal(err)
	}
	unplugged(t, l, "wan1")
	if err := l.Restore(0); err != nil {
		t.Fatal(err)
	}
	connected(next, peer)
}

// attemptFromRouter gets a page from the internet host with an address of the router.
func attemptFromRouter(t *testing.T, l *lab.Lab, from netip.Addr) error {
	t.Helper()
	return l.WaitFor(t.Context(), "an answer", patience, func() (bool, error) {
		conn, err := l.Router.DialFrom(t.Context(), tcpFrom(from), "tcp4", netip.AddrPortFrom(l.Plan.Servers[0], lab.WebPort).String())
		if err == nil {
			err = conn.Close()
		}
		return err == nil, nil
	})
}

// A real server and a real client: the lease has address and router, is renewed, and changes.
func TestDHCPLine(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.Options{Lines: []lab.Line{{Kind: lab.DHCP}}})
	line := l.Plan.Lines[0]
	leased := func(want netip.Addr) {
		t.Helper()
		if err := l.WaitFor(t.Context(), "the address "+want.String(), patience, func() (bool, error) {
			have, err := l.Address(0)
			return err == nil && have == want, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitFor(t.Context(), "the route of the client", patience, func() (bool, error) {
			out, err := l.Router.Output("ip", "-4", "route", "show", "default")
			return strings.Contains(out, "default via "+line.Gateway.String()+" dev wan1"), err
		}); err != nil {
			t.Fatal(err)
		}
		if err := attemptFromRouter(t, l, want); err != nil {
			t.Error(err)
		}
	}
	leased(line.Address)
	next := line.Address.Next().Next()
	if err := l.Lease(t.Context(), 0, next); err != nil {
		t.Fatal(err)
	}
	leased(next)
}
