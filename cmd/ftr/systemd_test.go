package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// serviceManager listens as a service manager until the test ends.
type serviceManager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *serviceManager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &serviceManager{t, conn}
}

// hears returns the next message; "" if none comes in time.
func (m *serviceManager) hears(patience time.Duration) string {
	m.t.Helper()
	buffer := make([]byte, 4096)
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	n, err := m.conn.Read(buffer)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Fatal(err)
	}
	return string(buffer[:n])
}

// stuck is a kernel that does not answer for a while.
type stuck struct {
	*sim.Kernel
	gate chan chan struct{} // holds who waits, while it is stuck
}

func (s *stuck) Observe(ctx context.Context, scope routing.Scope) (routing.Observation, error) {
	select {
	case release := <-s.gate:
		<-release // hanging means that not even the end of the context helps
	default:
	}
	return s.Kernel.Observe(ctx, scope)
}

// The service manager hears of the loop at least twice in the time that it grants, and nothing while
// the loop hangs.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	const granted = time.Second
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "")
	cfg, problems := config.Parse("test", []byte(config.Example()))
	if cfg == nil {
		t.Fatal(problems)
	}
	simulated, network, _, err := sim.Demo(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	k := &stuck{simulated, make(chan chan struct{}, 1)}
	logger := slog.New(slog.DiscardHandler)
	d := daemon.New(daemon.Options{Config: cfg, Kernel: k, Prober: network, Logger: logger, Rand: rand.New(rand.NewPCG(1, 2))})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- d.Run(ctx) }()
	go func() { ended <- watchdog(ctx, d, logger) }()
	for range 3 {
		if got := m.hears(granted / 2); got != "WATCHDOG=1" {
			t.Errorf("within half of the time the service manager hears %q", got)
		}
	}
	release := make(chan struct{})
	k.gate <- release
	if err := simulated.SetCarrier(cfg.Uplinks[0].Interface, false); err != nil { // so that it looks
		t.Fatal(err)
	}
	for began := time.Now(); len(k.gate) > 0; {
		if time.Since(began) > 5*time.Second {
			t.Fatal("the loop did not look at the kernel")
		}
		m.hears(10 * time.Millisecond)
	}
	m.hears(granted / 10) // what was on its way
	if got := m.hears(granted); got != "" {
		t.Errorf("while the loop hangs, the service manager hears %q", got)
	}
	close(release)
	if got := m.hears(granted); got != "WATCHDOG=1" {
		t.Errorf("when it goes on, the service manager hears %q", got)
	}
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
