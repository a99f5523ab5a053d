package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// groups are the notifications that are listened to (rtnetlink(7), linux/rtnetlink.h).
const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_NEIGH-1) |
	1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1) |
	1<<(unix.RTNLGRP_IPV6_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// Watch calls hint, from the calling goroutine, whenever something may have changed that Observe would
// show, or a neighbour was lost or found again, until ctx ends; it then returns ctx's error. A hint
// says only "look again". The kernel does not tell everything (it is silent about IPv4 routes that die
// with their link, and drops what a full buffer cannot take), so the caller looks now and then without
// a hint as well. Watch also hints once when it has begun to listen: what changed before was not heard.
func (k *Kernel) Watch(ctx context.Context, hint func()) error {
	conn, err := k.dial(groups)
	if err != nil {
		return fmt.Errorf("watch the kernel: %w", explain(err))
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(k.watchBuffer); err != nil {
		return fmt.Errorf("watch the kernel: %w", explain(err))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	w := watcher{own: k.conn.PID(), lost: map[neighbour]bool{}}
	hint()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			// Notifications were lost: anything may have changed. The socket goes on working.
			clear(w.lost)
			k.overflows.Add(1)
			hint()
		case err != nil:
			return fmt.Errorf("watch the kernel: %w", explain(err))
		case w.relevant(messages):
			hint()
		}
	}
}

// neighbour is an entry of a neighbour table.
type neighbour struct {
	index   int
	address netip.Addr
}

// maxLost bounds what is remembered of neighbours: a scan of a large LAN fails for each address.
const maxLost = 4096

// watcher tells notifications that matter from the noise of a busy router.
type watcher struct {
	own  uint32 // the port of the socket that changes things: its echo is no news
	lost map[neighbour]bool
}

func (w *watcher) relevant(messages []netlink.Message) bool {
	relevant := false
	for _, m := range messages {
		if w.matters(m) {
			relevant = true // go on: the neighbours must be kept
		}
	}
	return relevant
}

// matters decides by one message; what it does not understand matters.
func (w *watcher) matters(m netlink.Message) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		// A bridge tells of its ports in this family; their links are told separately.
		return len(m.Data) == 0 || m.Data[0] != unix.AF_BRIDGE
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return m.Header.PID != w.own && routeMatters(m.Data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return m.Header.PID != w.own
	case unix.RTM_NEWNEIGH:
		return w.neighbourMatters(m.Data)
	case unix.RTM_DELNEIGH:
		if n, _, err := decodeNeighbour(m.Data); err == nil {
			delete(w.lost, n)
		}
		return false
	default:
		return true
	}
}

// routeMatters sorts out what no observation shows: caches, the local table, and in main everything but
// default routes. A BGP daemon changes thousands of those a second.
func routeMatters(b []byte) bool {
	r, cloned, err := decodeRoute(b, nil)
	if err != nil {
		return true
	}
	hidden := cloned || r.Table == unix.RT_TABLE_LOCAL || r.Table == unix.RT_TABLE_MAIN && !r.IsDefault()
	return !hidden
}

// neighbourMatters is true when an address is first found silent, and when it answers again.
func (w *watcher) neighbourMatters(b []byte) bool {
	n, state, err := decodeNeighbour(b)
	if err != nil {
		return true
	}
	was := w.lost[n]
	switch {
	case state&unix.NUD_FAILED != 0:
		if len(w.lost) >= maxLost {
			clear(w.lost)
		}
		w.lost[n] = true
		return !was
	case state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
		delete(w.lost, n)
		return was
	default:
		return false
	}
}

// decodeNeighbour reads a struct ndmsg and its destination.
func decodeNeighbour(b []byte) (n neighbour, state uint16, err error) {
	if len(b) < unix.SizeofNdMsg {
		return n, 0, errShort
	}
	n.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	state = binary.NativeEndian.Uint16(b[8:])
	err = attributes(b, unix.SizeofNdMsg, func(d *netlink.AttributeDecoder) {
		if d.Type() == unix.NDA_DST {
			n.address = decodeIP(b[0], d.Bytes())
		}
	})
	return n, state, err
}
