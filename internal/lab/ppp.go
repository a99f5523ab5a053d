package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// pppLink is a point-to-point wire: a tunnel device on the router and one at the provider, joined
// here. As with a real PPP, the interface is there only while connected.
type pppLink struct {
	router, provider pppEnd
	stop             int // an eventfd (see eventfd(2)) that ends the pumps
	pumps            sync.WaitGroup
}

// pppEnd is one of the two devices.
type pppEnd struct {
	host   *Host
	device string
	file   *os.File // the device is there while it is open
}

// Connect makes the PPP line i (from 0) come up with an address and a peer, as after dialling in.
// Where it is up already, it comes up anew.
func (l *Lab) Connect(i int, address, peer netip.Addr) error {
	if err := l.known(i); err != nil {
		return err
	}
	line := l.Plan.Lines[i]
	if line.Kind != PPP {
		return fmt.Errorf("connect line %d: it is %s, not ppp", i+1, line.Kind)
	}
	if err := l.hangUp(i); err != nil {
		return err
	}
	link, err := l.pair(i)
	if err != nil {
		return fmt.Errorf("connect line %d: %w", i+1, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ppp[i] = link
	l.log.Event(i, fmt.Sprintf("is connected as %s, peer %s", address, peer))
	end := func(h *Host, device string, own, other netip.Addr) error {
		return h.Batch(fmt.Sprintf("addr add %s peer %s dev %s", own, other, device), "link set "+device+" mtu 1492 up")
	}
	return errors.Join(
		end(l.Providers[i], customerLink, peer, address),
		end(l.Router, line.Interface, address, peer),
		l.shape(i, customerLink),
	)
}

// HangUp makes the interface of the PPP line i disappear.
func (l *Lab) HangUp(i int) error {
	if err := l.known(i); err != nil {
		return err
	}
	l.log.Event(i, "is disconnected")
	return l.hangUp(i)
}

func (l *Lab) hangUp(i int) error {
	l.mu.Lock()
	link := l.ppp[i]
	l.ppp[i] = nil
	l.mu.Unlock()
	if link == nil {
		return nil
	}
	return link.close()
}

// pair opens the two tunnel devices and joins them.
func (l *Lab) pair(i int) (*pppLink, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	link := &pppLink{
		router: pppEnd{host: l.Router, device: l.Plan.Lines[i].Interface}, provider: pppEnd{host: l.Providers[i], device: customerLink}, stop: stop,
	}
	for _, end := range []*pppEnd{&link.router, &link.provider} {
		err := end.host.Do(func() (err error) {
			end.file, err = openTunnel(end.device)
			return err
		})
		if err != nil {
			return nil, errors.Join(err, link.close())
		}
	}
	link.pumps.Go(func() { link.pump(link.provider.file, link.router.file) })
	link.pumps.Go(func() { link.pump(link.router.file, link.provider.file) })
	return link, nil
}

// openTunnel makes a tunnel device in the current namespace; it ends when the file is closed.
func openTunnel(device string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make tunnel device %s: %w", device, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil
}

// pump carries packets one way until the link ends. A packet that the other end does not take
// (it is down, or its queue is full) is lost, as on a wire. A wire does not wait for a busy machine:
// the pump has a thread of its own, of the highest priority that it is given, which ends with it.
func (p *pppLink) pump(to, from *os.File) {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20) // refused without the right to
	in, out := int(from.Fd()), int(to.Fd())
	packet := make([]byte, 65536)
	for {
		ready := []unix.PollFd{{Fd: int32(p.stop), Events: unix.POLLIN}, {Fd: int32(in), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) || ready[0].Revents != 0 {
			return
		}
		if ready[1].Revents == 0 {
			continue
		}
		n, err := unix.Read(in, packet)
		switch {
		case err == nil:
			_, _ = unix.Write(out, packet[:n])
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return // somebody has deleted the device
		}
	}
}

// setCarrier switches the carrier of the router's end (TUNSETCARRIER, Linux 5.0).
func (p *pppLink) setCarrier(on bool) error {
	return unix.IoctlSetPointerInt(int(p.router.file.Fd()), unix.TUNSETCARRIER, map[bool]int{true: 1}[on])
}

// close ends both devices and the pumps. The devices are deleted, since closing their files alone leaves them
// for as long as a process that is just being started has its copies of all files.
func (p *pppLink) close() error {
	_, err := unix.Write(p.stop, binary.NativeEndian.AppendUint64(nil, 1))
	p.pumps.Wait()
	errs := []error{err}
	for _, end := range []*pppEnd{&p.router, &p.provider} {
		if end.file != nil {
			errs = append(errs, end.remove(), end.file.Close())
		}
	}
	return errors.Join(append(errs, unix.Close(p.stop))...)
}

// remove deletes the device, unless somebody has done so.
func (e *pppEnd) remove() error {
	err := e.host.Run("ip", "link", "del", "dev", e.device)
	if err != nil && strings.Contains(err.Error(), "Cannot find device") {
		return nil
	}
	return err
}
