package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// neighbour is an entry of the kernel's neighbour table (ip-neighbour(8)).
type neighbour struct {
	index   uint32 // of the interface
	address netip.Addr
}

// known are the states in which the kernel has a link-layer address that it may probe by unicast.
const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE

// message makes a request about the neighbour: struct ndmsg and the attribute NDA_DST (rtnetlink(7)).
func (n neighbour) message(kind netlink.HeaderType, flags netlink.HeaderFlags, state uint16, neighbourFlags uint8) netlink.Message {
	family, destination := byte(unix.AF_INET), n.address.AsSlice()
	if n.address.Is6() {
		family = unix.AF_INET6
	}
	b := make([]byte, unix.SizeofNdMsg, unix.SizeofNdMsg+4+len(destination))
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], n.index)
	binary.NativeEndian.PutUint16(b[8:], state)
	b[10] = neighbourFlags
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(destination)))
	b = binary.NativeEndian.AppendUint16(b, unix.NDA_DST)
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append(b, destination...),
	}
}

// stateIn reads the state from a message about this neighbour.
func (n neighbour) stateIn(m netlink.Message) (state uint16, ok bool) {
	if len(m.Data) < unix.SizeofNdMsg || binary.NativeEndian.Uint32(m.Data[4:]) != n.index {
		return 0, false
	}
	attributes, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofNdMsg:])
	if err != nil {
		return 0, false
	}
	for attributes.Next() {
		if attributes.Type() != unix.NDA_DST {
			continue
		}
		address, _ := netip.AddrFromSlice(attributes.Bytes())
		return binary.NativeEndian.Uint16(m.Data[8:]), address == n.address
	}
	return 0, false
}

// state reads the entry from the kernel; 0 (NUD_NONE): there is none.
func (n neighbour) state(c *netlink.Conn) (uint16, error) {
	messages, err := c.Execute(n.message(unix.RTM_GETNEIGH, 0, 0, 0))
	if errors.Is(err, syscall.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read neighbour %v: %w", n.address, err)
	}
	for _, m := range messages {
		if state, ok := n.stateIn(m); ok {
			return state, nil
		}
	}
	return 0, fmt.Errorf("read neighbour %v: the kernel answers with another one", n.address)
}

// solicit has the kernel ask the neighbour now: an entry with a link-layer address is set to PROBE,
// which leaves it usable; for any other, NTF_USE starts the resolution as a packet would.
func (n neighbour) solicit(c *netlink.Conn, state uint16) error {
	request := n.message(unix.RTM_NEWNEIGH, netlink.Create|netlink.Acknowledge, 0, unix.NTF_USE)
	if state&known != 0 {
		request = n.message(unix.RTM_NEWNEIGH, netlink.Acknowledge, unix.NUD_PROBE, 0)
	}
	_, err := c.Execute(request)
	return err
}

// watch returns a socket on which the changes of the interface's neighbours arrive.
func (n neighbour) watch() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	// ndm_ifindex is in the machine's byte order, what the filter loads in the network's.
	index := n.index
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		index = bits.ReverseBytes32(index)
	}
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: unix.SizeofNlMsghdr + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: index, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err == nil {
		err = c.SetBPF(filter)
	}
	if err == nil {
		err = c.JoinGroup(unix.RTNLGRP_NEIGH)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
