// Package probe asks one target through one uplink whether it answers.
//
// The errors of a probe are reasons, in words that can be shown to an administrator as they are.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// idleAfter is how long a socket is kept without use: longer than any usual interval of probes, so
// that sockets live as long as their uplinks.
const idleAfter = 5 * time.Minute

// ICMP asks by echo request (RFC 792, RFC 4443). It keeps one raw socket per device and source
// address, opened on demand and closed when it is idle or of no more use. It needs CAP_NET_RAW and
// works in the network namespace of the threads that call Probe.
type ICMP struct {
	idle    time.Duration
	readers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sockets map[line]*socket
}

// line is what a socket is bound to.
type line struct {
	device string
	source netip.Addr
}

// NewICMP returns a prober without sockets. Close ends it.
func NewICMP() *ICMP { return &ICMP{idle: idleAfter, sockets: map[line]*socket{}} }

// Probe sends one echo request from source to target, which are of one family, out of device, and
// waits for the answer until ctx is done. It returns the round-trip time, taken from the kernel's
// receive timestamp where there is one.
//
// Errors: the time is over ("no answer within 300ms", context.DeadlineExceeded), a router refuses
// ("host unreachable by 192.0.2.1"), the kernel cannot send ("network is unreachable", "no such device
// eth1"), or the prober is closed (net.ErrClosed). Any number of goroutines may call it.
//
// The line's own rule and table lead the probe to its gateway. Where they are missing, IPv6 has no
// route, and IPv4 takes the target for a neighbour on the device: no answer, but also never another line.
func (p *ICMP) Probe(ctx context.Context, device string, source, target netip.Addr) (time.Duration, error) {
	source, target = source.Unmap(), target.Unmap()
	switch {
	case device == "":
		return 0, errors.New("no device to probe through")
	case !source.IsValid() || source.Is4() != target.Is4() || !target.IsValid():
		return 0, fmt.Errorf("source %v and target %v are not of one address family", source, target)
	}
	began := time.Now()
	var failed *socket
	for {
		s, err := p.socket(line{device, source}, failed)
		if err != nil {
			return 0, err
		}
		w, err := s.send(target)
		if err == nil {
			return s.wait(ctx, w, began)
		}
		if failed != nil || !stale(err) {
			return 0, explainSend(err, device, source)
		}
		failed = s
	}
}

// stale tells whether an error of sending may be the socket's: opening it anew either helps or says
// more exactly what is wrong.
func stale(err error) bool {
	for _, e := range []error{
		net.ErrClosed, syscall.EINVAL, syscall.ENODEV, syscall.ENXIO, syscall.EADDRNOTAVAIL, syscall.ENETDOWN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// socket returns the socket of a line, but never the failed one. A socket stays bound to the interface
// that had the name when it was opened; where the name means another one by now, or the address is
// gone, it is replaced, or opening it anew says what is wrong.
func (p *ICMP) socket(l line, failed *socket) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("probe: %w", net.ErrClosed)
	}
	if s := p.sockets[l]; s != nil {
		if s != failed && s.current() {
			return s, nil
		}
		delete(p.sockets, l)
		s.conn.Close()
	}
	s, err := open(l)
	if err != nil {
		return nil, err
	}
	p.sockets[l] = s
	p.readers.Go(func() { p.serve(s) })
	return s, nil
}

// serve reads a socket to its end.
func (p *ICMP) serve(s *socket) {
	err := s.read(p.idle)
	p.mu.Lock()
	if p.sockets[s.line] == s {
		delete(p.sockets, s.line)
	}
	p.mu.Unlock()
	s.end(err)
}

// Close ends all probes with net.ErrClosed, closes the sockets and waits for their readers.
func (p *ICMP) Close() error {
	p.mu.Lock()
	p.closed = true
	for l, s := range p.sockets {
		delete(p.sockets, l)
		s.conn.Close()
	}
	p.mu.Unlock()
	p.readers.Wait()
	return nil
}
