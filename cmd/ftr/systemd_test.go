package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

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

// heard returns the messages since it was last asked.
func (m *serviceManager) heard() (messages []string) {
	m.t.Helper()
	raw, err := m.conn.SyscallConn()
	if err != nil {
		m.t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, err := unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT)
			if err != nil {
				return true // there are no more
			}
			messages = append(messages, string(buffer[:n]))
		}
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return messages
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
	synctest.Test(t, func(t *testing.T) {
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
		within := func(d time.Duration) []string {
			time.Sleep(d)
			synctest.Wait()
			return m.heard()
		}
		for range 3 {
			if got := within(granted / 2); len(got) == 0 || got[0] != "WATCHDOG=1" {
				t.Errorf("within half of the time the service manager hears %q", got)
			}
		}
		release := make(chan struct{})
		k.gate <- release
		if err := simulated.SetCarrier(cfg.Uplinks[0].Interface, false); err != nil { // so that it looks
			t.Fatal(err)
		}
		within(granted / 10)
		if len(k.gate) > 0 {
			t.Fatal("the loop did not look at the kernel")
		}
		if got := within(2 * granted); len(got) > 0 {
			t.Errorf("while the loop hangs, the service manager hears %q", got)
		}
		close(release)
		if got := within(granted / 2); len(got) == 0 || got[0] != "WATCHDOG=1" {
			t.Errorf("when it goes on, the service manager hears %q", got)
		}
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
