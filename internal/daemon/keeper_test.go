package daemon_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/health"
	"ftr/internal/status"
)

// keep writes a snapshot into a directory, as the end of a daemon does.
func keep(t *testing.T, dir string, s *status.Snapshot) (log string) {
	t.Helper()
	book := &logBook{}
	k := daemon.NewKeeper(dir, slog.New(slog.NewTextHandler(book, nil)))
	k.Offer(s)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(over); err != nil {
		t.Fatal(err)
	}
	return book.text.String()
}

// tamper changes the content of the file.
func tamper(t *testing.T, dir string, change func(content map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "health.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	if err := decoder.Decode(&content); err != nil {
		t.Fatal(err)
	}
	change(content)
	if data, err = json.Marshal(content); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// age makes the file older by the monotonic clock.
func age(by time.Duration) func(map[string]any) {
	return func(content map[string]any) {
		running, _ := content["running"].(json.Number).Int64()
		content["running"] = running - int64(by)
	}
}

// setClock makes the file what it would be had it been written before the wall clock was set.
func setClock(t *testing.T, by time.Duration) func(map[string]any) {
	shift := func(of map[string]any, key string) {
		at, err := time.Parse(time.RFC3339Nano, of[key].(string))
		if err != nil {
			t.Fatal(err)
		}
		if !at.IsZero() {
			of[key] = at.Add(-by).Format(time.RFC3339Nano)
		}
	}
	return func(content map[string]any) {
		shift(content, "saved")
		for _, p := range content["paths"].([]any) {
			report := p.(map[string]any)["report"].(map[string]any)
			for _, key := range []string{"Since", "FirstFlap", "HeldUntil"} {
				shift(report, key)
			}
		}
	}
}

// What was known is believed for a minute of real time on the same machine, whatever the wall clock did
// meanwhile; its times are right by the new one.
func TestKeeper(t *testing.T) {
	now := time.Now()
	s := &status.Snapshot{Time: now, Uplinks: []status.Uplink{
		{Interface: "eth1", Index: 2, Family: config.IPv4, Address: prefix("192.0.2.2/32").Addr(), Health: health.Report{
			State: health.Down, Reason: "no carrier", Since: now.Add(-time.Hour), Flaps: 3, FirstFlap: now.Add(-2 * time.Hour), HeldUntil: now.Add(30 * time.Second),
		}},
		{Interface: "eth2", Index: 3, Family: config.IPv4, Mode: status.ForcedDown, Health: health.Report{State: health.Down, Admin: true}},
	}}
	want := []daemon.Known{{Interface: "eth1", Index: 2, Family: config.IPv4, Address: s.Uplinks[0].Address, Report: s.Uplinks[0].Health}}
	for _, tt := range []struct {
		name   string
		change func(map[string]any)
		want   []daemon.Known
	}{
		{"at once", age(0), want},
		{"after 55 s", age(55 * time.Second), want},
		{"after 61 s", age(61 * time.Second), nil},
		{"from a time to come", age(-10 * time.Second), nil},
		{"the clock was set forward", setClock(t, 5*time.Hour), want},
		{"the clock was set back", setClock(t, -5*time.Hour), want},
		{"another boot", func(c map[string]any) { c["boot_id"] = "other" }, nil},
		{"another network namespace", func(c map[string]any) { c["netns"] = 1 }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if log := keep(t, dir, s); log != "" {
				t.Errorf("log: %s", log)
			}
			tamper(t, dir, tt.change)
			got, err := daemon.NewKeeper(dir, slog.New(slog.DiscardHandler)).Load(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			// Ages are moved in the file, so times move by as much.
			about := cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < 56*time.Second })
			if diff := cmp.Diff(tt.want, got, about, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("known (-want +got):\n%s", diff)
			}
		})
	}
}

// What cannot be kept or read is said, and is no reason to stop.
func TestKeeperTrouble(t *testing.T) {
	dir := t.TempDir()
	if known, err := daemon.NewKeeper(dir, slog.New(slog.DiscardHandler)).Load(time.Now()); known != nil || err != nil {
		t.Errorf("without a file: %v, %v", known, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "health.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.NewKeeper(dir, slog.New(slog.DiscardHandler)).Load(time.Now()); err == nil || !strings.Contains(err.Error(), "health.json: unexpected end of JSON input") {
		t.Errorf("a damaged file: %v", err)
	}
	if log := keep(t, filepath.Join(dir, "missing"), &status.Snapshot{}); strings.Count(log, "the health of the uplinks is not kept: after a restart they are judged anew") != 1 {
		t.Errorf("without a directory: %s", log)
	}
}
