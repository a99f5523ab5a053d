package kernel_test

import (
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// TestSysctlsByLinks holds that messages of links tell the same values as the files, and nothing of
// interfaces that are not there, or of the rest.
func TestSysctlsByLinks(t *testing.T) {
	w := newRealWorld(t, "devconf")
	w.script("link add eth0.100 type veth peer name w0\nlink add w1 mtu 1000 type veth peer name w2")
	settings := map[string][]int{
		"net/ipv4/conf/%s/rp_filter": {0, 1, 2}, "net/ipv4/conf/%s/ignore_routes_with_linkdown": {0, 1},
		"net/ipv6/conf/%s/accept_ra": {0, 1, 2, -1}, "net/ipv6/conf/%s/ignore_routes_with_linkdown": {0, 1},
	}
	var keys []string
	for form := range settings {
		for _, device := range []string{"eth0.100", "w1", "missing", "all", "default"} {
			keys = append(keys, fmt.Sprintf(form, device))
		}
	}
	slices.Sort(keys)
	keys = append(keys, "net/ipv4/ip_forward", "net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/rp_filter")
	// w1 is too narrow for IPv6.
	if told, err := kernel.Told(w.Kernel, keys); err != nil || len(told) != 4+2 {
		t.Errorf("links tell %v, %v", told, err)
	}
	for form, values := range settings {
		for _, v := range values {
			key, value := fmt.Sprintf(form, "eth0.100"), fmt.Sprint(v)
			if err := apply(set(key, value))(w); err != nil {
				t.Fatal(err)
			}
			byFile := w.observe(routing.Scope{Sysctls: keys}).Have.Sysctls
			byLink := w.observe(routing.Scope{Sysctls: keys, Interfaces: []string{"eth0.100", "w1"}}).Have.Sysctls
			if d := gocmp.Diff(byFile, byLink); d != "" {
				t.Errorf("%s = %s: sysctls (-files +links):\n%s", key, value, d)
			}
			if !slices.Contains(byLink, routing.Sysctl{Key: key, Value: value}) {
				t.Errorf("%s = %s: got %v", key, value, byLink)
			}
		}
	}
}

// TestInterfaceMadeAnew holds that a route is written although an interface has another index than at the
// last look.
func TestInterfaceMadeAnew(t *testing.T) {
	w := newRealWorld(t, "anew")
	const birth = "link add w0 type veth peer name x0\nlink set w0 up\naddr add 192.0.2.2/24 dev w0"
	w.script(birth)
	w.observe(routing.Scope{Interfaces: []string{"w0"}})
	w.script("link del w0\n" + birth)
	route := def(1000, via("w0", "192.0.2.1", 1))
	mustApply(t, w, replace(route))
	if have := w.observe(routing.Scope{Families: both, Tables: []uint32{1000}}).Have.Routes; !slices.ContainsFunc(have, route.Equal) {
		t.Errorf("routes: %v", have)
	}
}
