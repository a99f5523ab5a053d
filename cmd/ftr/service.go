package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/logging"
	"ftr/internal/notify"
	"ftr/internal/probe"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// service is the running program as the control API sees it: the daemon, its configuration file, and
// what people want of the uplinks. It may be used concurrently.
type service struct {
	flags  *flags
	daemon *daemon.Daemon
	prober *probe.Prober
	mailer *notify.Mailer
	logger *slog.Logger
	paths  config.Paths // in use until the end

	logFile *logging.File

	mu            sync.Mutex
	configuration status.Configuration
	modes         map[string]status.Mode // by interface
	log           config.Log             // in force
}

// Snapshot implements web.Controller.
func (s *service) Snapshot() *status.Snapshot {
	latest := s.daemon.Snapshot()
	if latest == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := *latest
	shown.Configuration = s.configuration
	return &shown
}

// SetUplink implements web.Controller.
func (s *service) SetUplink(ctx context.Context, iface string, mode status.Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	modes := maps.Clone(s.modes)
	if mode == status.Auto {
		delete(modes, iface)
	} else {
		modes[iface] = mode
	}
	if err := s.daemon.SetMode(ctx, modes); err != nil {
		return err
	}
	s.modes = modes
	if err := writeModes(s.paths.State, modes); err != nil {
		return fmt.Errorf("it is done, but will not survive a restart: %w", err)
	}
	return nil
}

// Reload implements web.Controller. All that can fail happens first.
func (s *service) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	cfg, refused := s.read(ctx, now)
	if refused != nil {
		s.configuration.Refused = refused
		return refused
	}
	change, err := s.openLog(cfg.Log)
	if err != nil {
		s.configuration.Refused = &status.LoadError{File: s.flags.config, Time: now, Err: err}
		return s.configuration.Refused
	}
	s.prober.SetMark(cfg.Numbers.Unsteered()) // before policies could lead probes
	useProcessors(len(cfg.Uplinks))
	if err := s.daemon.Reload(ctx, cfg); err != nil {
		return errors.Join(err, change.Drop())
	}
	if err := change.Use(); err != nil {
		s.logger.Warn("the last records in the former log file may be lost", "error", err)
	}
	s.log = cfg.Log
	s.mailer.Update(cfg.Email)
	s.configuration = status.Configuration{File: s.flags.config, Loaded: now, Restart: restart(s.paths, cfg.Paths)}
	for _, text := range s.configuration.Restart {
		s.logger.Warn(text)
	}
	return nil
}

// openLog opens the log file of a new configuration. One that could not be opened at the start, and is
// wanted as before, is no reason to refuse what else is new.
func (s *service) openLog(form config.Log) (*logging.Change, error) {
	change, err := s.logFile.Open(form)
	if err != nil && form == s.log {
		s.logger.Warn("still going on without the log file", "error", err)
		return s.logFile.Keep(), nil
	}
	return change, err
}

// restart says which directories are others than those in use.
func restart(used, wanted config.Paths) []string {
	var texts []string
	for _, d := range []struct{ key, used, wanted string }{
		{"paths.state", used.State, wanted.State}, {"paths.runtime", used.Runtime, wanted.Runtime},
	} {
		if d.used != d.wanted {
			texts = append(texts, fmt.Sprintf("%s is %s now; %s is used until monitor is restarted", d.key, d.wanted, d.used))
		}
	}
	return texts
}

// read reads and judges the configuration file as it is now.
func (s *service) read(ctx context.Context, now time.Time) (*config.Config, *status.LoadError) {
	refused := &status.LoadError{File: s.flags.config, Time: now}
	src, err := readConfig(s.flags.config)
	if err != nil {
		refused.Err = err
		return nil, refused
	}
	cfg, problems := src.parse()
	refused.Problems = problems
	if cfg == nil {
		return nil, refused
	}
	cfg.Paths = s.flags.directories(cfg.Paths)
	warnings, err := inspect(ctx, cfg)
	if err != nil {
		refused.Err = err
		return nil, refused
	}
	if i := slices.IndexFunc(warnings, func(w routing.Warning) bool { return w.Error }); i >= 0 {
		refused.Err = fmt.Errorf("it cannot work on this host: %s", warnings[i])
		return nil, refused
	}
	return cfg, nil
}

// modesName is the file in the state directory.
const modesName = "uplinks.json"

// readModes returns what people wanted of the uplinks before a restart.
func readModes(dir string) (map[string]status.Mode, error) {
	modes := map[string]status.Mode{}
	path := filepath.Join(dir, modesName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return modes, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &modes)
	}
	if err != nil {
		return map[string]status.Mode{}, fmt.Errorf("read what is wanted of the uplinks: %s: %w", path, err)
	}
	return modes, nil
}

// writeModes keeps it for the next start, also through a power failure.
func writeModes(dir string, modes map[string]status.Mode) error {
	data, err := json.Marshal(modes)
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, modesName+".*")
	if err != nil {
		return fmt.Errorf("keep what is wanted of the uplinks: %w", err)
	}
	_, err = draft.Write(data)
	err = errors.Join(err, draft.Sync(), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), filepath.Join(dir, modesName))
	}
	if err != nil {
		return fmt.Errorf("keep what is wanted of the uplinks: %w", errors.Join(err, os.Remove(draft.Name())))
	}
	return nil
}
