package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"ftr/internal/firewall"
	"ftr/internal/routing"
)

// groups are the notifications that are listened to (rtnetlink(7), linux/rtnetlink.h). Those of
// netconf tell of forwarding and rp_filter.
const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_NEIGH-1) |
	1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1) |
	1<<(unix.RTNLGRP_IPV6_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1) |
	1<<(unix.RTNLGRP_IPV4_NETCONF-1) | 1<<(unix.RTNLGRP_IPV6_NETCONF-1)

// Watch is Events for those who only want to know when to look.
func (k *Kernel) Watch(ctx context.Context, hint func()) error {
	return k.Events(ctx, func(routing.Hint) { hint() })
}

// Events calls hint, never twice at once, whenever something may have changed that Observe would show,
// an nft table of this program was changed, or a neighbour was lost or found again, until ctx ends; it
// then returns ctx's error. A hint says at least "look again". The kernel does not tell everything (it
// is silent about IPv4 routes that die with their link, and drops what a full buffer cannot take), so
// the caller looks now and then without a hint as well. Events also hints once when it has begun to
// listen: what changed before was not heard.
func (k *Kernel) Events(ctx context.Context, hint func(routing.Hint)) error {
	var one sync.Mutex
	tell := func(hints ...routing.Hint) {
		one.Lock()
		defer one.Unlock()
		for _, h := range hints {
			hint(h)
		}
	}
	conn, err := k.dial(groups)
	if err != nil {
		return fmt.Errorf("watch the kernel: %w", explain(err))
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(k.watchBuffer); err != nil {
		return fmt.Errorf("watch the kernel: %w", explain(err))
	}
	group, ctx := errgroup.WithContext(ctx)
	rules, err := k.watchRules(ctx, group, tell)
	if err != nil {
		return fmt.Errorf("watch the kernel's nft tables: %w", err)
	}
	defer rules()
	w := watcher{own: k.conn.PID(), lost: map[neighbour]bool{}}
	group.Go(func() error {
		tell(routing.Hint{})
		return k.listen(ctx, conn, func(messages []netlink.Message, lost bool) {
			if lost {
				clear(w.lost)
				tell(routing.Hint{})
			}
			tell(w.hints(messages)...)
		})
	})
	return group.Wait()
}

// listen hands on what a socket receives until ctx ends; lost tells that notifications were dropped, so
// that anything may have changed. The socket goes on working then.
func (k *Kernel) listen(ctx context.Context, conn *netlink.Conn, f func(messages []netlink.Message, lost bool)) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			k.overflows.Add(1)
			f(nil, true)
		case err != nil:
			return fmt.Errorf("watch the kernel: %w", explain(err))
		default:
			f(messages, false)
		}
	}
}

// watchRules listens to nf_tables in a goroutine of the group, where the kernel has it. The function
// that it returns closes the socket.
func (k *Kernel) watchRules(ctx context.Context, group *errgroup.Group, tell func(...routing.Hint)) (end func(), err error) {
	conn, err := k.dialNetfilter(1 << (unix.NFNLGRP_NFTABLES - 1))
	switch {
	case errors.Is(err, ErrNoNetfilter):
		return func() {}, nil
	case err != nil:
		return nil, err
	}
	if err := conn.SetReadBuffer(k.watchBuffer); err != nil {
		return nil, errors.Join(explain(err), conn.Close())
	}
	group.Go(func() error {
		return k.listen(ctx, conn, func(messages []netlink.Message, lost bool) {
			if lost || slices.ContainsFunc(messages, k.aboutOurTable) {
				tell(routing.Hint{Ruleset: true})
			}
		})
	})
	return func() { conn.Close() }, nil
}

// aboutOurTable tells whether a notification of nf_tables is about a table of this program: all but
// those of a new generation name the table in the same attribute. Elements of sets that others fill, which
// may come by the thousand, are no news.
func (k *Kernel) aboutOurTable(m netlink.Message) bool {
	const kind = unix.NFNL_SUBSYS_NFTABLES << 8
	if m.Header.Type == kind|unix.NFT_MSG_NEWGEN {
		return false
	}
	table, set := "", ""
	err := attributes(m.Data, nfgenmsg, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case nftaTable:
			table = d.String()
		case nftaElementsSet:
			set = d.String()
		}
	})
	if err != nil {
		return true
	}
	if m.Header.Type == kind|unix.NFT_MSG_NEWSETELEM || m.Header.Type == kind|unix.NFT_MSG_DELSETELEM {
		filled := k.filled.Load()
		return firewall.Owns(table) && (filled == nil || !(*filled)[set])
	}
	return firewall.Owns(table) && !strings.HasPrefix(table, firewall.HoldTables)
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

// hints returns what messages tell: each neighbour that was lost, and one for all else that matters.
func (w *watcher) hints(messages []netlink.Message) (hints []routing.Hint) {
	other := false
	for _, m := range messages {
		if h, lost := w.lostNeighbour(m); lost {
			hints = append(hints, h)
		} else if w.matters(m) {
			other = true // go on: the neighbours must be kept
		}
	}
	if other {
		hints = append(hints, routing.Hint{})
	}
	return hints
}

// lostNeighbour tells of a neighbour that is found silent for the first time.
func (w *watcher) lostNeighbour(m netlink.Message) (h routing.Hint, lost bool) {
	if m.Header.Type != unix.RTM_NEWNEIGH {
		return h, false
	}
	n, state, err := decodeNeighbour(m.Data)
	if err != nil || state&unix.NUD_FAILED == 0 || w.lost[n] {
		return h, false
	}
	if len(w.lost) >= maxLost {
		clear(w.lost)
	}
	w.lost[n] = true
	return routing.Hint{Neighbour: n.address, Interface: n.index}, true
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

// neighbourMatters is true when an address that was silent answers again.
func (w *watcher) neighbourMatters(b []byte) bool {
	n, state, err := decodeNeighbour(b)
	if err != nil {
		return true
	}
	was := w.lost[n]
	if state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 {
		delete(w.lost, n)
		return was
	}
	return false
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
