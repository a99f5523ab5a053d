//go:build bench

package e2e_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

const (
	streamPort = 5001
	// streamPace is the time from one datagram of a flow to its next: sixteen flows send 4,000 a second, which
	// leaves a machine of two slow cores time for the rest.
	streamPace   = 4 * time.Millisecond
	streamBuffer = 8 << 20
)

// stream are flows of numbered datagrams from the client to the internet host, each of which is answered.
type stream struct {
	*bed
	flows                          []*flow
	sent, arrived, answered, moved atomic.Int64
	stop                           chan struct{}
	sending, receiving             sync.WaitGroup
	server                         net.PacketConn
}

// flow is one of them. The server alone writes where it comes from and what has arrived.
type flow struct {
	conn              net.Conn
	from              netip.AddrPort
	arrived, answered numbers
}

// numbers are those that were seen.
type numbers []bool

// add tells whether a number is seen for the first time.
func (n *numbers) add(number int) bool {
	for len(*n) <= number {
		*n = append(*n, false)
	}
	first := !(*n)[number]
	(*n)[number] = true
	return first
}

// stream begins as many flows as wanted on each of the lines. Those that begin on others are given up.
func (b *bed) stream(lines []int, each int) *stream {
	s := &stream{bed: b, stop: make(chan struct{})}
	address := netip.AddrPortFrom(b.Plan.Servers[0], streamPort).String()
	var err error
	s.server, err = b.Internet.ListenPacket(b.t.Context(), "udp4", address)
	b.must(err)
	b.must(enlarge(s.server.(*net.UDPConn)))
	count := map[int]int{}
	for tries := 0; len(s.flows) < each*len(lines); tries++ {
		if tries > 100*each {
			b.t.Fatalf("flows begin on the lines %v only", count)
		}
		conn, err := b.Client.Dial(b.t.Context(), "udp4", address)
		b.must(err)
		from := s.first(conn)
		line := slices.IndexFunc(b.Plan.Lines, func(l lab.PlanLine) bool { return l.Address == from.Addr() })
		if !slices.Contains(lines, line) || count[line] == each {
			conn.Close()
			continue
		}
		count[line]++
		b.must(enlarge(conn.(*net.UDPConn)))
		s.flows = append(s.flows, &flow{conn: conn, from: from})
	}
	s.receiving.Go(s.serve)
	for id, f := range s.flows {
		s.receiving.Go(func() { s.listen(f) })
		s.sending.Go(func() { s.send(uint32(id), f) })
	}
	b.t.Cleanup(s.end)
	return s
}

// enlarge makes room for what waits until a thread of this process runs again.
func enlarge(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, streamBuffer)
	}), err)
}

// first sends a flow's first datagram and returns where it came from.
func (s *stream) first(conn net.Conn) netip.AddrPort {
	s.t.Helper()
	_, err := conn.Write([]byte("first"))
	s.must(err)
	s.must(s.server.SetReadDeadline(time.Now().Add(5 * time.Second)))
	_, from, err := s.server.(*net.UDPConn).ReadFromUDPAddrPort(make([]byte, 64))
	s.must(err)
	s.must(s.server.SetReadDeadline(time.Time{}))
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// send sends at a steady pace. What a busy machine misses is not made up for.
func (s *stream) send(id uint32, f *flow) {
	tick := time.NewTicker(streamPace)
	defer tick.Stop()
	message := make([]byte, 8)
	binary.BigEndian.PutUint32(message, id)
	for number := uint32(0); ; number++ {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint32(message[4:], number)
		if _, err := f.conn.Write(message); err != nil {
			s.t.Errorf("send datagram %d of flow %d: %v", number, id, err)
			return
		}
		s.sent.Add(1)
	}
}

// serve counts what arrives, and answers it.
func (s *stream) serve() {
	server, message := s.server.(*net.UDPConn), make([]byte, 64)
	for {
		n, from, err := server.ReadFromUDPAddrPort(message)
		if err != nil {
			return // it is closed at the end
		}
		id := int(binary.BigEndian.Uint32(message))
		if n != 8 || id >= len(s.flows) {
			s.t.Errorf("what is %q?", message[:n])
			continue
		}
		f := s.flows[id]
		if f.arrived.add(int(binary.BigEndian.Uint32(message[4:]))) {
			s.arrived.Add(1)
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != f.from {
			s.moved.Add(1)
		}
		if _, err := server.WriteToUDPAddrPort(message[:n], from); err != nil {
			s.t.Errorf("answer %s: %v", from, err)
		}
	}
}

// listen counts a flow's answers.
func (s *stream) listen(f *flow) {
	message := make([]byte, 64)
	for {
		n, err := f.conn.Read(message)
		if err != nil {
			return
		}
		if n == 8 && f.answered.add(int(binary.BigEndian.Uint32(message[4:]))) {
			s.answered.Add(1)
		}
	}
}

// end stops, waits a moment for what is under way, and closes all.
func (s *stream) end() {
	select {
	case <-s.stop:
		return
	default:
	}
	close(s.stop)
	s.sending.Wait()
	for last := int64(-1); s.answered.Load() < s.sent.Load() && last != s.answered.Load(); {
		last = s.answered.Load()
		s.pause(500 * time.Millisecond)
	}
	s.server.Close()
	for _, f := range s.flows {
		f.conn.Close()
	}
	s.receiving.Wait()
}

// dropped are the counters of what a machine drops for want of time or room, on the way of these flows: those
// of sockets, of interfaces and of the queues of processors. What the router loses is not among them.
func (s *stream) dropped() string {
	var all []string
	for name, host := range map[string]*lab.Host{"internet": s.Internet, "router": s.Router, "client": s.Client} {
		out, err := host.Output("nstat", "-asz", "UdpRcvbufErrors", "UdpSndbufErrors", "UdpInErrors", "IpOutNoRoutes", "IpInDiscards", "IpOutDiscards")
		s.must(err)
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] != "#kernel" && fields[1] != "0" {
				all = append(all, name+" "+fields[0]+" "+fields[1])
			}
		}
		out, err = host.Output("ip", "-s", "-o", "link")
		s.must(err)
		for line := range strings.Lines(out) {
			all = append(all, interfaceDrops(name, line)...)
		}
	}
	queues, err := os.ReadFile("/proc/net/softnet_stat") // processed, dropped, ... of each processor, in hexadecimal
	s.must(err)
	for i, line := range slices.Collect(strings.Lines(string(queues))) {
		if fields := strings.Fields(line); fields[1] != "00000000" {
			all = append(all, fmt.Sprintf("processor %d dropped %s", i, fields[1]))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// interfaceDrops reads a line of "ip -s -o link": bytes, packets, errors and dropped follow both headings.
func interfaceDrops(host, line string) (found []string) {
	fields := strings.Fields(line)
	for i, word := range fields {
		if (word == "RX:" || word == "TX:") && i+11 < len(fields) {
			if dropped := fields[i+11]; dropped != "0" {
				found = append(found, fmt.Sprintf("%s %s %s %s", host, fields[1], word, dropped))
			}
		}
	}
	return found
}
