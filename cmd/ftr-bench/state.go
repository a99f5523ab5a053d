package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

// lineSet is a set of lines, by number from 0.
type lineSet [4]uint64

func (s lineSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s *lineSet) add(i int)     { s[i/64] |= 1 << (i % 64) }
func (s lineSet) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// place is where a default route stands: the one of lowest metric in a table is used.
type place struct{ table, metric uint32 }

// move is a line that new connections began or ceased to use.
type move struct {
	at   time.Time
	line int
	in   bool
}

// state is the router's kernel as its notifications tell.
type state struct {
	lines    map[uint32]int // by the router's interface index
	total    int
	defaults map[place]lineSet
	present  map[string]time.Time // rules, routes and tables, whole, with when they came
	table    uint32               // of the route that new connections take; 0: not known
	moves    []move               // of that table's lines
	rules    int                  // that are present
}

func newState(host *lab.Host, p lab.Plan) (*state, error) {
	s := &state{lines: map[uint32]int{}, total: len(p.Lines), defaults: map[place]lineSet{}, present: map[string]time.Time{}}
	return s, host.Do(func() error {
		for i, l := range p.Lines {
			link, err := net.InterfaceByName(l.Interface)
			if err != nil {
				return fmt.Errorf("interface %s of the router: %w", l.Interface, err)
			}
			s.lines[uint32(link.Index)] = i
		}
		return nil
	})
}

// take follows one message.
func (s *state) take(at time.Time, family int, kind uint16, data []byte) error {
	if family == unix.NETLINK_NETFILTER {
		return s.takeTable(at, kind, data)
	}
	switch kind {
	case unix.RTM_NEWRULE:
		s.keep(at, "rule", data, true)
	case unix.RTM_DELRULE:
		s.keep(at, "rule", data, false)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return s.takeRoute(at, kind == unix.RTM_NEWROUTE, data)
	}
	return nil
}

// keep notes that an object is there or gone. Its whole message is its name.
func (s *state) keep(at time.Time, kind string, data []byte, there bool) {
	object := kind + string(data)
	if kind == "rule" && there != s.has(object) {
		s.rules += map[bool]int{true: 1, false: -1}[there]
	}
	if there {
		s.present[object] = at
	} else {
		delete(s.present, object)
	}
}

// has tells whether there is an object.
func (s *state) has(object string) bool {
	_, ok := s.present[object]
	return ok
}

// takeTable follows nftables' own tables (nfnetlink: struct nfgenmsg, then attributes).
func (s *state) takeTable(at time.Time, kind uint16, data []byte) error {
	const subsystem = unix.NFNL_SUBSYS_NFTABLES << 8
	if kind != subsystem|unix.NFT_MSG_NEWTABLE && kind != subsystem|unix.NFT_MSG_DELTABLE || len(data) < 4 {
		return nil
	}
	d, err := netlink.NewAttributeDecoder(data[4:])
	if err != nil {
		return fmt.Errorf("read a notification of nftables: %w", err)
	}
	for d.Next() {
		if d.Type() == unix.NFTA_TABLE_NAME {
			s.keep(at, "nft", fmt.Appendf(nil, "%d %s", data[0], d.String()), kind == subsystem|unix.NFT_MSG_NEWTABLE)
		}
	}
	return d.Err()
}

var errShort = errors.New("a notification is too short")

// takeRoute follows a route; see rtnetlink(7), struct rtmsg.
func (s *state) takeRoute(at time.Time, there bool, data []byte) error {
	if len(data) < unix.SizeofRtMsg {
		return errShort
	}
	r, err := s.decode(data)
	if err != nil || r.table == unix.RT_TABLE_LOCAL || r.cloned {
		return err
	}
	s.keep(at, "route", data, there)
	if r.bits != 0 {
		return nil
	}
	before := s.best(s.table)
	if there {
		s.defaults[r.place] = r.hops
	} else if s.defaults[r.place] == r.hops {
		delete(s.defaults, r.place)
	}
	s.moved(at, before)
	return nil
}

// moved notes which lines came or went.
func (s *state) moved(at time.Time, before lineSet) {
	if s.table == 0 {
		return
	}
	after := s.best(s.table)
	for i := range s.total {
		if before.has(i) != after.has(i) {
			s.moves = append(s.moves, move{at, i, after.has(i)})
		}
	}
}

// route is what matters of one.
type route struct {
	place
	bits   uint8
	cloned bool
	hops   lineSet
}

func (s *state) decode(data []byte) (route, error) {
	r := route{bits: data[1], place: place{table: uint32(data[4])}}
	r.cloned = binary.NativeEndian.Uint32(data[8:])&unix.RTM_F_CLONED != 0
	d, err := netlink.NewAttributeDecoder(data[unix.SizeofRtMsg:])
	if err != nil {
		return r, fmt.Errorf("read a route: %w", err)
	}
	for d.Next() {
		switch d.Type() {
		case unix.RTA_TABLE:
			r.table = d.Uint32()
		case unix.RTA_PRIORITY:
			r.metric = d.Uint32()
		case unix.RTA_OIF:
			s.through(&r.hops, d.Uint32())
		case unix.RTA_MULTIPATH:
			// struct rtnexthop: length, flags, hops, interface; attributes follow.
			for b := d.Bytes(); len(b) >= unix.SizeofRtNexthop; {
				s.through(&r.hops, binary.NativeEndian.Uint32(b[4:]))
				n := (int(binary.NativeEndian.Uint16(b)) + 3) &^ 3
				if n < unix.SizeofRtNexthop || n > len(b) {
					break
				}
				b = b[n:]
			}
		}
	}
	return r, d.Err()
}

func (s *state) through(hops *lineSet, index uint32) {
	if i, ok := s.lines[index]; ok {
		hops.add(i)
	}
}

// best returns the lines of a table's default route in use.
func (s *state) best(table uint32) lineSet {
	found, hops := place{metric: ^uint32(0)}, lineSet{}
	for p, h := range s.defaults {
		if p.table == table && p.metric <= found.metric {
			found, hops = p, h
		}
	}
	return hops
}

// balanced returns the table whose default route leads over the most lines: the one that new
// connections take. 0: none leads over all of them.
func (s *state) balanced() uint32 {
	for p, hops := range s.defaults {
		if hops.count() == s.total && s.best(p.table) == hops {
			return p.table
		}
	}
	return 0
}

// uses tells whether new connections may take line i.
func (s *state) uses(i int) bool { return s.best(s.table).has(i) }

// usesAll tells whether they may take all lines.
func (s *state) usesAll() bool { return s.best(s.table).count() == s.total }
