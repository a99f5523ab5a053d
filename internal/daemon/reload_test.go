package daemon_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/status"
)

// start runs a daemon and returns it with what stops it.
func (w *world) start() (d *daemon.Daemon, stop func()) {
	return w.startWith(w.options(w.kernel))
}

func (w *world) startWith(opts daemon.Options) (d *daemon.Daemon, stop func()) {
	d = daemon.New(opts)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the daemon ended with: %v", err)
		}
	}
}

// reload gives the daemon other uplinks.
func (w *world) reload(d *daemon.Daemon, uplinks string) {
	w.t.Helper()
	cfg := parse(w.t, uplinks)
	w.must(d.Reload(w.t.Context(), cfg))
	w.cfg = cfg
}

// Uplinks that stay keep their place and their health; one that was out stays out.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		d, stop := w.start()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		w.silence("eth2", true)
		w.until(3*time.Second, "eth2 is out", func() bool { return w.defaults() == "eth1*1" })
		mails := w.mailCount()

		for _, tt := range []struct{ name, uplinks, defaults string }{
			{"order, name and weight", `- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 2}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, description: second, priority_group: 1, weight: 5}
- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, description: first, priority_group: 1, weight: 3}
`, "eth1*1"},
			{"one is gone", `- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, priority_group: 1}
- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1}
`, "eth1*1"},
			{"a new one", `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1, weight: 2}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, priority_group: 1}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 1}
`, "eth1*2 eth3*1"},
		} {
			w.reload(d, tt.uplinks)
			w.until(time.Second, tt.name, func() bool { return w.defaults() == tt.defaults && w.agreed() })
		}
		if n := w.mailCount() - mails; n != 1 || !strings.Contains(w.lastMail(), "up, standby --> routing\n") {
			t.Errorf("%d mails because of new configurations, want only that eth3 carries now: %s", n, w.lastMail())
		}
		w.silence("eth2", false)
		w.until(time.Minute, "eth2 is back", func() bool { return w.defaults() == "eth1*2 eth2*1 eth3*1" })
	})
}

// A probe that is under way ends in peace though its uplink is gone.
func TestReloadWhileProbing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		d, stop := w.start()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		w.silence("eth3", true)
		time.Sleep(1500 * time.Millisecond) // it is in doubt: something is asked all the time
		w.reload(d, `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1}
`)
		time.Sleep(5 * time.Second)
		if w.defaults() != "eth1*1" || !w.agreed() {
			t.Errorf("default route: %s", w.defaults())
		}
	})
}

func TestMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		d, stop := w.start()
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		set := func(modes map[string]status.Mode, defaults string) {
			t.Helper()
			w.must(d.SetMode(t.Context(), modes))
			w.until(50*time.Millisecond, "the mode counts", func() bool { return w.defaults() == defaults && w.agreed() })
		}
		set(map[string]status.Mode{"eth2": status.ForcedDown}, "eth1*1")
		set(map[string]status.Mode{"eth2": status.ForcedDown, "eth1": status.ForcedDown}, "eth3*1")
		set(nil, "eth1*1 eth2*2")
		w.silence("eth2", true)
		w.until(3*time.Second, "eth2 is out", func() bool { return w.defaults() == "eth1*1" })
		set(map[string]status.Mode{"eth2": status.ForcedUp}, "eth1*1 eth2*2")
		w.must(w.kernel.SetCarrier("eth2", false))
		w.until(50*time.Millisecond, "nobody can force a line without carrier", func() bool { return w.defaults() == "eth1*1" })
	})
}

func TestCommandsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := daemon.New(newWorld(t, threeStatic).options(nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.SetMode(ctx, nil); err == nil || err.Error() != "the daemon does not answer: context deadline exceeded" {
			t.Errorf("a daemon that does not run: %v", err)
		}
		if d.Snapshot() != nil {
			t.Error("a snapshot before the first cycle")
		}
	})
}

func parse(t *testing.T, uplinks string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("test", []byte("uplinks:\n"+uplinks+rest))
	if cfg == nil {
		t.Fatalf("configuration: %v", problems)
	}
	return cfg
}
