package kernel_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// manyUplinks is what one configuration may hold.
const manyUplinks = config.MaxUplinks

// TestManyUplinks holds that the longest list of uplinks can be written and read back, in both
// families: the default route over all of them is the longest message there is.
func TestManyUplinks(t *testing.T) {
	w := newRealWorld(t, "many")
	scope := routing.Scope{Families: both, Tables: []uint32{1000}}
	var lines []string
	var want routing.State
	var hops, hops6 []routing.NextHop
	for i := range manyUplinks {
		name := fmt.Sprintf("w%d", i)
		lines = append(lines, fmt.Sprintf("link add %s type veth peer name x%d", name, i), fmt.Sprintf("link set %s addrgenmode none", name),
			"link set "+name+" up", fmt.Sprintf("addr add 10.0.%d.2/24 dev %s", i, name), fmt.Sprintf("addr add 2001:db8:%x::2/64 dev %s nodad", i, name))
		scope.Interfaces = append(scope.Interfaces, name)
		scope.Tables = append(scope.Tables, uint32(1001+i))
		scope.Sysctls = append(scope.Sysctls, "net/ipv4/conf/"+name+"/rp_filter")
		hop, hop6 := via(name, fmt.Sprintf("10.0.%d.1", i), 1+i), via(name, fmt.Sprintf("2001:db8:%x::1", i), 1+i)
		hops, hops6 = append(hops, hop), append(hops6, hop6)
		hop.Weight = 1
		want.Routes = append(want.Routes, src(def(uint32(1001+i), hop), fmt.Sprintf("10.0.%d.2", i)))
		want.Rules = append(want.Rules, from(lookup(uint32(20000+i), uint32(1001+i)), fmt.Sprintf("10.0.%d.2/32", i)),
			mark(lookup(uint32(20250+i), uint32(1001+i)), uint32(1+i), 0xff))
		want.Sysctls = append(want.Sysctls, routing.Sysctl{Key: scope.Sysctls[i], Value: "2"})
	}
	want.Routes = append(want.Routes, def(1000, hops...), def6(1000, 1024, hops6...))
	if err := w.ns.Batch(lines...); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	for _, r := range want.Routes {
		mustApply(t, w, replace(r))
	}
	for _, r := range want.Rules {
		mustApply(t, w, add(r))
	}
	for _, s := range want.Sysctls {
		mustApply(t, w, set(s.Key, s.Value))
	}
	applied := time.Since(began)

	began = time.Now()
	obs := w.observe(scope)
	t.Logf("%d uplinks: %d steps in %v, one look in %v", manyUplinks,
		len(want.Routes)+len(want.Rules)+len(want.Sysctls), applied, time.Since(began))
	if len(obs.Links) != manyUplinks {
		t.Errorf("%d links", len(obs.Links))
	}
	for _, l := range obs.Links {
		if len(l.Addresses) != 2 {
			t.Errorf("%s has %d addresses", l.Name, len(l.Addresses))
		}
	}
	got := sorted(obs.Have)
	missing := func(r routing.Route) bool {
		for _, o := range got.Routes {
			if o.Equal(r) {
				return false
			}
		}
		return true
	}
	for _, r := range want.Routes {
		if missing(r) {
			t.Errorf("not observed: %s", r)
		}
	}
	if n := len(obs.Have.Rules); n != 2*manyUplinks+5 {
		t.Errorf("%d rules", n)
	}
	if d := gocmp.Diff(want.Sysctls, obs.Have.Sysctls); d != "" {
		t.Errorf("sysctls (-want +got):\n%s", d)
	}
	if _, ok := obs.Link("w249"); !ok || obs.Links[249].Addresses[0].Prefix.Addr() != netip.MustParseAddr("10.0.249.2") {
		t.Errorf("the last link is %+v", obs.Links[249])
	}
}

func mustApply(t *testing.T, w world, s routing.Step) {
	t.Helper()
	if err := w.Apply(context.Background(), s); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
}
