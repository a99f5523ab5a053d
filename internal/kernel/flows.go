package kernel

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
)

// Messages of connection tracking and their attributes (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaMark     = 8
	ctaMarkMask = 21
)

// conntrackCount tells how many connections the namespace tracks (nf_conntrack-sysctl in the kernel's
// documentation); it is not there while nothing is tracked at all.
const conntrackCount = "net/netfilter/nf_conntrack_count"

// releaseTimeout is a hundred times what the largest tables need.
const releaseTimeout = 10 * time.Second

// markFilter selects tracked connections by some bits of their mark. The kernel takes a request to
// delete without such a filter as one to delete everything; so there is no way to write the request
// without a filter, none to get a filter but newMarkFilter, and the zero filter is refused.
type markFilter struct{ mark, mask uint32 }

// newMarkFilter returns the filter for connections with mark under mask. Mark 0 is that of all
// connections which nobody has marked, so it cannot be asked for.
func newMarkFilter(mark, mask uint32) (markFilter, error) {
	f := markFilter{mark, mask}
	return f, f.check()
}

var errWideFilter = errors.New("mark and mask would select connections that are not an uplink's")

func (f markFilter) check() error {
	if f.mask == 0 || f.mark == 0 || f.mark&^f.mask != 0 {
		return fmt.Errorf("mark %#x/%#x: %w", f.mark, f.mask, errWideFilter)
	}
	return nil
}

// encodeRelease writes the body of the request that deletes the selected connections of a family. The
// kernel looks at the family only in messages of version 1.
func encodeRelease(family config.Family, f markFilter) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	number, err := familyNumber(family)
	if err != nil {
		return nil, err
	}
	return appendMark([]byte{number, 1, 0, 0}, f.mark, f.mask), nil
}

// Release makes the kernel forget the tracked connections of one family that have mark under mask, in
// one request. What talks on begins a new connection with its next packet, by the routes of then: UDP
// goes on over another uplink, and TCP fails at once instead of after minutes, since its peer does not
// know the new address. Connections with other bits under mask, and all other bits, are left alone.
//
// It returns how many connections there are less than before, which includes the few that began or
// ended by themselves meanwhile. A table without such connections is fine. The error wraps
// ErrNoNetfilter if the kernel cannot be asked to do so.
func (k *Kernel) Release(ctx context.Context, family config.Family, mark, mask uint32) (released int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("release %s connections with mark %#x/%#x: %w", family, mark, mask, err)
		}
	}()
	filter, err := newMarkFilter(mark, mask)
	if err != nil {
		return 0, err
	}
	body, err := encodeRelease(family, filter)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	// A socket of its own: the request takes milliseconds, and others must not wait for it.
	conn, err := k.dialNetfilter(0)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(releaseTimeout)); err != nil {
		return 0, err
	}
	before, err := k.tracked()
	if err != nil {
		return 0, err
	}
	if _, err := conn.Execute(request(ctDelete, netlink.Acknowledge, body)); err != nil {
		return 0, explainNetfilter(err)
	}
	after, err := k.tracked()
	return max(before-after, 0), err
}

// tracked returns how many connections the kernel tracks in all.
func (k *Kernel) tracked() (int, error) {
	found, err := k.sysctls([]string{conntrackCount}, nil)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return strconv.Atoi(found[0].Value)
}
