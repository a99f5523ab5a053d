package daemon

import (
	"context"
	"errors"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// Times of the traffic counters.
const (
	// busySample is the time from one reading to the next while something is sent: a line that falls
	// silent under traffic is suspected within a few of them.
	busySample = 10 * time.Millisecond
	// calmSample is the same while nothing was sent for calmAfter.
	calmSample = 500 * time.Millisecond
	calmAfter  = 2 * time.Second
	// costs bounds what reading takes of the processor, where there are many lines: one part in so many.
	costs = 50
	// againAfter is the pause after the counters could not be set up.
	againAfter = 30 * time.Second
)

// Flows is what a kernel knows of and does to tracked connections.
type Flows interface {
	// SetEvidence makes the counters of the interfaces' traffic, or replaces them.
	SetEvidence(ctx context.Context, families []config.Family, interfaces []string) error
	// RemoveEvidence removes them: a managed firewall counts by itself.
	RemoveEvidence(ctx context.Context) error
	// Counters reads those of a table; the error wraps kernel.ErrNoEvidence if they have to be set again.
	Counters(ctx context.Context, table string, families []config.Family) (map[config.Family]map[string]health.Packets, error)
	// Release makes the kernel forget the connections with a mark, so that they begin anew elsewhere.
	Release(ctx context.Context, family config.Family, mark, mask uint32) (released int, err error)
}

// sample is one reading of the counters.
type sample struct {
	at      time.Time
	packets map[config.Family]map[string]health.Packets
}

// watched is what the sampler reads the counters of.
type watched struct {
	table      string // firewall.ManagedTable is the guard's to make, firewall.EvidenceTable the sampler's
	families   []config.Family
	interfaces []string
}

// sampler reads the counters until ctx ends, and makes them where they are missing.
type sampler struct {
	*Daemon
	set   watched // what the counters were made for
	ready bool
	told  bool      // that they cannot be made
	busy  time.Time // when something was last sent
	sent  uint64    // over all lines
	calm  bool      // nothing to tell the loop
}

// run sends a sample to the loop each time, and takes from it what is to be watched.
func (s *sampler) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s.set = <-s.watch:
			s.ready = false
		case <-s.ruleset: // perhaps the tables are gone
		case <-timer.C:
		}
		pause, reading := s.read(ctx)
		if reading != nil && !s.calm {
			select {
			case s.samples <- *reading:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		timer.Reset(pause)
	}
}

// read returns a reading, nil if there is none, and the pause until the next.
func (s *sampler) read(ctx context.Context) (time.Duration, *sample) {
	if len(s.set.interfaces) == 0 {
		return againAfter, nil // the loop says soon what to watch
	}
	if !s.ready {
		if err := s.prepare(ctx); err != nil {
			return s.without(ctx, err), nil
		}
		s.ready, s.told = true, false
	}
	began := time.Now()
	packets, err := s.opts.Flows.Counters(ctx, s.set.table, s.set.families)
	if errors.Is(err, kernel.ErrNoEvidence) && s.set.table == firewall.ManagedTable {
		return calmSample, nil // the guard makes the table, and tells of it; its making ends the pause
	}
	if errors.Is(err, kernel.ErrNoEvidence) {
		s.opts.Logger.Info("the table that counts traffic was removed or changed by another program: making it again")
		s.ready = false
		return busySample, nil
	}
	if err != nil {
		return s.without(ctx, err), nil
	}
	now := time.Now()
	return max(s.pace(now, packets), costs*now.Sub(began)), &sample{at: now, packets: packets}
}

// prepare makes the counters where that is the sampler's to do.
func (s *sampler) prepare(ctx context.Context) error {
	if s.set.table == firewall.ManagedTable {
		return s.opts.Flows.RemoveEvidence(ctx)
	}
	return s.opts.Flows.SetEvidence(ctx, s.set.families, s.set.interfaces)
}

// without says once that there is no evidence from traffic, and returns the pause until the next try.
func (s *sampler) without(ctx context.Context, err error) time.Duration {
	if !s.told && ctx.Err() == nil {
		s.told = true
		s.opts.Logger.Warn("traffic is not watched: a silent failure is noticed by probes alone", "error", err)
	}
	return againAfter
}

// pace returns the pause until the next reading.
func (s *sampler) pace(now time.Time, packets map[config.Family]map[string]health.Packets) time.Duration {
	var sent uint64
	for _, lines := range packets {
		for _, p := range lines {
			sent += p.Sent
		}
	}
	if sent != s.sent {
		s.sent, s.busy = sent, now
	}
	s.calm = now.Sub(s.busy) >= calmAfter
	if s.calm {
		return tick(now, calmSample)
	}
	return busySample
}

// judge holds a reading against what is known of the paths, and tells whether a turn is needed.
func (l *loop) judge(r sample) bool {
	news := false
	for i, p := range l.paths {
		m, t := l.monitors[i], l.traffics[i]
		report := m.Report(r.at)
		packets, counted := r.packets[p.Family][p.Interface]
		if report.State != health.Up {
			t.Settled(r.at, false)
			continue
		}
		if !report.Doubt {
			t.Settled(r.at, true)
		}
		if !counted {
			continue
		}
		switch evidence, since, reason := t.Sample(r.at, report.RTT, packets); evidence {
		case health.Alive:
			m.Alive(r.at)
		case health.Suspect:
			l.Logger.Debug(l.Config.Uplinks[p.Uplink].Name + routing.Suffix(p.Family) + ": " + reason)
			m.Check(r.at, since, reason)
			news = true
		case health.Quiet:
		}
	}
	return news
}

// release lets go of the connections of paths that went down, once the routes lead elsewhere. Those of a
// path are released once for each time it goes down, and only if there is somewhere to go.
func (l *loop) release(ctx context.Context) {
	if l.Flows == nil {
		return
	}
	for i, r := range l.reports {
		p := l.paths[i]
		line := place{p.Interface, p.Family}
		if r.State != health.Down {
			delete(l.released, line)
			continue
		}
		s := l.selection(p.Family)
		if l.released[line] || s == nil || s.Kept || len(s.Members) == 0 || s.Carries(p.Uplink) {
			continue
		}
		l.released[line] = true
		l.letGo(ctx, p.Family, l.Config.Uplinks[p.Uplink], "it is down")
	}
}

// place is what a path is known by across configurations.
type place struct {
	device string
	family config.Family
}

// letGo releases the connections of an uplink beside the loop, since there may be very many.
func (l *loop) letGo(ctx context.Context, f config.Family, u config.Uplink, why string) {
	delete(l.failback.carried, place{u.Interface, f})
	mask, name := l.Config.Numbers.Mask, u.Name+routing.Suffix(f)
	l.probes.Go(func() {
		n, err := l.Flows.Release(ctx, f, u.Mark, mask)
		if err != nil && ctx.Err() == nil {
			l.Logger.Warn(name+": its connections could not be released: they stay until they end", "reason", why, "error", err)
		} else if n > 0 {
			l.Logger.Info(name+": its connections were released: "+why, "connections", n)
		}
	})
}
