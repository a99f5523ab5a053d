package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

// relay delays all packets between a provider and the internet, as a long line does. The kernel need
// not have netem: two TUN devices take the place of the wire, and each packet that goes into one comes
// out of the other after the delay.
type relay struct {
	delay time.Duration // each way
	wake  int           // eventfd(2) that ends both directions
	tuns  [2]int
	done  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// most is how many packets one direction holds; what comes beyond is dropped, as in a router.
const most = 4096

// startRelay puts a relay for a family between provider i and the internet host. Each way takes delay.
func startRelay(l *lab.Lab, of family, i int, delay time.Duration) (*relay, error) {
	r := &relay{delay: delay, wake: -1, tuns: [2]int{-1, -1}}
	name := fmt.Sprintf("delay%d", i+1)
	for k, host := range []*lab.Host{l.Providers[i], l.Internet} {
		err := host.Do(func() (err error) {
			r.tuns[k], err = openTUN(name)
			return err
		})
		if err != nil {
			r.closeFiles()
			return nil, fmt.Errorf("make a TUN device: %w", err)
		}
		to := of.everywhere()
		if host == l.Internet {
			to = of.customer(l.Plan.Lines[i]).String()
		}
		if err := host.Batch("link set "+name+" up", fmt.Sprintf("route replace %s dev %s", to, name)); err != nil {
			r.closeFiles()
			return nil, err
		}
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		r.closeFiles()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	r.wake = wake
	r.done.Go(func() { r.run(r.tuns[0], r.tuns[1]) })
	r.done.Go(func() { r.run(r.tuns[1], r.tuns[0]) })
	return r, nil
}

// openTUN makes a TUN device in the current namespace.
func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// packet is one that waits.
type packet struct {
	due  time.Time
	data []byte
}

// run carries packets one way, on a thread of its own: it sleeps in ppoll(2), whose timeout is exact.
func (r *relay) run(from, to int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exactTimers()
	var queue []packet
	buffer := make([]byte, 1<<16)
	fds := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
	for {
		var timeout *unix.Timespec
		if len(queue) > 0 {
			t := unix.NsecToTimespec(max(0, int64(time.Until(queue[0].due))))
			timeout = &t
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			r.fail(err)
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		var err error
		if queue, err = r.read(from, buffer, queue); err != nil {
			r.fail(err)
			return
		}
		queue = forward(to, queue, time.Now())
	}
}

// read takes what has arrived.
func (r *relay) read(from int, buffer []byte, queue []packet) ([]packet, error) {
	for {
		n, err := unix.Read(from, buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return queue, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return queue, fmt.Errorf("read from a TUN device: %w", err)
		case len(queue) < most:
			queue = append(queue, packet{time.Now().Add(r.delay), append([]byte(nil), buffer[:n]...)})
		}
	}
}

// forward sends what is due.
func forward(to int, queue []packet, now time.Time) []packet {
	n := 0
	for n < len(queue) && !queue[n].due.After(now) {
		_, _ = unix.Write(to, queue[n].data) // a host that does not take it has lost it
		n++
	}
	return queue[n:]
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// close ends the relay; an error if it had failed before.
func (r *relay) close() error {
	_, err := unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	r.done.Wait()
	r.closeFiles()
	return errors.Join(err, r.err)
}

func (r *relay) closeFiles() {
	for _, fd := range []int{r.tuns[0], r.tuns[1], r.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
