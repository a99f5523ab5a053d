package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/kernel"
	"ftr/internal/status"
)

const (
	// keepName is the file in the runtime directory.
	keepName = "health.json"
	// keepEvery is how often it is written though nothing changed, so that its age tells when the daemon ended.
	keepEvery = 10 * time.Second
	// fresh is the age up to which it is believed.
	fresh = time.Minute
)

// Known is what was known of a path before a restart.
type Known struct {
	Interface string        `json:"interface"`
	Index     int           `json:"index"`
	Family    config.Family `json:"family"`
	Address   netip.Addr    `json:"address"`
	// Mark is that of the line's connections; 0: unknown.
	Mark   uint32        `json:"mark"`
	Report health.Report `json:"report"`
}

// kept is the content of the file.
type kept struct {
	kernel.Place
	Saved time.Time `json:"saved"`
	// Running is for how long the machine had run, sleep included, when it was saved. The age follows
	// from this: the wall clock may have been set since.
	Running time.Duration `json:"running"`
	Paths   []Known       `json:"paths"`
}

// Keeper writes what is known of the paths to the runtime directory, for the next run.
type Keeper struct {
	path   string
	logger *slog.Logger
	latest atomic.Pointer[status.Snapshot]
	wake   chan struct{}
}

// NewKeeper returns a keeper that writes nothing before Run.
func NewKeeper(dir string, logger *slog.Logger) *Keeper {
	return &Keeper{path: filepath.Join(dir, keepName), logger: logger, wake: make(chan struct{}, 1)}
}

// Load returns what the previous run knew, if it is of this boot and network namespace and not old. Its
// times are such of now's clocks.
func (k *Keeper) Load(now time.Time) ([]Known, error) {
	here, err := kernel.Here()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is known of the uplinks: %w", err)
	}
	var found kept
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("read what is known of the uplinks: %s: %w", k.path, err)
	}
	running, err := uptime()
	if err != nil {
		return nil, err
	}
	if age := running - found.Running; found.Place == here && age >= 0 && age <= fresh {
		return found.at(now.Add(-age)), nil
	}
	return nil, nil
}

// at returns the paths as if they had been saved at that time: what the wall clock was set by meanwhile
// is taken out of their times, and they can be compared with those that come, whatever it does.
func (k kept) at(saved time.Time) []Known {
	for i := range k.Paths {
		r := &k.Paths[i].Report
		for _, t := range []*time.Time{&r.Since, &r.FirstFlap, &r.HeldUntil} {
			if !t.IsZero() {
				*t = saved.Add(t.Sub(k.Saved))
			}
		}
	}
	return k.Paths
}

// uptime is for how long the machine has been running, sleep included (CLOCK_BOOTTIME, clock_gettime(2)).
func uptime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("ask for how long the machine has been running: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// Offer takes a snapshot to be kept; it never waits.
func (k *Keeper) Offer(s *status.Snapshot) {
	before := k.latest.Swap(s)
	if before != nil && len(status.Progress(before, s)) == 0 {
		return
	}
	select {
	case k.wake <- struct{}{}:
	default: // it will write the latest
	}
}

// Run writes until ctx ends, and once more then.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	failing := false
	for over := false; !over; {
		select {
		case <-ctx.Done():
			over = true
		case <-k.wake:
		case <-ticker.C:
		}
		err := k.write(time.Now())
		if err != nil && !failing {
			k.logger.Warn("the health of the uplinks is not kept: after a restart they are judged anew", "error", err)
		}
		failing = err != nil
	}
	return nil
}

// write replaces the file. It need not survive a power failure, since it is void then.
func (k *Keeper) write(now time.Time) error {
	s := k.latest.Load()
	if s == nil {
		return nil
	}
	here, err := kernel.Here()
	if err != nil {
		return err
	}
	running, err := uptime()
	if err != nil {
		return err
	}
	content := kept{Place: here, Saved: now, Running: running}
	for _, u := range s.Uplinks {
		if u.Mode != status.Auto {
			continue // the mode outlives the restart by itself
		}
		u.Health.Loss = 0 // unknown is NaN, which JSON does not know; it is measured anew
		content.Paths = append(content.Paths, Known{
			Interface: u.Interface, Index: u.Index, Family: u.Family, Address: u.Address, Mark: u.Mark, Report: u.Health,
		})
	}
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	draft := k.path + ".new"
	if err := os.WriteFile(draft, data, 0o640); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return os.Rename(draft, k.path)
}
