package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/routing"
)

// ErrNoWay is returned by Lookup where a packet would be refused: no route, or one of type unreachable.
var ErrNoWay = errors.New("the kernel has no route for it")

// Flags of a request for a route (rtnetlink(7)): that the answer is the route itself with all its next
// hops, and the table that it is in.
const (
	lookupTable = 0x1000 // RTM_F_LOOKUP_TABLE
	lookupMatch = 0x2000 // RTM_F_FIB_MATCH
)

// Lookup asks the kernel by which route it would send a packet with a mark, as "ip route get" does. A
// packet without Inside is the router's own.
func (k *Kernel) Lookup(ctx context.Context, p config.Packet, mark uint32) (routing.Route, error) {
	if err := ctx.Err(); err != nil {
		return routing.Route{}, err
	}
	links, _, err := k.links()
	if err != nil {
		return routing.Route{}, err
	}
	b, err := k.encodeLookup(p, mark)
	if err != nil {
		return routing.Route{}, err
	}
	messages, err := k.conn.Execute(request(unix.RTM_GETROUTE, 0, b))
	for _, refusal := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.ESRCH} {
		if errors.Is(err, refusal) {
			return routing.Route{}, fmt.Errorf("%w (%w)", ErrNoWay, refusal)
		}
	}
	if err != nil || len(messages) != 1 {
		return routing.Route{}, fmt.Errorf("ask for the route to %s: %w", p.Destination, explain(err))
	}
	route, _, err := decodeRoute(messages[0].Data, namesOf(links))
	if err == nil && route.Type == routing.Unreachable {
		err = ErrNoWay
	}
	return route, err
}

// Attributes of rtnetlink that x/sys does not name.
const (
	rtaMark    = 16
	rtaIPProto = 27
	rtaSport   = 28
	rtaDport   = 29
)

func (k *Kernel) encodeLookup(p config.Packet, mark uint32) ([]byte, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = addressFamily(config.FamilyOf(p.Destination))
	header[1], header[2] = uint8(p.Destination.BitLen()), uint8(p.Source.BitLen())
	flags := uint32(lookupTable | lookupMatch)
	if p.Destination.Is6() {
		flags = lookupMatch // IPv6 always tells the table, and refuses to be asked
	}
	binary.NativeEndian.PutUint32(header[8:], flags)
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(unix.RTA_DST, p.Destination.AsSlice())
	if p.Source.IsValid() {
		ae.Bytes(unix.RTA_SRC, p.Source.AsSlice())
	}
	if p.Inside != "" {
		index, err := k.index(p.Inside)
		if err != nil {
			return nil, err
		}
		ae.Uint32(unix.RTA_IIF, uint32(index))
	}
	ae.Uint32(rtaMark, mark)
	if p.Protocol == unix.IPPROTO_TCP || p.Protocol == unix.IPPROTO_UDP {
		ae.Uint8(rtaIPProto, p.Protocol)
		ae.Bytes(rtaSport, bigEndian(p.SourcePort))
		ae.Bytes(rtaDport, bigEndian(p.DestinationPort))
	}
	return body(header, ae)
}

func bigEndian(n uint16) []byte { return []byte{byte(n >> 8), byte(n)} }

// InSet tells whether a set of the managed firewall's table holds an address now.
func (k *Kernel) InSet(ctx context.Context, set string, a netip.Addr) (bool, error) {
	_, err := k.runNft(ctx, "", "get", "element", "inet", firewall.ManagedTable, set, "{ "+a.String()+" }")
	switch {
	case err == nil:
		return true, nil
	case strings.Contains(err.Error(), "No such file or directory"):
		return false, nil
	}
	return false, fmt.Errorf("look for %s in the set %s: %w", a, set, err)
}
