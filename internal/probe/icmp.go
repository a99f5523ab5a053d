package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// idleAfter is how long a socket is kept without use: longer than any usual interval of probes, so
// that sockets live as long as their uplinks.
const idleAfter = 5 * time.Minute

// icmp asks by echo request (RFC 792, RFC 4443). It keeps one raw socket per device and source
// address, opened on demand and closed when it is idle or of no more use. It needs CAP_NET_RAW.
type icmp struct {
	idle    time.Duration
	readers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sockets map[line]*socket
}

// newICMP returns one without sockets.
func newICMP() *icmp { return &icmp{idle: idleAfter, sockets: map[line]*socket{}} }

// ask sends one echo request and waits for its answer. It returns the round-trip time, taken from the
// kernel's receive timestamp where there is one.
//
// Where the line's rule or table is missing, IPv6 has no route, and IPv4 takes the target for a
// neighbour on the device: no answer, but also never another line.
func (p *icmp) ask(ctx context.Context, l line, target netip.Addr, proven bool) (time.Duration, error) {
	var failed *socket
	for {
		s, err := p.socket(l, failed, proven)
		if err != nil {
			return 0, err
		}
		w, err := s.send(target, proven)
		if err == nil {
			return s.wait(ctx, w)
		}
		if failed != nil || !stale(err) {
			return 0, explainSend(err, l)
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
// gone, it is replaced, or opening it anew says what is wrong. Where it has just proven to be good, that is
// not looked at.
func (p *icmp) socket(l line, failed *socket, proven bool) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if s := p.sockets[l]; s != nil {
		if s != failed && (proven || s.current()) {
			return s, nil
		}
		delete(p.sockets, l)
		s.conn.Close()
	}
	s, err := open(l, p.taken)
	if err != nil {
		return nil, err
	}
	p.sockets[l] = s
	p.readers.Go(func() { p.serve(s) })
	return s, nil
}

// taken tells whether a socket has an id: echoes of two lines with the same address would be one connection
// to the kernel, and one of the lines would get no answers.
func (p *icmp) taken(id uint16) bool {
	for _, s := range p.sockets {
		if s.id == id {
			return true
		}
	}
	return false
}

// serve reads a socket to its end.
func (p *icmp) serve(s *socket) {
	err := s.read(p.idle)
	p.mu.Lock()
	if p.sockets[s.line] == s {
		delete(p.sockets, s.line)
	}
	p.mu.Unlock()
	s.end(err)
}

// Close closes the sockets, which ends all who wait, and waits for the readers.
func (p *icmp) Close() error {
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
