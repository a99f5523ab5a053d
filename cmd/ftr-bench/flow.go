package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"ftr/internal/lab"
)

// The UDP flow.
const (
	flowEvery = 20 * time.Millisecond
	echoPort  = 5004
)

// echo is the server on the internet host. It sends each datagram back, with the line that it came
// over in the last byte.
type echo struct {
	conn net.PacketConn
	done sync.WaitGroup
}

func startEcho(ctx context.Context, l *lab.Lab, of family) (*echo, error) {
	conn, err := l.Internet.ListenPacket(ctx, of.datagrams(), netip.AddrPortFrom(of.servers(l.Plan)[0], echoPort).String())
	if err != nil {
		return nil, fmt.Errorf("start the echo server: %w", err)
	}
	e := &echo{conn: conn}
	e.done.Go(func() { e.run(l.Plan) })
	return e, nil
}

func (e *echo) run(p lab.Plan) {
	buffer := make([]byte, 64)
	for {
		n, from, err := e.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if a, ok := from.(*net.UDPAddr); ok && n > 0 {
			line, _ := p.LineOf(a.AddrPort().Addr())
			buffer[n-1] = byte(line)
			_, _ = e.conn.WriteTo(buffer[:n], from)
		}
	}
}

func (e *echo) close() {
	e.conn.Close()
	e.done.Wait()
}

// flow sends a datagram each 20 ms from one socket and receives what comes back.
type flow struct {
	conn net.Conn
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	sent    map[uint64]time.Time
	replies chan reply
}

// reply is an answer, with when it came and when its question was sent.
type reply struct {
	at, sent time.Time
	line     int
}

// startFlow begins a flow that leaves through line i.
func startFlow(ctx context.Context, l *lab.Lab, of family, i int) (*flow, error) {
	for range 100 {
		f, err := newFlow(ctx, l, of)
		if err != nil {
			return nil, err
		}
		r, ok, err := f.resumed(ctx, time.Time{}, 2*time.Second)
		if ok && r.line == i {
			return f, nil
		}
		f.close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("none of 100 UDP flows took line %d", i+1)
}

func newFlow(ctx context.Context, l *lab.Lab, of family) (*flow, error) {
	conn, err := l.Client.Dial(ctx, of.datagrams(), netip.AddrPortFrom(of.servers(l.Plan)[0], echoPort).String())
	if err != nil {
		return nil, fmt.Errorf("open a UDP flow: %w", err)
	}
	f := &flow{conn: conn, stop: make(chan struct{}), sent: map[uint64]time.Time{}, replies: make(chan reply, 4096)}
	f.done.Go(f.send)
	f.done.Go(f.receive)
	return f, nil
}

func (f *flow) send() {
	tick := time.NewTicker(flowEvery)
	defer tick.Stop()
	packet := make([]byte, 32)
	for n := uint64(0); ; n++ {
		binary.BigEndian.PutUint64(packet, n)
		f.mu.Lock()
		f.sent[n] = time.Now()
		f.mu.Unlock()
		_, _ = f.conn.Write(packet) // an ICMP error of an earlier one is no reason to stop
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
	}
}

func (f *flow) receive() {
	packet := make([]byte, 64)
	for {
		n, err := f.conn.Read(packet)
		at := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 9 {
			continue // an ICMP error
		}
		number := binary.BigEndian.Uint64(packet)
		f.mu.Lock()
		r := reply{at, f.sent[number], int(packet[n-1])}
		f.mu.Unlock()
		select {
		case f.replies <- r:
		case <-f.stop:
			return
		}
	}
}

// resumed waits for the first reply to a datagram that was sent after a time.
func (f *flow) resumed(ctx context.Context, since time.Time, limit time.Duration) (reply, bool, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case r := <-f.replies:
			if r.sent.After(since) {
				return r, true, nil
			}
		case <-timer.C:
			return reply{}, false, nil
		case <-ctx.Done():
			return reply{}, false, ctx.Err()
		}
	}
}

func (f *flow) close() {
	close(f.stop)
	f.conn.Close()
	f.done.Wait()
}
