package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// twins are two lines behind modems that are alike, and another one.
func twins() []lab.Line { return []lab.Line{{Twin: true}, {Twin: true}, {}} }

// Two lines have the same address and gateway. Both carry, each is asked by its own interface, and each
// fails and comes back by itself, whoever keeps the firewall.
func TestTwins(t *testing.T) {
	t.Parallel()
	for name, end := range firewalls() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, twins())
			b.start(b.Config() + end)
			b.uses(20*time.Second, 0, 1, 2)
			b.twinsCarry("all is well", 0, 1, 2)
			for i, line := range b.Plan.Lines {
				got := b.ip("route", "get", b.Plan.Targets[0].String(), "from", line.Address.String(), "oif", line.Interface)
				if want := fmt.Sprintf("via %s dev %s table %d", line.Gateway, line.Interface, 1+i); !strings.Contains(got, want) {
					t.Errorf("what is bound to line %d goes %s, want %s", i+1, got, want)
				}
			}
			kept := b.download(0)
			b.must(b.Cut(1)) // a verdict on it, and none on the other: each was asked by its own interface
			b.uses(10*time.Second, 0, 2)
			b.twinsCarry("the second is dead", 0, 2)
			b.undisturbed("the other one dies", kept)
			b.must(b.Restore(1))
			b.uses(20*time.Second, 0, 1, 2)
			b.must(b.Cut(0))
			b.uses(10*time.Second, 1, 2)
			b.twinsCarry("the first is dead", 1, 2)
			b.must(b.Restore(0))
			b.uses(20*time.Second, 0, 1, 2)
			b.twinsCarry("both are back", 0, 1, 2)
			b.noLeaks()
		})
	}
}

// twinsCarry wants new connections of the client and of the router over exactly these lines, and answers on
// each to who comes in.
func (b *bed) twinsCarry(what string, lines ...int) {
	b.t.Helper()
	want := map[int]bool{}
	for _, line := range lines {
		want[line] = true
		for _, dmz := range []bool{false, true} {
			if got, err := b.Incoming(b.t.Context(), line, 5, dmz, 3*time.Second); got != 5 {
				b.t.Errorf("%s: line %d, DMZ %v: %d of 5 answered: %v", what, line+1, dmz, got, err)
			}
		}
	}
	for line, share := range b.spread(what, 60) {
		if (share > 0) != want[line] {
			b.t.Errorf("%s: line %d carried %.2f of the client's connections", what, line+1, share)
		}
	}
	own := map[string]bool{}
	for i := range 60 {
		response, err := b.Router.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[i%len(b.Plan.Servers)], lab.WebPort), "/")
		b.must(err)
		own[response.Header.Get(lab.LineHeader)] = true
		response.Body.Close()
	}
	for line := range b.Plan.Lines {
		if own[fmt.Sprint(line+1)] != want[line] {
			b.t.Errorf("%s: the router's own connections used the lines %v, want %v (from 0)", what, own, lines)
		}
	}
}

// The same where the modems give the addresses by DHCP: a lease that makes two lines equal is no failure
// of either.
func TestTwinsDHCP(t *testing.T) {
	t.Parallel()
	b := newBed(t, twins())
	// Names of their own: the client's lease files are in one directory for all tests.
	b.must(b.Router.Batch("link set wan1 down", "link set wan1 name cable1", "link set cable1 up",
		"link set wan2 down", "link set wan2 name cable2", "link set cable2 up"))
	b.Plan.Lines[0].Interface, b.Plan.Lines[1].Interface = "cable1", "cable2"
	b.dhcp(0, "udhcpc")
	b.dhcp(1, "dhclient")
	for i := range 2 {
		b.wait(fmt.Sprintf("an address on line %d", i+1), 20*time.Second, func() bool {
			a, err := b.Address(i)
			return err == nil && a == b.Plan.Lines[0].Address
		})
	}
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	b.twinsCarry("two leases of one address", 0, 1, 2)
	if out, code := b.output("check"); code != 0 || strings.Contains(out, b.Plan.Lines[0].Address.String()) {
		t.Errorf("check: exit code %d, said:\n%s", code, out)
	}
	b.must(b.Cut(0))
	b.uses(10*time.Second, 1, 2)
	b.twinsCarry("the first is dead", 1, 2)
}
