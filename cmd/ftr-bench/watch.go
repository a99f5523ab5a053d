package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

// watch follows the routes and rules of the router, of one family, by the kernel's notifications. Each is stamped when
// it is received, on a thread that does nothing else.
type watch struct {
	host   *lab.Host
	family family
	stop   chan struct{}
	done   sync.WaitGroup

	mu      sync.Mutex
	state   *state
	waiting []*expectation
	err     error // notifications were lost: nothing that follows can be trusted
}

// expectation is a condition that somebody waits for.
type expectation struct {
	holds func(*state) bool
	at    chan time.Time // when the message was received that made it hold
}

// Notifications that are listened to.
const (
	tableGroups = 1 << (unix.NFNLGRP_NFTABLES - 1)
	watchBuffer = 16 << 20 // bytes
	// watchPause is how often the receiver looks whether it is to end.
	watchPause = 200 * time.Millisecond
)

// newWatch begins to listen and then reads what is there already.
func newWatch(host *lab.Host, p lab.Plan, of family) (*watch, error) {
	s, err := newState(host, p)
	if err != nil {
		return nil, err
	}
	w := &watch{host: host, family: of, stop: make(chan struct{}), state: s}
	for _, source := range []struct {
		family int
		groups uint32
	}{{unix.NETLINK_ROUTE, of.groups()}, {unix.NETLINK_NETFILTER, tableGroups}} {
		fd, err := listen(host, source.family, source.groups)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("listen to the router's kernel: %w", err)
		}
		w.done.Go(func() { w.receive(fd, source.family) })
	}
	if err := w.read(); err != nil {
		w.close()
		return nil, fmt.Errorf("read the router's routes: %w", err)
	}
	return w, nil
}

// listen opens a netlink socket on a host.
func listen(host *lab.Host, family int, groups uint32) (fd int, err error) {
	err = host.Do(func() error {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
		return err
	})
	if err != nil {
		return -1, err
	}
	pause := unix.NsecToTimeval(int64(watchPause))
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, watchBuffer),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pause),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}),
	)
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// read takes over the rules and routes that are there.
func (w *watch) read() error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: w.host.FD()})
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, kind := range []netlink.HeaderType{unix.RTM_GETRULE, unix.RTM_GETROUTE} {
		request := make([]byte, unix.SizeofRtMsg)
		request[0] = w.family.number()
		messages, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: request,
		})
		if err != nil {
			return err
		}
		for _, m := range messages {
			w.take(time.Now(), unix.NETLINK_ROUTE, uint16(m.Header.Type), m.Data)
		}
	}
	return nil
}

// receive reads messages until the watch is closed.
func (w *watch) receive(fd, family int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer unix.Close(fd)
	buffer := make([]byte, 1<<18)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		at := time.Now()
		select {
		case <-w.stop:
			return
		default:
		}
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			w.fail(fmt.Errorf("listen to the router's kernel: %w", err))
			return
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			w.fail(fmt.Errorf("read a notification: %w", err))
			return
		}
		for _, m := range messages {
			w.take(at, family, m.Header.Type, m.Data)
		}
	}
}

// take brings the state up to date and wakes who waits for it.
func (w *watch) take(at time.Time, family int, kind uint16, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.state.take(at, family, kind, data); err != nil && w.err == nil {
		w.err = err
	}
	left := w.waiting[:0]
	for _, e := range w.waiting {
		if e.holds(w.state) {
			e.at <- at
		} else {
			left = append(left, e)
		}
	}
	w.waiting = left
}

func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// look calls f with the state as it is.
func (w *watch) look(f func(*state)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.state)
	return w.err
}

// expect begins to wait for a condition; at is now if it holds already.
func (w *watch) expect(holds func(*state) bool) *expectation {
	e := &expectation{holds: holds, at: make(chan time.Time, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if holds(w.state) {
		e.at <- time.Now()
		return e
	}
	w.waiting = append(w.waiting, e)
	return e
}

// wait returns when it held; false: not within the limit.
func (e *expectation) wait(ctx context.Context, limit time.Duration) (time.Time, bool, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case at := <-e.at:
		return at, true, nil
	case <-timer.C:
		return time.Time{}, false, nil
	case <-ctx.Done():
		return time.Time{}, false, ctx.Err()
	}
}

// close ends the watch.
func (w *watch) close() {
	close(w.stop)
	w.done.Wait()
}
