package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

func set(key, value string) routing.Step {
	return routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: key, Value: value}}
}

func TestSysctls(t *testing.T) {
	w := newRealWorld(t, "sysctls")
	w.script("link add eth0.100 type veth peer name w0")
	keys := []string{"net/ipv4/ip_forward", "net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/missing/rp_filter"}
	if err := apply(set(keys[0], "1"), set(keys[1], "2"))(w); err != nil {
		t.Fatal(err)
	}
	want := []routing.Sysctl{{Key: keys[0], Value: "1"}, {Key: keys[1], Value: "2"}}
	if d := gocmp.Diff(want, w.observe(routing.Scope{Sysctls: keys}).Have.Sysctls); d != "" {
		t.Errorf("sysctls (-want +got):\n%s", d)
	}
	if out, err := w.ns.Output("cat", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"); err != nil || out != "2\n" {
		t.Errorf("the kernel shows %q, %v", out, err)
	}
	if err := w.Apply(context.Background(), set(keys[2], "2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing sysctl: got error %v", err)
	}
	if err := w.Apply(context.Background(), set(keys[1], "no number")); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a bad value: got error %v", err)
	}
	for _, key := range []string{"kernel/hostname", "net/../kernel/hostname", "/net/ipv4/ip_forward", "", "net/"} {
		if err := w.Apply(context.Background(), set(key, "1")); err == nil || !strings.Contains(err.Error(), "not a key below net/") {
			t.Errorf("key %q: got error %v", key, err)
		}
	}
}

func TestReadOnlySysctls(t *testing.T) {
	w := newRealWorld(t, "readonly")
	const dir = "/proc/sys"
	if err := errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	err := w.Apply(context.Background(), set("net/ipv4/ip_forward", "1"))
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "/proc/sys must be writable") {
		t.Errorf("got error %v", err)
	}
}

// withCapabilities runs f in the namespace on a thread with only these capabilities. The thread cannot
// go home afterwards, so it ends.
func withCapabilities(w *realWorld, capabilities uint32, f func(k *kernel.Kernel) error) error {
	return w.ns.Do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		data := [2]unix.CapUserData{{Effective: capabilities, Permitted: capabilities}}
		if err := unix.Capset(&header, &data[0]); err != nil {
			return fmt.Errorf("drop capabilities: %w", err)
		}
		k, err := kernel.Open(kernel.Options{})
		if err != nil {
			return err
		}
		return errors.Join(f(k), k.Close())
	})
}

func TestCapabilities(t *testing.T) {
	w := newRealWorld(t, "caps")
	steps := []routing.Step{add(lookup(5, 1001)), replace(def(1001)), set("net/ipv4/ip_forward", "1"), del(lookup(5, 1001)), del(def(1001))}
	err := withCapabilities(w, 1<<unix.CAP_NET_ADMIN, func(k *kernel.Kernel) error {
		for _, s := range steps {
			if err := k.Apply(context.Background(), s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		_, err := k.Observe(context.Background(), routing.Scope{Families: both, Tables: []uint32{1001}, Sysctls: []string{"net/ipv4/ip_forward"}})
		return err
	})
	if err != nil {
		t.Errorf("with CAP_NET_ADMIN alone: %v", err)
	}
	err = withCapabilities(w, 0, func(k *kernel.Kernel) error {
		if _, err := k.Observe(context.Background(), routing.Scope{Families: both}); err != nil {
			return err
		}
		for _, s := range []routing.Step{add(lookup(5, 1001)), replace(def(1001))} {
			err := k.Apply(context.Background(), s)
			if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				return fmt.Errorf("%s without capabilities: got error %v", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestApplyRefuses(t *testing.T) {
	w := newRealWorld(t, "refuses")
	w.script("rule add priority 5 iif eth7 lookup 9 protocol 117\nrule add priority 5 lookup 9 protocol 117")
	foreign := lookup(5, 9)
	foreign.Other = true
	otherRoute := def(1001)
	otherRoute.Other = true
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	cases := []struct {
		name string
		ctx  context.Context
		step routing.Step
		want string
	}{
		{"ended context", ended, add(lookup(6, 9)), "context canceled"},
		{"empty step", context.Background(), routing.Step{}, "no such operation"},
		{"replace a rule", context.Background(), replace(lookup(6, 9)), "no such operation"},
		{"add a rule with more selectors", context.Background(), add(foreign), "use ip rule"},
		{"delete a rule with more selectors", context.Background(), del(foreign), "use ip rule"},
		{"delete a rule behind one with more selectors", context.Background(), del(lookup(5, 9)), "would delete another rule instead"},
		{"write a foreign route", context.Background(), replace(otherRoute), "use ip route"},
		{"interface name too long", context.Background(), replace(def(1001, via("an-interface-too-long", "", 1))), `interface "an-interface-too-long"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := w.Apply(c.ctx, c.step); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
	if n := len(w.observe(routing.Scope{Families: []config.Family{config.IPv4}}).Have.Rules); n != 5 {
		t.Errorf("%d rules are left of 5", n)
	}
}

// TestOwned holds that everything with our tag is found in any table, and all of it can be deleted,
// even what somebody changed so that we could not have written it.
func TestOwned(t *testing.T) {
	w := newRealWorld(t, "owned")
	w.script(`
		link add w0 type veth peer name w0-x
		link set w0-x up
		link set w0 up
		addr add 192.0.2.2/24 dev w0
		addr add 2001:db8::2/64 dev w0 nodad
		route add default via 192.0.2.1 table 70 proto 117
		route add 198.51.100.0/24 via 192.0.2.1 proto 117
		route add default via 192.0.2.1 table 71 proto 117 mtu 1400
		route add default via 192.0.2.1 table 72
		-6 route add unreachable default table 70 proto 117
		rule add priority 5 lookup 70 protocol 117
		-6 rule add priority 5 lookup 70 protocol 117
		rule add priority 6 lookup 70
	`)
	owned, err := w.Owned(context.Background(), []string{"net/ipv4/ip_forward"})
	if err != nil {
		t.Fatal(err)
	}
	if len(owned.Routes) != 4 || len(owned.Rules) != 2 || len(owned.Sysctls) != 1 {
		t.Errorf("owned: %+v", owned)
	}
	for _, s := range routing.CleanupPlan(owned, nil) {
		if err := w.Apply(context.Background(), s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if owned, err = w.Owned(context.Background(), nil); err != nil || len(owned.Routes)+len(owned.Rules) != 0 {
		t.Errorf("left: %+v, %v", owned, err)
	}
	left := w.observe(routing.Scope{Families: both, Tables: []uint32{72}})
	if len(left.Have.Routes) != 1 || len(left.Have.Rules) != 6 {
		t.Errorf("what is not ours was touched: %+v", left.Have)
	}
}
