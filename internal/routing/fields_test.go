package routing_test

import (
	"net/netip"
	"reflect"
	"testing"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// other returns a valid value of the type that differs from v.
func other(t *testing.T, v reflect.Value) reflect.Value {
	t.Helper()
	var o any
	switch x := v.Interface().(type) {
	case config.Family:
		o = config.IPv6
	case routing.RouteType:
		o = routing.Unreachable
	case uint8:
		o = x + 1
	case uint16:
		o = x + 1
	case uint32:
		o = x + 1
	case int:
		o = x + 1
	case bool:
		o = !x
	case string:
		o = x + "x"
	case netip.Addr:
		o = x.Next()
	case netip.Prefix:
		o = netip.PrefixFrom(x.Addr().Next(), x.Bits())
	case []routing.NextHop:
		o = x[:len(x)-1]
	default:
		t.Fatalf("no other value of type %T: teach this test", x)
	}
	return reflect.ValueOf(o)
}

// each calls f with a copy of v for every field, in which that field differs.
func each[T any](t *testing.T, v T, f func(field string, changed T)) {
	t.Helper()
	for i := range reflect.TypeFor[T]().NumField() {
		changed := v
		field := reflect.ValueOf(&changed).Elem().Field(i)
		field.Set(other(t, field))
		f(reflect.TypeFor[T]().Field(i).Name, changed)
	}
}

// A field that somebody adds must be compared and printed, or a difference in it would never be mended
// or shown.
func TestEveryFieldCounts(t *testing.T) {
	route := withSource(via(7, 117, 5, hop("eth1", "192.0.2.1"), hop("eth2", "198.51.100.1"), hop("eth3", "203.0.113.1")), "192.0.2.2")
	route.Destination = netip.MustParsePrefix("10.1.2.0/24")
	command := func(r routing.Route) string { return routing.Step{Op: routing.Replace, Route: &r}.String() }
	differs := func(t *testing.T, field string, changed routing.Route) {
		t.Helper()
		if route.Equal(changed) || changed.Equal(route) {
			t.Errorf("Route.Equal does not look at %s", field)
		}
		if command(route) == command(changed) {
			t.Errorf("Route.String does not show %s: %s", field, command(changed))
		}
	}
	if !route.Equal(route) {
		t.Error("a route is not equal to itself")
	}
	each(t, route, func(field string, changed routing.Route) { differs(t, field, changed) })
	each(t, route.NextHops[1], func(field string, changed routing.NextHop) {
		r := route
		r.NextHops = []routing.NextHop{route.NextHops[0], changed, route.NextHops[2]}
		differs(t, "NextHop."+field, r)
	})

	rule := markRule(20003, 7, 117, 1, 0xff)
	rule.From, rule.SuppressPrefixLength = netip.MustParsePrefix("192.0.2.2/32"), 0
	show := func(r routing.Rule) string { return routing.Step{Op: routing.Add, Rule: &r}.String() }
	each(t, rule, func(field string, changed routing.Rule) {
		if rule == changed {
			t.Errorf("== does not look at Rule.%s", field)
		}
		if show(rule) == show(changed) {
			t.Errorf("Rule.String does not show %s: %s", field, show(changed))
		}
	})
}
