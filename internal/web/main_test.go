package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/status"
)

// patience is how long something may take that must happen: a guard, also on a busy machine.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// router is a daemon without lines: it does what it is told and shows it.
type router struct {
	mu       sync.Mutex
	snapshot *status.Snapshot
	orders   []string
	fail     error
	// busy, if there is one, is told of an order, which then hangs until it is cancelled.
	busy chan struct{}
}

var started = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func newRouter(names ...string) *router {
	s := &status.Snapshot{Time: started.Add(time.Hour), Configuration: status.Configuration{File: "/etc/f.conf", Loaded: started}}
	for i, name := range names {
		s.Uplinks = append(s.Uplinks, status.Uplink{
			Name: name, Interface: fmt.Sprintf("eth%d", i+1), Family: config.IPv4, Grouped: true, Configured: 1,
			Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Routing: true, Weight: 1,
			Health: health.Report{State: health.Up, Since: started, Reason: "all targets answer"},
		})
	}
	return &router{snapshot: s}
}

// Snapshot implements Controller.
func (r *router) Snapshot() *status.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot
}

// SetUplink implements Controller.
func (r *router) SetUplink(ctx context.Context, iface string, mode status.Mode) error {
	if r.busy != nil {
		close(r.busy)
		<-ctx.Done()
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders = append(r.orders, iface+" "+mode.String())
	if r.fail != nil {
		return r.fail
	}
	next := *r.snapshot
	next.Uplinks = slices.Clone(next.Uplinks)
	for i := range next.Uplinks {
		if next.Uplinks[i].Interface == iface {
			next.Uplinks[i].Mode = mode
		}
	}
	r.snapshot = &next
	return nil
}

// Reload implements Controller.
func (r *router) Reload(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders = append(r.orders, "reload")
	return r.fail
}

func (r *router) ordered() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.orders)
}

// logBook collects what is logged; it may be written concurrently.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), s)
}

// directory makes one that every user may enter.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ftr-web-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve runs a server until the test ends, and returns its socket.
func serve(t *testing.T, c Controller, change func(*Server)) (socket string, stop func()) {
	t.Helper()
	socket = Socket(directory(t))
	listener, err := Listen(t.Context(), socket, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Controller: c, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "1.2.3", Started: started, UID: os.Getuid()})
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return socket, stop
}

// code returns the code of a refusal; "" where it is none.
func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
