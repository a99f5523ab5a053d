package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPacket is more than any answer or refusal needs: RFC 1812, section 4.3.2.3, has routers quote
// up to 576 bytes, RFC 4443 up to 1280.
const maxPacket = 1500

// socket is a raw socket of one line with the echoes that wait for an answer on it.
type socket struct {
	line  line
	index uint32 // of the interface it is bound to
	id    uint16
	conn  *net.IPConn
	raw   syscall.RawConn

	mu      sync.Mutex
	seq     uint16
	waiting map[uint16]*waiter // by sequence number
	ended   error              // set: nothing is read any more
}

// waiter is an echo that waits for its answer.
type waiter struct {
	echo   echo
	sent   time.Time
	result chan result // takes one without blocking
}

type result struct {
	rtt time.Duration
	err error
}

// open makes the socket of a line, with an id that is not taken.
func open(l line, taken func(id uint16) bool) (*socket, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if l.source.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, explainSocket(err)
	}
	// The connection holds a duplicate; the file closes ours.
	file := os.NewFile(uintptr(fd), "icmp:"+l.device)
	defer file.Close()
	s := &socket{line: l, waiting: map[uint16]*waiter{}}
	for drawn := false; !drawn || taken(s.id); drawn = true {
		var random [4]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, err
		}
		s.id, s.seq = binary.NativeEndian.Uint16(random[:]), binary.NativeEndian.Uint16(random[2:])
	}
	if err := s.bind(fd); err != nil {
		return nil, explain(err, l)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("use raw socket: %w", err)
	}
	s.conn = conn.(*net.IPConn)
	s.raw, err = s.conn.SyscallConn()
	return s, err
}

// bind filters first, so that nothing of others is queued, and reads the index before the device is
// bound: if the interface is replaced in between, current notices it.
func (s *socket) bind(fd int) (err error) {
	filter := filter4(s.id)
	if s.line.source.Is6() {
		filter = filter6(s.id)
	}
	if err := attach(fd, filter); err != nil {
		return fmt.Errorf("filter raw socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for timestamps: %w", err)
	}
	if s.index, err = indexOf(fd, s.line.device); err != nil {
		return err
	}
	if err := bindDevice(fd, s.line); err != nil {
		return err
	}
	return bindTo(fd, s.line.source)
}

// bindTo binds a socket to an address.
func bindTo(fd int, source netip.Addr) error {
	if source.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: source.As16()})
}

// assigned tells whether the address is one of this host: a socket can be bound to it. A bound socket
// does not notice that its address goes: IPv6 goes on sending from it, and IPv4 blames the network.
func assigned(source netip.Addr) bool {
	family := unix.AF_INET
	if source.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return bindTo(fd, source) == nil
}

// indexOf returns the index of the interface that has the name now (netdevice(7)), in the network
// namespace of the socket.
func indexOf(fd int, device string) (uint32, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, unix.ENODEV // the name is longer than any can be
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return request.Uint32(), nil
}

// current tells whether the device's name still means the interface that the socket is bound to, and
// the source is still ours.
func (s *socket) current() bool {
	same := false
	err := s.raw.Control(func(fd uintptr) {
		index, err := indexOf(int(fd), s.line.device)
		same = err == nil && index == s.index
	})
	return err == nil && same && assigned(s.line.source)
}

// send sends an echo request and returns who waits for its answer. Proven, it confirms to the kernel the
// neighbour that it leaves by: what was sent before was answered.
func (s *socket) send(target netip.Addr, proven bool) (*waiter, error) {
	w := &waiter{echo: echo{source: s.line.source, target: target, id: s.id}, result: make(chan result, 1)}
	if _, err := rand.Read(w.echo.nonce[:]); err != nil {
		return nil, err
	}
	if err := s.enter(w); err != nil {
		return nil, err
	}
	flags := 0
	if proven {
		flags = unix.MSG_CONFIRM
	}
	if err := s.write(w.echo.marshal(), target, flags); err != nil {
		s.leave(w)
		return nil, err
	}
	return w, nil
}

// write sends a message with flags of send(2), which package net has no way to say.
func (s *socket) write(message []byte, target netip.Addr, flags int) error {
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: target.As16()}
	if target.Is4() {
		to = &unix.SockaddrInet4{Addr: target.As4()}
	}
	var err error
	written := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), message, flags, to)
		return !errors.Is(err, unix.EAGAIN)
	})
	return errors.Join(written, err)
}

// enter gives the echo a sequence number that no other one waits under.
func (s *socket) enter(w *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	if len(s.waiting) > 1<<15 {
		return errors.New("too many probes at once through " + s.line.device)
	}
	for taken := true; taken; _, taken = s.waiting[s.seq] {
		s.seq++
	}
	w.echo.seq = s.seq
	s.waiting[s.seq] = w
	w.sent = time.Now()
	return nil
}

// leave ends the waiting.
func (s *socket) leave(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[w.echo.seq] == w {
		delete(s.waiting, w.echo.seq)
	}
}

// wait returns what became of the echo.
func (s *socket) wait(ctx context.Context, w *waiter) (time.Duration, error) {
	defer s.leave(w)
	select {
	case r := <-w.result:
		return r.rtt, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// read delivers what arrives until the socket is closed, fails, or was idle for a while.
func (s *socket) read(idle time.Duration) error {
	packet, control := make([]byte, maxPacket), make([]byte, 128)
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		n, controls, _, from, err := s.conn.ReadMsgIP(packet, control)
		switch {
		case err == nil:
			s.deliver(packet[:n], from, queued(control[:controls], time.Now()))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case s.endIfIdle():
			return err
		}
	}
}

// endIfIdle ends the socket if nobody waits on it.
func (s *socket) endIfIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.ended = fmt.Errorf("idle socket: %w", net.ErrClosed)
	}
	return s.ended != nil
}

// deliver gives a message to the echo that it is about, if any. queued is how long it lay in the
// socket before it was read.
func (s *socket) deliver(packet []byte, from *net.IPAddr, queued time.Duration) {
	m, ok := s.parse(packet, from)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[m.seq]
	if w == nil {
		return
	}
	settled, refusal := w.echo.settles(m)
	if !settled {
		return
	}
	delete(s.waiting, m.seq)
	rtt := time.Since(w.sent)
	if queued > 0 && queued < rtt {
		rtt -= queued
	}
	w.result <- result{rtt, refusal}
}

func (s *socket) parse(packet []byte, from *net.IPAddr) (message, bool) {
	if s.line.source.Is4() {
		return parse4(packet)
	}
	address, _ := netip.AddrFromSlice(from.IP)
	return parse6(address, s.line.source, packet)
}

// end closes the socket and tells all who still wait.
func (s *socket) end(err error) {
	s.conn.Close()
	if !errors.Is(err, net.ErrClosed) {
		err = explain(err, s.line)
	}
	err = fmt.Errorf("probing through %s ended: %w", s.line.device, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = err
	for seq, w := range s.waiting {
		delete(s.waiting, seq)
		w.result <- result{err: err}
	}
}

// queued returns how long ago the kernel received the packet, by its timestamp (socket(7),
// SO_TIMESTAMPNS); 0 where it gave none. Both times are the system's clock's, so a step of that clock
// can only matter in the microseconds between; the round-trip time itself is monotonic.
func queued(control []byte, now time.Time) time.Duration {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) == 16 {
			seconds, nanos := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return now.Sub(time.Unix(int64(seconds), int64(nanos)))
		}
	}
	return 0
}
