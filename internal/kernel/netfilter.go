package kernel

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/firewall"
)

// nfgenmsg is the fixed header of all messages of netfilter: family, version, resource id
// (linux/netfilter/nfnetlink.h).
const nfgenmsg = 4

// dialNetfilter opens a socket to connection tracking and nf_tables, with notifications of the groups.
func (k *Kernel) dialNetfilter(groups uint32) (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{
		Groups: groups, NetNS: k.netns, Strict: true, MessageBufferSize: messageBuffer,
	})
	if err != nil {
		return nil, explainNetfilter(err)
	}
	return conn, nil
}

// netfilterConn returns the socket for frequent questions, opened at the first one. Few hosts lack
// netfilter, and on those routing must work nevertheless.
func (k *Kernel) netfilterConn() (*netlink.Conn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.netfilter == nil {
		conn, err := k.dialNetfilter(0)
		if err != nil {
			return nil, err
		}
		k.netfilter, k.close = conn, append(k.close, conn.Close)
	}
	return k.netfilter, nil
}

// netfilterDump reads a list of nf_tables. The kernel marks one during which the ruleset changed; it is
// read again.
func (k *Kernel) netfilterDump(kind uint16, body []byte) ([]netlink.Message, error) {
	conn, err := k.netfilterConn()
	if err != nil {
		return nil, err
	}
	const attempts = 10
	for range attempts {
		messages, err := conn.Execute(request(kind, netlink.Dump, body))
		if err != nil {
			return nil, explainNetfilter(err)
		}
		if !interrupted(messages) {
			return messages, nil
		}
	}
	return nil, errChanging
}

// ErrNoNetfilter is wrapped by errors that mean that the kernel lacks, or cannot load, the part of
// netfilter that was asked: nf_tables, or nf_conntrack_netlink.
var ErrNoNetfilter = fmt.Errorf("%w: this part of netfilter is not in the kernel, and its module cannot be loaded", firewall.ErrUnavailable)

// explainNetfilter is explain with what nfnetlink means by its errors: EINVAL comes for a subsystem
// that it does not know (nfnetlink_rcv_msg in net/netfilter/nfnetlink.c).
func explainNetfilter(err error) error {
	err = explain(err)
	for _, absent := range []error{unix.EINVAL, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP} {
		if errors.Is(err, absent) {
			return fmt.Errorf("%w: %w", ErrNoNetfilter, err)
		}
	}
	return err
}
