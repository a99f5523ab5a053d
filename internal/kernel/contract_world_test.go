package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/kernel"
	"ftr/internal/netns"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// TestMain runs the tests in private namespaces. Fuzzing touches no network, and its workers need the
// pipes of their parent.
func TestMain(m *testing.M) {
	fuzzing := func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzz=") }
	if slices.ContainsFunc(os.Args, fuzzing) {
		os.Exit(m.Run())
	}
	os.Exit(netns.Private(m.Run))
}

// world is a kernel with somebody who plugs cables and runs other programs.
type world interface {
	Observe(context.Context, routing.Scope) (routing.Observation, error)
	Owned(context.Context, []string) (routing.State, error)
	Apply(context.Context, routing.Step) error

	AddLink(name string, pointToPoint bool) error
	RemoveLink(name string) error
	SetUp(name string, up bool) error
	SetCarrier(name string, carrier bool) error
	AddAddress(name string, a routing.Address) error
	RemoveAddress(name string, addr netip.Addr) error
	Play(step routing.Step) error
	DuplicateRule(r routing.Rule)
}

var (
	_ world = (*realWorld)(nil)
	_ world = (*sim.Kernel)(nil)
)

// realWorld is a network namespace. Its links are veth pairs whose other ends are the cables; other
// programs are ip(8).
type realWorld struct {
	*kernel.Kernel
	t  *testing.T
	ns *netns.NS
}

func newRealWorld(t *testing.T, name string) *realWorld {
	t.Helper()
	ns, err := netns.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return &realWorld{Kernel: open(t, ns), t: t, ns: ns}
}

func open(t *testing.T, ns *netns.NS) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Open(kernel.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (w *realWorld) ip(args string) error {
	return w.ns.Run("ip", strings.Fields(args)...)
}

func (w *realWorld) AddLink(name string, pointToPoint bool) error {
	if pointToPoint {
		return w.ip("tuntap add mode tun name " + name)
	}
	return errors.Join(
		w.ip(fmt.Sprintf("link add %s type veth peer name %s-x", name, name)),
		w.ip(fmt.Sprintf("link set %s addrgenmode none", name)), // no link-local address of a random kind
		w.ip(fmt.Sprintf("link set %s-x addrgenmode none up", name)),
	)
}

func (w *realWorld) RemoveLink(name string) error { return w.ip("link del " + name) }

func (w *realWorld) SetUp(name string, up bool) error {
	return w.ip("link set " + name + " " + upDown(up))
}

func (w *realWorld) SetCarrier(name string, carrier bool) error {
	return w.ip("link set " + name + "-x " + upDown(carrier))
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func (w *realWorld) AddAddress(name string, a routing.Address) error {
	words := a.Prefix.String()
	if a.Peer.IsValid() {
		words = fmt.Sprintf("%s peer %s/%d", a.Prefix.Addr(), a.Peer, a.Prefix.Bits())
	}
	if a.Prefix.Addr().Is6() {
		words += " nodad"
	}
	return w.ip("addr add " + words + " dev " + name)
}

func (w *realWorld) RemoveAddress(name string, addr netip.Addr) error {
	obs, err := w.Observe(context.Background(), routing.Scope{Interfaces: []string{name}, Families: []config.Family{config.FamilyOf(addr)}})
	if err != nil {
		return err
	}
	for _, a := range obs.Links[0].Addresses {
		if a.Prefix.Addr() != addr {
			continue
		}
		if a.Peer.IsValid() {
			return w.ip(fmt.Sprintf("addr del %s peer %s/%d dev %s", addr, a.Peer, a.Prefix.Bits(), name))
		}
		return w.ip(fmt.Sprintf("addr del %s dev %s", a.Prefix, name))
	}
	return fmt.Errorf("interface %s has no address %s", name, addr)
}

// Play runs the step as the command that it prints.
func (w *realWorld) Play(step routing.Step) error {
	words := strings.Fields(step.String())
	return w.ns.Run(words[0], words[1:]...)
}

func (w *realWorld) DuplicateRule(r routing.Rule) {
	w.t.Helper()
	if err := kernel.DuplicateRule(w.Kernel, r); err != nil {
		w.t.Fatal(err)
	}
}

// json returns what ip(8) shows of all rules and of the routes in the tables of the cases.
func (w *realWorld) json(t *testing.T) string {
	t.Helper()
	const show = "rule\nroute show table 1001\nroute show table 1002\nroute show table 9\nroute show default\n"
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		err := w.ns.Do(func() error {
			// A table that does not exist makes ip(8) complain and, forced, go on.
			cmd := exec.Command("ip", "-force", "-json", "-details", "-Numeric", family, "-batch", "-")
			cmd.Stdin = strings.NewReader(show)
			out, err := cmd.Output()
			var exit *exec.ExitError
			if errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "FIB table does not exist") {
				err = nil
			}
			b.WriteString(strings.ReplaceAll(string(out), "},{", "},\n{"))
			return err
		})
		if err != nil {
			t.Fatalf("ip %s: %v", family, err)
		}
	}
	if !strings.Contains(b.String(), `"priority":32766`) {
		t.Fatalf("ip(8) does not even show the kernel's own rules:\n%s", &b)
	}
	return b.String()
}
