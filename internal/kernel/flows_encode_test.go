package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
)

// The bytes as "conntrack -D --mark 0x12/0xff" sends them.
func TestEncodeRelease(t *testing.T) {
	filter, err := newMarkFilter(0x12, 0xff)
	if err != nil {
		t.Fatal(err)
	}
	got, err := encodeRelease(config.IPv4, filter)
	if err != nil {
		t.Fatal(err)
	}
	native := func(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
	var want []byte
	for _, part := range [][]byte{
		{unix.AF_INET, 1, 0, 0},
		native(8), native(8), {0, 0, 0, 0x12},
		native(8), native(21), {0, 0, 0, 0xff},
	} {
		want = append(want, part...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// What would select more than the connections of one uplink cannot be written.
func TestReleaseRefusesWideFilters(t *testing.T) {
	for _, f := range []markFilter{{}, {0, 0xff}, {1, 0}, {0x101, 0xff}, {0xffffffff, 0xff}, {0, 0xffffffff}} {
		if got, err := newMarkFilter(f.mark, f.mask); !errors.Is(err, errWideFilter) {
			t.Errorf("%#v: a filter was made: %#v, %v", f, got, err)
		}
		if b, err := encodeRelease(config.IPv4, f); !errors.Is(err, errWideFilter) || b != nil {
			t.Errorf("%#v: a request was written: %x, %v", f, b, err)
		}
	}
	for _, family := range []config.Family{0, 5, unix.AF_INET6} {
		if b, err := encodeRelease(family, markFilter{1, 0xff}); !errors.Is(err, unix.EAFNOSUPPORT) || b != nil {
			t.Errorf("family %d: a request was written: %x, %v", family, b, err)
		}
	}
}

// FuzzEncodeRelease holds that whatever is asked, a request either is not written or selects by exactly
// that mark under that mask, in one family, and never by less.
func FuzzEncodeRelease(f *testing.F) {
	f.Add(byte(4), uint32(1), uint32(0xff))
	f.Add(byte(6), uint32(0x300), uint32(0xff00))
	f.Add(byte(4), uint32(0), uint32(0))
	f.Add(byte(0), uint32(7), uint32(7))
	f.Fuzz(func(t *testing.T, family byte, mark, mask uint32) {
		b, err := encodeRelease(config.Family(family), markFilter{mark, mask})
		if err != nil {
			if b != nil {
				t.Fatalf("both a request and an error: %x, %v", b, err)
			}
			return
		}
		if mark == 0 || mask == 0 || mark&mask != mark || b[0] != unix.AF_INET && b[0] != unix.AF_INET6 || b[1] != 1 {
			t.Fatalf("mark %#x/%#x: %x", mark, mask, b)
		}
		got := map[uint16]uint32{}
		if err := attributes(b, nfgenmsg, func(d *netlink.AttributeDecoder) {
			got[d.Type()] = binary.BigEndian.Uint32(d.Bytes())
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[uint16]uint32{ctaMark: mark, ctaMarkMask: mask}, got); diff != "" {
			t.Fatalf("selected by (-want +got):\n%s", diff)
		}
	})
}

// What a kernel without the modules says is told as such.
func TestNetfilterMissing(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP} {
		err := explainNetfilter(fmt.Errorf("somewhere: %w", &netlink.OpError{Op: "receive", Err: errno}))
		if !errors.Is(err, ErrNoNetfilter) || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOBUFS} {
		if err := explainNetfilter(&netlink.OpError{Op: "receive", Err: errno}); errors.Is(err, ErrNoNetfilter) {
			t.Errorf("%v became %v", errno, err)
		}
	}
}
