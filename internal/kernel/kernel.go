// Package kernel observes, changes and watches the kernel's links, addresses, routes, rules and
// sysctls (rtnetlink(7), proc(5)), and reads the lease files of DHCP clients.
//
// It speaks to the kernel itself, and runs no command but nft(8), for the firewall rules and those that
// count traffic. It needs CAP_NET_ADMIN and no other capability.
// All messages are encoded and decoded here, since what cannot be expressed by the values of package
// routing must be noticed, not dropped.
package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/firewall"
)

// messageBuffer is what one message may take: the longest, a route over 250 IPv6 next hops, has 7 KiB,
// and the kernel puts at most 32 KiB of a dump into one datagram.
const messageBuffer = 64 << 10

// watchBuffer is the socket buffer for notifications: some ten thousand of them.
const watchBuffer = 4 << 20

// Options say which kernel state is looked at.
type Options struct {
	// NetNS is the file descriptor of a network namespace, used until Close; 0: the caller's. Another
	// namespace needs CAP_SYS_ADMIN.
	NetNS int
	// Root is the file system with the lease files of DHCP clients; nil: that of this machine.
	Root fs.FS
}

// Kernel is a connection to the kernel's network configuration. Its methods may be called concurrently.
type Kernel struct {
	conn        *netlink.Conn
	netns       int
	root        fs.FS
	watchBuffer int
	nftPaths    []string
	overflows   atomic.Int64 // how often notifications were lost
	// indexes are those of the interfaces by name, at the last look; nil: there was none.
	indexes atomic.Pointer[map[string]int]

	normalMu   sync.Mutex
	normalOf   firewall.Table   // the zero Table: nothing was asked yet
	normalForm firewall.Listing // of normalOf
	// filled are the sets of the managed table whose elements are others' business; nil: not known yet.
	filled atomic.Pointer[map[string]bool]

	mu        sync.Mutex
	netfilter *netlink.Conn // nil: not needed yet
	hold      *netlink.Conn // owns the table that holds translation; nil: nothing is held
	holds     int           // how many there were
	close     []func() error
}

// Open connects to the kernel. It fails on kernels that cannot check requests strictly (before 4.20).
func Open(options Options) (*Kernel, error) {
	k := &Kernel{
		netns: options.NetNS, root: options.Root, watchBuffer: watchBuffer,
		// Not every user's PATH leads to system programs.
		nftPaths: []string{"nft", "/usr/sbin/nft", "/sbin/nft"},
	}
	conn, err := k.dial(0)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", explain(err))
	}
	k.conn, k.close = conn, []func() error{conn.Close}
	if k.root == nil {
		root, err := os.OpenRoot("/")
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		k.root, k.close = root.FS(), append(k.close, root.Close)
	}
	return k, nil
}

// Close releases the sockets.
func (k *Kernel) Close() error {
	errs := []error{k.letGo()}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// dial opens a socket that makes the kernel refuse what it does not understand instead of ignoring
// it: a filter that the kernel does not know would otherwise silently match everything.
func (k *Kernel) dial(groups uint32) (*netlink.Conn, error) {
	return netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{
		Groups: groups, NetNS: k.netns, Strict: true, MessageBufferSize: messageBuffer,
	})
}

// errChanging is returned when a table changed during each of many attempts to read it.
var errChanging = errors.New("the kernel's tables kept changing while they were read")

// dump reads a whole table. The kernel marks a dump during which the table changed; it is read again.
func (k *Kernel) dump(kind uint16, body []byte) ([]netlink.Message, error) {
	const attempts = 10
	for range attempts {
		messages, err := k.conn.Execute(request(kind, netlink.Dump, body))
		if err != nil {
			return nil, explain(err)
		}
		if !interrupted(messages) {
			return messages, nil
		}
	}
	return nil, errChanging
}

func interrupted(messages []netlink.Message) bool {
	for _, m := range messages {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

// change sends a request that changes something and waits for the kernel's answer.
func (k *Kernel) change(kind uint16, flags netlink.HeaderFlags, body []byte) error {
	_, err := k.conn.Execute(request(kind, flags|netlink.Acknowledge, body))
	return explain(err)
}

func request(kind uint16, flags netlink.HeaderFlags, body []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | flags},
		Data:   body,
	}
}

// explain puts an error of the kernel into words: its own (the extended acknowledgement) first, then
// the errno, which errors.Is still finds, then what to do where that is known.
func explain(err error) error {
	var op *netlink.OpError
	if !errors.As(err, &op) {
		return err
	}
	err = op.Err
	if op.Message != "" {
		err = fmt.Errorf("%s: %w", op.Message, err)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w (this needs the capability CAP_NET_ADMIN)", err)
	}
	return err
}

// body puts a fixed header and attributes together.
func body(header []byte, attributes *netlink.AttributeEncoder) ([]byte, error) {
	b, err := attributes.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode netlink attributes: %w", err)
	}
	return append(header, b...), nil
}

// errShort is returned for a message that ends within its fixed header.
var errShort = errors.New("message is too short")

// attributes calls f for each attribute after a header of the given size.
func attributes(b []byte, header int, f func(d *netlink.AttributeDecoder)) error {
	if len(b) < header {
		return errShort
	}
	d, err := netlink.NewAttributeDecoder(b[header:])
	if err != nil {
		return err
	}
	for d.Next() {
		f(d)
	}
	return d.Err()
}
