package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
)

// Messages of nf_tables and their attributes (linux/netfilter/nf_tables.h).
const (
	nftGetTable  = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE
	nftGetObject = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETOBJ

	nftaTable          = 1 // the table's name, in messages about whatever
	nftaElementsSet    = 2 // in messages about elements
	nftaObjName        = 2
	nftaObjType        = 3
	nftaObjData        = 4
	nftaObjUse         = 5
	nftaCounterPackets = 2

	nftObjectCounter = 1
)

// ErrNoEvidence is wrapped by the error of Counters if the tables have to be set again.
var ErrNoEvidence = firewall.ErrNoEvidence

// Counters returns what was sent through each interface and replied to it, by family and interface, as the tables
// of a name count it: firewall.EvidenceTable, made by SetEvidence, or firewall.ManagedTable, made by SetFirewall.
// All is read by one request. Every one of the families must be counted, by whole tables, else the error wraps
// ErrNoEvidence.
func (k *Kernel) Counters(ctx context.Context, table string, families []config.Family) (map[config.Family]map[string]health.Packets, error) {
	counts, err := k.counters(ctx, table)
	if err != nil {
		return nil, fmt.Errorf("read traffic counters: %w", err)
	}
	for _, f := range families {
		if counts[f] == nil {
			return nil, fmt.Errorf("read traffic counters of %s: %w", f, firewall.ErrNoEvidence)
		}
	}
	return counts, nil
}

func (k *Kernel) counters(ctx context.Context, table string) (map[config.Family]map[string]health.Packets, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := encodeCounters(table)
	if err != nil {
		return nil, err
	}
	messages, err := k.netfilterDump(nftGetObject, b)
	if err != nil {
		return nil, err
	}
	counts := map[config.Family]map[string]health.Packets{}
	for _, m := range messages {
		c, ok, err := decodeCounter(m.Data, table)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			continue
		case table == firewall.EvidenceTable && int(c.use) < c.Tally.Uses(): // the other one is looked after as a whole
			return nil, firewall.ErrNoEvidence
		}
		if counts[c.Family] == nil {
			counts[c.Family] = map[string]health.Packets{}
		}
		counts[c.Family][c.Interface] = c.addTo(counts[c.Family][c.Interface])
	}
	return counts, nil
}

// encodeCounters writes the body of the request for all counters in tables of a name, of any family.
func encodeCounters(table string) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.String(nftaTable, table)
	e.Uint32(nftaObjType, nftObjectCounter)
	return body(make([]byte, nfgenmsg), e)
}

// counter is one named counter.
type counter struct {
	firewall.Count
	use     uint32 // how many rules or maps use it
	packets uint64
}

// addTo adds the counter to the sum that it is part of.
func (c counter) addTo(p health.Packets) health.Packets {
	switch c.Tally {
	case firewall.Opening:
		p.Opened += c.packets
		p.Sent += c.packets
	case firewall.Sending:
		p.Sent += c.packets
	case firewall.Accepting:
		p.Accepted += c.packets
		p.Replied += c.packets
	case firewall.Replying:
		p.Replied += c.packets
	}
	return p
}

// decodeCounter reads a counter of the tables of a name; ok is false for what is none of ours.
func decodeCounter(b []byte, of string) (c counter, ok bool, err error) {
	if len(b) < nfgenmsg {
		return counter{}, false, fmt.Errorf("decode a counter: %w", errShort)
	}
	var table, name, kind []byte
	for rest := b[nfgenmsg:]; len(rest) > 0; {
		var a attribute
		if a, rest, err = nextAttribute(rest); err != nil {
			return counter{}, false, fmt.Errorf("decode a counter: %w", err)
		}
		switch a.kind {
		case nftaTable:
			table = a.text()
		case nftaObjName:
			name = a.text()
		case nftaObjType:
			kind = a.value
		case nftaObjUse:
			if len(a.value) == 4 {
				c.use = binary.BigEndian.Uint32(a.value)
			}
		case nftaObjData:
			if c.packets, err = decodePackets(a.value); err != nil {
				return counter{}, false, fmt.Errorf("decode a counter: %w", err)
			}
		}
	}
	if string(table) != of || string(kind) != "\x00\x00\x00\x01" {
		return counter{}, false, nil
	}
	// Somebody may have a table of the same name in another family.
	family, single := familyOf(b[0])
	if c.Count, ok = firewall.ParseCount(string(name)); !ok || single && c.Family != family || single != (of == firewall.EvidenceTable) {
		return counter{}, false, nil
	}
	return c, true, nil
}

// decodePackets reads the state of a counter.
func decodePackets(b []byte) (packets uint64, err error) {
	for len(b) > 0 {
		var a attribute
		if a, b, err = nextAttribute(b); err != nil {
			return 0, err
		}
		if a.kind == nftaCounterPackets && len(a.value) == 8 {
			packets = binary.BigEndian.Uint64(a.value)
		}
	}
	return packets, nil
}

// attribute is a netlink attribute (netlink(7)). Counters are read all the time, so they have a decoder
// of their own that allocates nothing.
type attribute struct {
	kind  uint16
	value []byte
}

// text is the value as a string that ends with a zero byte.
func (a attribute) text() []byte { return bytes.TrimSuffix(a.value, []byte{0}) }

// nextAttribute takes the first attribute from b.
func nextAttribute(b []byte) (a attribute, rest []byte, err error) {
	if len(b) < unix.SizeofNlAttr {
		return a, nil, errShort
	}
	length := int(binary.NativeEndian.Uint16(b))
	if length < unix.SizeofNlAttr || length > len(b) {
		return a, nil, errShort
	}
	const flags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
	a = attribute{binary.NativeEndian.Uint16(b[2:]) &^ flags, b[unix.SizeofNlAttr:length]}
	aligned := (length + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
	return a, b[min(aligned, len(b)):], nil
}
