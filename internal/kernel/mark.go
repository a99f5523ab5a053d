package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// Messages of connection tracking and their attributes (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctNew = unix.NFNL_SUBSYS_CTNETLINK << 8
	ctGet = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaZone       = 18

	ctaTupleIP = 1
	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ipsSeenReply = 1 << 1
)

// markTimeout is far more than a table of a million connections needs.
const markTimeout = time.Minute

var errWideMark = errors.New("the mark is 0 or has bits outside the mask")

// MarkConnections gives tracked connections of a family the marks of the lines that they belong to. Only the bits
// under the mask are written.
//
// Others that nobody has translated or answered are forgotten, whether they have a mark or not: they may have begun
// while a rule that translates them was missing, and would go on so. Their next packet begins them anew.
//
// The error wraps ErrNoNetfilter if the kernel cannot be asked to do so.
func (k *Kernel) MarkConnections(ctx context.Context, family config.Family, to firewall.Marking) (done firewall.Remarked, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mark %s connections that were there before: %w", family, err)
		}
	}()
	if err := narrow(to); err != nil {
		return done, err
	}
	number, err := familyNumber(family)
	if err != nil || len(to.Lines) == 0 && len(to.Moved) == 0 {
		return done, err
	}
	conn, err := k.dialNetfilter(0)
	if err != nil {
		return done, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(markTimeout)); err != nil {
		return done, err
	}
	messages, err := conn.Execute(request(ctGet, netlink.Dump, []byte{number, 0, 0, 0}))
	if err != nil {
		return done, explainNetfilter(err)
	}
	for _, m := range messages {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		c, err := decodeConnection(m.Data)
		if err != nil {
			return done, err
		}
		fate, mark, known := to.Judge(c.mark, c.reached, c.answered)
		switch {
		case fate == firewall.Marked:
			done.Marked++
			_, err = conn.Execute(request(ctNew, netlink.Acknowledge, c.encodeMark(number, mark, to.Mask)))
		case fate == firewall.Gone && len(c.tuple) > 0:
			done.Forgotten++
			_, err = conn.Execute(request(ctDelete, netlink.Acknowledge, c.encodeName(number)))
		case !known && c.untouched():
			_, err = conn.Execute(request(ctDelete, netlink.Acknowledge, c.encodeName(number)))
		}
		if err != nil && !errors.Is(err, unix.ENOENT) { // it ended meanwhile
			return done, explainNetfilter(err)
		}
	}
	return done, nil
}

// narrow refuses marks that are none, or that would write others' bits.
func narrow(to firewall.Marking) error {
	marks := slices.Concat(slices.Collect(maps.Values(to.Lines)), slices.Collect(maps.Values(to.Networks)))
	for _, next := range to.Moved {
		if next != 0 {
			marks = append(marks, next)
		}
	}
	for _, mark := range marks {
		if mark == 0 || mark&^to.Mask != 0 {
			return fmt.Errorf("mark %#x/%#x: %w", mark, to.Mask, errWideMark)
		}
	}
	return nil
}

func familyNumber(f config.Family) (byte, error) {
	number, ok := map[config.Family]byte{config.IPv4: unix.AF_INET, config.IPv6: unix.AF_INET6}[f]
	if !ok {
		return 0, fmt.Errorf("connections of address family %d: %w", f, unix.EAFNOSUPPORT)
	}
	return number, nil
}

// appendMark adds a mark and the mask under which it counts.
func appendMark(b []byte, mark, mask uint32) []byte {
	for _, a := range []struct {
		kind  uint16
		value uint32
	}{{ctaMark, mark}, {ctaMarkMask, mask}} {
		b = binary.NativeEndian.AppendUint16(b, unix.SizeofNlAttr+4)
		b = binary.NativeEndian.AppendUint16(b, a.kind)
		b = binary.BigEndian.AppendUint32(b, a.value)
	}
	return b
}

// connection is what is needed of a tracked connection.
type connection struct {
	tuple, zone       []byte     // what names it to the kernel, as it came
	began             netip.Addr // whose first packet it was
	reached, answered netip.Addr // where that was sent to, and where replies go to
	mark, status      uint32
}

// untouched tells whether nobody has translated the connection's source or answered it.
func (c connection) untouched() bool {
	return len(c.tuple) > 0 && c.began.IsValid() && c.began == c.answered && c.status&ipsSeenReply == 0
}

// encodeMark writes the body of the request that changes bits of the mark of a connection which exists.
func (c connection) encodeMark(family byte, mark, mask uint32) []byte {
	return appendMark(c.encodeName(family), mark, mask)
}

// encodeName writes the body of a request about this connection. It always has the attribute that names
// it: a request to delete without one deletes everything.
func (c connection) encodeName(family byte) []byte {
	b := appendRaw([]byte{family, 0, 0, 0}, ctaTupleOrig|unix.NLA_F_NESTED, c.tuple)
	if c.zone != nil {
		b = appendRaw(b, ctaZone, c.zone)
	}
	return b
}

// appendRaw adds an attribute as it is.
func appendRaw(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func decodeConnection(b []byte) (c connection, err error) {
	if len(b) < nfgenmsg {
		return c, fmt.Errorf("decode a connection: %w", errShort)
	}
	for rest := b[nfgenmsg:]; len(rest) > 0; {
		var a attribute
		if a, rest, err = nextAttribute(rest); err == nil {
			err = c.take(b[0], a)
		}
		if err != nil {
			return c, fmt.Errorf("decode a connection: %w", err)
		}
	}
	return c, nil
}

// take reads one attribute of a connection.
func (c *connection) take(family byte, a attribute) (err error) {
	switch a.kind {
	case ctaTupleOrig:
		c.tuple = a.value
		c.began, c.reached, err = ends(family, a.value)
	case ctaTupleReply:
		_, c.answered, err = ends(family, a.value)
	case ctaZone:
		c.zone = a.value
	case ctaMark, ctaStatus:
		if len(a.value) != 4 {
			return errShort
		}
		value := binary.BigEndian.Uint32(a.value)
		if a.kind == ctaMark {
			c.mark = value
		} else {
			c.status = value
		}
	}
	return err
}

// ends returns the addresses of a tuple.
func ends(family byte, tuple []byte) (from, to netip.Addr, err error) {
	for len(tuple) > 0 {
		var a attribute
		if a, tuple, err = nextAttribute(tuple); err != nil {
			return from, to, err
		}
		if a.kind != ctaTupleIP {
			continue
		}
		for rest := a.value; len(rest) > 0; {
			if a, rest, err = nextAttribute(rest); err != nil {
				return from, to, err
			}
			switch a.kind {
			case ctaIPv4Src, ctaIPv6Src:
				from = decodeIP(family, a.value)
			case ctaIPv4Dst, ctaIPv6Dst:
				to = decodeIP(family, a.value)
			}
		}
	}
	return from, to, nil
}
