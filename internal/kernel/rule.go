package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

const (
	// sizeofRule is the size of struct fib_rule_hdr: family, dst_len, src_len, tos, table, 2 reserved,
	// action, flags (linux/fib_rules.h).
	sizeofRule = 12
	// actionLookup is FR_ACT_TO_TBL.
	actionLookup = 1
	// flagPermanent is FIB_RULE_PERMANENT, which the kernel's own rule for table local has.
	flagPermanent = 1
	// flagsDetached are FIB_RULE_IIF_DETACHED and FIB_RULE_OIF_DETACHED: there is no such interface now.
	flagsDetached = 8 | 16
	// sizeofPorts is the size of struct fib_rule_port_range: first and last port.
	sizeofPorts = 4
	// fraPortMask is FRA_SPORT_MASK, which kernels since 6.15 show beside a single port.
	fraPortMask = 28
	// ownPackets is the interface that what this host sends "comes in" on.
	ownPackets = "lo"
	// noSuppress is how the kernel shows that nothing is suppressed: -1.
	noSuppress = 0xffffffff
)

// rules returns all rules of a family in the order in which the kernel asks them.
func (k *Kernel) rules(f config.Family) ([]routing.Rule, error) {
	header := make([]byte, sizeofRule)
	header[0] = addressFamily(f)
	messages, err := k.dump(unix.RTM_GETRULE, header)
	if f == config.IPv6 && errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil // booted with ipv6.disable=1
	}
	if err != nil {
		return nil, fmt.Errorf("list %s rules: %w", f, err)
	}
	rules := make([]routing.Rule, 0, len(messages))
	for _, m := range messages {
		r, err := decodeRule(m.Data)
		if err != nil {
			return nil, fmt.Errorf("list %s rules: %w", f, err)
		}
		if r.Family == f {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// decodeRule reads a struct fib_rule_hdr and its attributes. Whatever it does not know makes the rule
// an Other one: a selector that is overlooked would make a foreign rule look like ours.
func decodeRule(b []byte) (routing.Rule, error) {
	if len(b) < sizeofRule {
		return routing.Rule{}, errShort
	}
	f, ok := familyOf(b[0])
	r := routing.Rule{Family: f, Table: uint32(b[4]), SuppressPrefixLength: routing.NoSuppress}
	bits := int(b[2])
	flags := binary.NativeEndian.Uint32(b[8:])
	r.Other = !ok || b[1] != 0 || b[3] != 0 || b[7] != actionLookup || flags&^uint32(flagPermanent|flagsDetached) != 0
	var from netip.Addr
	err := attributes(b, sizeofRule, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.FRA_SRC:
			from = decodeIP(b[0], d.Bytes())
		case unix.FRA_PRIORITY:
			r.Priority = d.Uint32()
		case unix.FRA_FWMARK:
			r.Mark = d.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = d.Uint32()
		case unix.FRA_TABLE:
			r.Table = d.Uint32()
		case unix.FRA_PROTOCOL:
			r.Protocol = d.Uint8()
		case unix.FRA_SUPPRESS_PREFIXLEN:
			if v := d.Uint32(); v != noSuppress {
				r.SuppressPrefixLength = int(int32(v))
			}
		case unix.FRA_IIFNAME:
			r.Local = d.String() == ownPackets
			r.Other = r.Other || !r.Local
		case unix.FRA_OIFNAME:
			r.Output = d.String()
		case unix.FRA_IP_PROTO:
			r.Transport = d.Uint8()
		case unix.FRA_SPORT_RANGE:
			if v := d.Bytes(); len(v) == sizeofPorts && bytes.Equal(v[:2], v[2:]) {
				r.SourcePort = binary.NativeEndian.Uint16(v)
			} else {
				r.Other = true
			}
		case fraPortMask:
			r.Other = r.Other || d.Uint16() != math.MaxUint16
		case unix.FRA_PAD:
		default:
			r.Other = true
		}
	})
	if bits > 0 {
		r.From = netip.PrefixFrom(from, bits)
		r.Other = r.Other || !r.From.IsValid()
	}
	return r, err
}

// encodeRule writes what decodeRule reads. Attributes without meaning are left out: the kernel takes
// them as selectors when it looks for a rule to delete.
func encodeRule(r routing.Rule) ([]byte, error) {
	header := make([]byte, sizeofRule)
	header[0] = addressFamily(r.Family)
	header[4] = compatTable(r.Table)
	header[7] = actionLookup
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.FRA_TABLE, r.Table)
	ae.Uint32(unix.FRA_PRIORITY, r.Priority)
	ae.Uint8(unix.FRA_PROTOCOL, r.Protocol)
	if r.From.IsValid() && r.From.Bits() > 0 {
		header[2] = uint8(r.From.Bits())
		ae.Bytes(unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Mark != 0 || r.Mask != 0 {
		ae.Uint32(unix.FRA_FWMARK, r.Mark)
		ae.Uint32(unix.FRA_FWMASK, r.Mask)
	}
	if r.SuppressPrefixLength != routing.NoSuppress {
		ae.Uint32(unix.FRA_SUPPRESS_PREFIXLEN, uint32(r.SuppressPrefixLength))
	}
	if r.Local {
		ae.String(unix.FRA_IIFNAME, ownPackets)
	}
	if r.Output != "" {
		ae.String(unix.FRA_OIFNAME, r.Output)
	}
	if r.Transport != 0 {
		ae.Uint8(unix.FRA_IP_PROTO, r.Transport)
	}
	if r.SourcePort != 0 {
		port := binary.NativeEndian.AppendUint16(nil, r.SourcePort)
		ae.Bytes(unix.FRA_SPORT_RANGE, append(port, port...))
	}
	return body(header, ae)
}

// compatTable is what goes into the one byte that headers have for a table.
func compatTable(table uint32) uint8 {
	if table > 255 {
		return unix.RT_TABLE_COMPAT
	}
	return uint8(table)
}

// deletes tells whether a request to delete rule r would hit rule o: the kernel takes what a request
// leaves out, or sets to zero, as "any" (rule_find in net/core/fib_rules.c).
func deletes(r, o routing.Rule) bool {
	return o.Priority == r.Priority && o.Table == r.Table &&
		(!r.From.IsValid() || o.From == r.From) &&
		(r.Mark == 0 || o.Mark == r.Mark) && (r.Mask == 0 || o.Mask == r.Mask) &&
		(r.SuppressPrefixLength == routing.NoSuppress || o.SuppressPrefixLength == r.SuppressPrefixLength) &&
		(!r.Local || o.Local) && (r.Output == "" || o.Output == r.Output) &&
		(r.Transport == 0 || o.Transport == r.Transport) && (r.SourcePort == 0 || o.SourcePort == r.SourcePort) &&
		(r.Protocol == 0 || o.Protocol == r.Protocol)
}
