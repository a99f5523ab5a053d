package kernel

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// object encodes what nf_tables tells of a named object.
func object(t testing.TB, family byte, table, name string, kind, use uint32, packets uint64) []byte {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.String(nftaTable, table)
	e.String(nftaObjName, name)
	e.Uint32(nftaObjType, kind)
	e.Uint32(nftaObjUse, use)
	e.Nested(nftaObjData, func(e *netlink.AttributeEncoder) error {
		e.ByteOrder = binary.BigEndian
		e.Uint64(1, 99)
		e.Uint64(nftaCounterPackets, packets)
		return nil
	})
	b, err := body([]byte{family, 0, 0, 0}, e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeCounter(t *testing.T) {
	const table, managed = firewall.EvidenceTable, firewall.ManagedTable
	for _, tt := range []struct {
		name, of string
		b        []byte
		want     counter
		ok       bool
	}{
		{"IPv4", table, object(t, unix.AF_INET, table, "opening-ip-eth0.1", 1, 1, 1<<40), counter{firewall.Count{Family: config.IPv4, Tally: firewall.Opening, Interface: "eth0.1"}, 1, 1 << 40}, true},
		{"IPv6", table, object(t, unix.AF_INET6, table, "replying-ip6-a/b", 1, 0, 7), counter{firewall.Count{Family: config.IPv6, Tally: firewall.Replying, Interface: "a=b"}, 0, 7}, true},
		{"managed", managed, object(t, unix.NFPROTO_INET, managed, "sending-ip6-eth0", 1, 2, 3), counter{firewall.Count{Family: config.IPv6, Tally: firewall.Sending, Interface: "eth0"}, 2, 3}, true},
		{"of the other family", table, object(t, unix.AF_INET, table, "opening-ip6-eth0", 1, 1, 1), counter{}, false},
		{"inet", table, object(t, unix.NFPROTO_INET, table, "opening-ip-eth0", 1, 1, 1), counter{}, false},
		{"not inet", managed, object(t, unix.AF_INET, managed, "opening-ip-eth0", 1, 1, 1), counter{}, false},
		{"another table", table, object(t, unix.AF_INET, "filter", "opening-ip-eth0", 1, 1, 1), counter{}, false},
		{"a quota", table, object(t, unix.AF_INET, table, "opening-ip-eth0", 2, 1, 1), counter{}, false},
		{"another name", table, object(t, unix.AF_INET, table, "eth0", 1, 1, 1), counter{}, false},
	} {
		got, ok, err := decodeCounter(tt.b, tt.of)
		if err != nil || ok != tt.ok || got != tt.want {
			t.Errorf("%s: %+v, %v, %v; want %+v, %v", tt.name, got, ok, err, tt.want, tt.ok)
		}
	}
}

func TestEncodeCounters(t *testing.T) {
	b, err := encodeCounters(firewall.EvidenceTable)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16]string{}
	if err := attributes(b, nfgenmsg, func(d *netlink.AttributeDecoder) { got[d.Type()] = string(d.Bytes()) }); err != nil {
		t.Fatal(err)
	}
	want := map[uint16]string{nftaTable: firewall.EvidenceTable + "\x00", nftaObjType: "\x00\x00\x00\x01"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// FuzzDecodeCounter holds that nothing the kernel may say is too much for the decoder, and that what it
// reads has a family and a name.
func FuzzDecodeCounter(f *testing.F) {
	f.Add(object(f, unix.AF_INET, firewall.EvidenceTable, "opening-ip-eth0", 1, 1, 5))
	f.Add(object(f, unix.AF_INET6, "x", "y", 3, 0, 0))
	f.Add([]byte{2, 0, 0, 0, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok, err := decodeCounter(b, firewall.EvidenceTable)
		switch {
		case err != nil && ok, !ok && c != counter{}:
			t.Errorf("%+v, %v, %v", c, ok, err)
		case ok && (c.Interface == "" || c.Family != config.IPv4 && c.Family != config.IPv6):
			t.Errorf("no name or family: %+v", c)
		}
	})
}
