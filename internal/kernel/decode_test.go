package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"pgregory.net/rapid"

	"ftr/internal/config"
	"ftr/internal/routing"
)

var (
	deviceNames   = names{2: "eth0", 3: "eth0.100", 250: "ppp0"}
	deviceIndexes = func(name string) (int, error) {
		for i, n := range deviceNames {
			if n == name {
				return i, nil
			}
		}
		return 0, errShort
	}
	values = cmp.Options{addrs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
)

// anyAddr draws an address that is not all zeros, which would be no gateway.
func anyAddr(t *rapid.T, f config.Family, label string) netip.Addr {
	size := 4
	if f == config.IPv6 {
		size = 16
	}
	b := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, label)
	b[size-1] |= 1
	a, _ := netip.AddrFromSlice(b)
	return a
}

func anyFamily(t *rapid.T) config.Family {
	return rapid.SampledFrom([]config.Family{config.IPv4, config.IPv6}).Draw(t, "family")
}

func anyPrefix(t *rapid.T, f config.Family, least int) netip.Prefix {
	a := anyAddr(t, f, "prefix")
	return netip.PrefixFrom(a, rapid.IntRange(least, a.BitLen()).Draw(t, "bits")).Masked()
}

func anyRoute(t *rapid.T) routing.Route {
	f := anyFamily(t)
	r := routing.Route{
		Family: f, Type: routing.Unicast, Destination: anyPrefix(t, f, 0), Table: rapid.Uint32Min(1).Draw(t, "table"),
		Metric: rapid.Uint32().Draw(t, "metric"), Protocol: rapid.Byte().Draw(t, "protocol"),
	}
	if rapid.Bool().Draw(t, "has source") {
		r.Source = anyAddr(t, f, "source")
	}
	count := rapid.IntRange(0, config.MaxUplinks).Draw(t, "next hops")
	for range count {
		h := routing.NextHop{Interface: rapid.SampledFrom([]string{"eth0", "eth0.100", "ppp0"}).Draw(t, "interface"), Weight: 1}
		if count > 1 {
			h.Weight = rapid.IntRange(1, 256).Draw(t, "weight")
		}
		if rapid.Bool().Draw(t, "has gateway") {
			h.Gateway, h.OnLink = anyAddr(t, f, "gateway"), rapid.Bool().Draw(t, "onlink")
		}
		r.NextHops = append(r.NextHops, h)
	}
	if count == 0 {
		r.Type = routing.Unreachable
	}
	return r
}

// TestRouteRoundTrip holds that every route we can write is read back as it was.
func TestRouteRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRoute(t)
		b, err := encodeRoute(want, false, deviceIndexes)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := decodeRoute(b, deviceNames)
		if d := cmp.Diff(want, got, values); d != "" || err != nil || !want.Equal(got) {
			t.Errorf("%v, (-want +got):\n%s", err, d)
		}
	})
}

func TestRuleRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFamily(t)
		want := routing.Rule{
			Family: f, Priority: rapid.Uint32().Draw(t, "priority"), Table: rapid.Uint32Min(1).Draw(t, "table"),
			SuppressPrefixLength: rapid.IntRange(-1, 128).Draw(t, "suppress"), Protocol: rapid.Byte().Draw(t, "protocol"),
			Mark: rapid.Uint32().Draw(t, "mark"), Mask: rapid.Uint32().Draw(t, "mask"),
			Local: rapid.Bool().Draw(t, "local"), Output: rapid.SampledFrom([]string{"", "eth0", "ppp0"}).Draw(t, "output"),
			Transport: rapid.Byte().Draw(t, "transport"), SourcePort: rapid.Uint16().Draw(t, "source port"),
		}
		if rapid.Bool().Draw(t, "has from") {
			want.From = anyPrefix(t, f, 1)
		}
		b, err := encodeRule(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRule(b)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if !deletes(want, got) {
			t.Error("a rule does not match its own deletion")
		}
	})
}

func TestInterfaceThatIsGone(t *testing.T) {
	if got := deviceNames.name(77); got != "if77" {
		t.Errorf("got %q", got)
	}
}

// FuzzDecode holds that no message, however damaged, makes a decoder fail worse than with an error.
func FuzzDecode(f *testing.F) {
	route := routing.Route{
		Family: config.IPv4, Table: 1001, Type: routing.Unicast, Destination: netip.MustParsePrefix("0.0.0.0/0"),
		NextHops: []routing.NextHop{{Interface: "eth0", Weight: 3}, {Interface: "ppp0", Gateway: netip.MustParseAddr("192.0.2.1"), Weight: 256}},
	}
	b, err := encodeRoute(route, false, deviceIndexes)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = encodeRule(routing.Rule{Family: config.IPv6, From: netip.MustParsePrefix("2001:db8::/32"), Table: 7}); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{2, 24, 0, 0, 2, 0, 0, 0, 8, 0, 2, 0, 192, 0, 2, 1, 5, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, _, err := decodeRoute(b, deviceNames); err == nil && r.Equal(r) && r.Type != routing.Unicast && r.Type != routing.Unreachable {
			t.Errorf("a route of type %d looks like ours", r.Type)
		}
		_, _ = decodeRule(b)
		_, _, _ = decodeLink(b)
		_, _, _ = decodeAddress(b)
		_, _, _ = decodeNeighbour(b)
		_, _, _ = firstDefaults(b, deviceNames)
		w := watcher{lost: map[neighbour]bool{}}
		for kind := range uint16(40) {
			w.matters(netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: b})
		}
	})
}

// TestBrokenMessages holds that broken messages are errors where a read would otherwise be silently
// incomplete.
func TestBrokenMessages(t *testing.T) {
	hop := make([]byte, 8)
	binary.NativeEndian.PutUint16(hop, 4)
	for name, b := range map[string][]byte{"empty": nil, "short": make([]byte, 7), "attribute beyond the end": append(make([]byte, 16), 200, 0, 1, 0)} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := decodeRoute(b, nil); err == nil {
				t.Error("route")
			}
			if _, err := decodeRule(b); err == nil {
				t.Error("rule")
			}
			if _, _, err := decodeLink(b); err == nil {
				t.Error("link")
			}
			if _, _, err := decodeAddress(b); err == nil {
				t.Error("address")
			}
		})
	}
	if _, err := decodeHops(2, hop); err == nil {
		t.Error("a next hop shorter than its header")
	}
	if _, err := decodeHops(2, hop[:5]); err == nil {
		t.Error("half a next hop")
	}
}
