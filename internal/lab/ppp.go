package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// pppLink is a point-to-point wire: a tunnel device on the router and one at the provider, joined
// here. As with a real PPP, the interface is there only while connected.
type pppLink struct {
	router, provider *os.File
	pumps            sync.WaitGroup
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
	l.hangUp(i)
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
	l.hangUp(i)
	return nil
}

func (l *Lab) hangUp(i int) {
	l.mu.Lock()
	link := l.ppp[i]
	l.ppp[i] = nil
	l.mu.Unlock()
	if link != nil {
		link.close()
	}
}

// pair opens the two tunnel devices and joins them.
func (l *Lab) pair(i int) (*pppLink, error) {
	link := &pppLink{}
	for _, end := range []struct {
		host   *Host
		device string
		file   **os.File
	}{{l.Router, l.Plan.Lines[i].Interface, &link.router}, {l.Providers[i], customerLink, &link.provider}} {
		err := end.host.Do(func() (err error) {
			*end.file, err = openTunnel(end.device)
			return err
		})
		if err != nil {
			link.close()
			return nil, err
		}
	}
	link.pumps.Go(func() { pump(link.provider, link.router) })
	link.pumps.Go(func() { pump(link.router, link.provider) })
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

// pump carries packets one way until an end is closed. A packet that the other end does not take
// (it is down, or its queue is full) is lost, as on a wire.
func pump(to, from *os.File) {
	packet := make([]byte, 65536)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if _, err := to.Write(packet[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// setCarrier switches the carrier of the router's end (TUNSETCARRIER, Linux 5.0).
func (p *pppLink) setCarrier(on bool) error {
	raw, err := p.router.SyscallConn()
	if err != nil {
		return err
	}
	value := map[bool]int{true: 1}[on]
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value) })
	return errors.Join(err, failed)
}

// close ends both devices and waits for the pumps.
func (p *pppLink) close() {
	for _, f := range []*os.File{p.router, p.provider} {
		if f != nil {
			f.Close()
		}
	}
	p.pumps.Wait()
}
