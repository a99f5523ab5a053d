package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Attributes of neighbour tables, and sizes of their structures (linux/neighbour.h).
const (
	ndtaThreshold3 = 4
	ndtaStats      = 7
	sizeofNdtMsg   = 4
	// ndtsTableFulls is the place of ndts_table_fulls in struct ndt_stats.
	ndtsTableFulls = 80
)

// NeighbourTable looks at the table of a family.
func (k *Kernel) NeighbourTable(f config.Family) (routing.NeighbourTable, error) {
	header := make([]byte, sizeofNdtMsg)
	header[0] = addressFamily(f)
	messages, err := k.dump(unix.RTM_GETNEIGHTBL, header)
	if err == nil {
		err = errors.New("the kernel tells nothing of it")
	}
	for _, m := range messages {
		if t, ok, bad := decodeNeighbourTable(m.Data); ok || bad != nil {
			return t, bad
		}
	}
	return routing.NeighbourTable{}, fmt.Errorf("look at the table of %s neighbours: %w", f, err)
}

// decodeNeighbourTable reads a struct ndtmsg and its attributes; ok is false for a message about the
// settings of one interface.
func decodeNeighbourTable(b []byte) (t routing.NeighbourTable, ok bool, err error) {
	err = attributes(b, sizeofNdtMsg, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case ndtaThreshold3:
			t.Limit, ok = d.Uint32(), true
		case ndtaStats:
			if v := d.Bytes(); len(v) >= ndtsTableFulls+8 {
				t.Full = binary.NativeEndian.Uint64(v[ndtsTableFulls:])
			}
		}
	})
	return t, ok, err
}
