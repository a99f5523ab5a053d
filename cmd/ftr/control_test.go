package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/status"
	"ftr/internal/web"
)

// puppet is a daemon that shows what a test wants and does what it is told.
type puppet struct {
	mu       sync.Mutex
	snapshot *status.Snapshot
	fail     error
	reloads  chan struct{}
}

// Snapshot implements web.Controller.
func (p *puppet) Snapshot() *status.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snapshot
}

// SetUplink implements web.Controller.
func (p *puppet) SetUplink(_ context.Context, iface string, mode status.Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	next := *p.snapshot
	next.Uplinks = slices.Clone(next.Uplinks)
	for i := range next.Uplinks {
		u := &next.Uplinks[i]
		if u.Interface != iface {
			continue
		}
		u.Mode, u.Routing, u.Weight = mode, mode != status.ForcedDown, 1
		if mode == status.ForcedDown {
			u.Weight = 0
		}
	}
	p.snapshot = &next
	return nil
}

// Reload implements web.Controller.
func (p *puppet) Reload(context.Context) error {
	select {
	case p.reloads <- struct{}{}:
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fail
}

func (p *puppet) set(change func(*puppet)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// book collects log lines.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func line(name, iface string, state health.State) status.Uplink {
	u := status.Uplink{
		Name: name, Interface: iface, Family: config.IPv4, Address: netip.MustParseAddr("192.0.2.2"), Grouped: true, Configured: 1,
		Health: health.Report{State: state, Since: time.Now().Add(-time.Minute), Reason: "6 of 6 targets say so", HasRTT: true, RTT: 8 * time.Millisecond},
	}
	if state != health.Down {
		u.Routing, u.Weight = true, 1
	}
	return u
}

// daemonOf runs control over a puppet until the test ends.
func daemonOf(t *testing.T, uplinks ...status.Uplink) (p *puppet, dir string, log *book) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ftr-") // short: the name of a socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("COLUMNS", "100")
	ignore := goleak.IgnoreCurrent()
	p = &puppet{reloads: make(chan struct{}, 1), snapshot: &status.Snapshot{
		Time: time.Now(), Uplinks: uplinks, Configuration: status.Configuration{File: "/etc/f.conf", Loaded: time.Now()},
	}}
	log = &book{}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		goleak.VerifyNone(t, ignore)
	})
	launch(t, p, dir, log)
	return p, dir, log
}

// start runs control until the test ends, and returns when it can be asked, or has said why not.
func launch(t *testing.T, p *puppet, dir string, log *book) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control(ctx, p, dir, time.Now(), slog.New(slog.NewTextHandler(log, nil))) }()
	for began := time.Now(); ; {
		info, err := os.Stat(web.Socket(dir))
		if err == nil && info.Mode().Type() == os.ModeSocket || strings.Contains(log.String(), "will not reach") {
			break
		}
		<-time.After(5 * time.Millisecond)
		if time.Since(began) > patience {
			t.Fatalf("no socket after %s", patience)
		}
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("control ended with: %v", err)
		}
	})
}

// call runs a command line of ours.
func call(t *testing.T, ctx context.Context, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, bad bytes.Buffer
	code = run(ctx, append([]string{"ftr"}, args...), strings.NewReader(""), &out, &bad)
	return code, out.String(), bad.String()
}

func TestHangup(t *testing.T) {
	notify := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", notify)
	told := func() string {
		t.Helper()
		buffer := make([]byte, 256)
		if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := manager.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
	p, dir, log := daemonOf(t, line("Fibre", "eth1", health.Up))
	for _, tt := range []struct {
		fail error
		log  []string
	}{
		{nil, []string{"the configuration was reloaded"}},
		{&status.LoadError{File: "f", Problems: []config.Problem{{File: "f", Line: 3, Column: 1, Path: "uplinks", Message: "is missing"}}},
			[]string{"error: f:3:1: uplinks: is missing", "the new configuration is refused", "f has 1 error"}},
		{errors.New("too busy"), []string{"could not be reloaded", "too busy"}},
	} {
		p.set(func(p *puppet) { p.fail = tt.fail })
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		<-p.reloads
		if text := told(); !strings.HasPrefix(text, "RELOADING=1\nMONOTONIC_USEC=") {
			t.Errorf("the service manager hears %q", text)
		}
		if text := told(); text != "READY=1" {
			t.Errorf("the service manager hears %q", text)
		}
		for _, want := range tt.log {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, log)
			}
		}
	}
	if _, err := os.Stat(web.Socket(dir)); err != nil {
		t.Error(err)
	}
}

// Without a socket the daemon goes on, and says how it can still be reached.
func TestNoSocket(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(web.Socket(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	p, log := &puppet{reloads: make(chan struct{}, 1)}, &book{}
	launch(t, p, dir, log)
	if !strings.Contains(log.String(), "SIGHUP reloads") || !strings.Contains(log.String(), "something else has this name") {
		t.Errorf("the log says: %s", log)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-p.reloads
}
