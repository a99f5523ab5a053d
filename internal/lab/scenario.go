package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Scenario plays the story of the program in a lab and measures whether it holds.
type Scenario struct {
	Lab   *Lab
	Quick bool // fewer and shorter measurements, for tests
	Board *Board

	extent  extent
	lines   []LineResult
	keepers []*Download // an established download per line
}

// extent says how much is measured.
type extent struct {
	downloads   int // one after another, at least
	warmUp      time.Duration
	measure     time.Duration
	calm        time.Duration // before and after a line breaks
	incoming    int           // connections per line and server
	bounced     int           // lines whose interface goes down and up
	atOnce      int
	connections int
}

// NewScenario prepares a scenario in a lab whose daemon does not run yet.
func NewScenario(l *Lab, quick bool) *Scenario {
	n := len(l.Plan.Lines)
	s := &Scenario{
		Lab: l, Quick: quick,
		Board:   &Board{start: time.Now(), selected: make([]bool, n), taken: make([]int, n)},
		extent:  extent{downloads: 2 * n, warmUp: 1500 * time.Millisecond, measure: 2 * time.Second, calm: 2 * time.Second, incoming: 100, bounced: n, atOnce: max(24, 8*n), connections: 1000},
		keepers: make([]*Download, n),
	}
	if quick {
		s.extent = extent{downloads: 2, warmUp: time.Second, measure: 1200 * time.Millisecond, calm: 600 * time.Millisecond, incoming: 20, bounced: 1, atOnce: max(24, 8*n), connections: 1000}
	}
	for _, line := range l.Plan.Lines {
		s.lines = append(s.lines, LineResult{Number: line.Number, Interface: line.Interface, Rate: line.Rate, Weight: max(1, line.Weight)})
	}
	return s
}

// Run plays the scenario. An expectation that does not hold is in the result; an error is what made
// going on impossible, and is in the result too.
func (s *Scenario) Run(ctx context.Context) (*Result, error) {
	if len(s.Lab.Plan.Lines) < 2 {
		return nil, errors.New("the scenario needs at least 2 lines")
	}
	s.Board.keepAll = true
	watch, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var watching error
	running.Go(func() { watching = s.watch(watch) })
	err := s.steps(ctx)
	for _, d := range s.keepers {
		if d != nil {
			d.Stop()
		}
	}
	stop()
	running.Wait()
	s.Board.keepAll = false
	err = errors.Join(err, watching)
	return s.result(err), err
}

// watch keeps the board's throughput and selection true until the context ends.
func (s *Scenario) watch(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Lab.Meter(ctx, 100*time.Millisecond, s.Board.sample) })
	group.Go(func() error { return s.watchSelection(ctx) })
	return group.Wait()
}

// steps plays one step after the other.
func (s *Scenario) steps(ctx context.Context) error {
	n := len(s.Lab.Plan.Lines)
	silent, plug := (n-1)/2, n-1
	for _, step := range []struct {
		name string
		play func(context.Context) error
	}{
		{"lines come up", s.comeUp},
		{"downloads one after another", s.undisturbed(s.oneByOne)},
		{fmt.Sprintf("%d downloads at once", s.extent.atOnce), s.undisturbed(s.atOnce)},
		{fmt.Sprintf("%d connections", s.extent.connections), s.undisturbed(s.spread)},
		{fmt.Sprintf("line %d cut silently upstream", silent+1), func(ctx context.Context) error { return s.broken(ctx, silent, s.Lab.Cut, "silent cut") }},
		{fmt.Sprintf("line %d restored", silent+1), func(ctx context.Context) error { return s.restored(ctx, silent) }},
		{fmt.Sprintf("line %d loses its carrier", plug+1), func(ctx context.Context) error { return s.broken(ctx, plug, s.Lab.CutCarrier, "lost carrier") }},
		{fmt.Sprintf("line %d plugged in again", plug+1), func(ctx context.Context) error { return s.restored(ctx, plug) }},
		{"incoming connections", s.incoming},
		{"interfaces down and up", s.bounced},
		{"daemon killed and started again", s.killed},
		{"daemon stopped", s.stopped},
	} {
		s.Board.begin(step.name)
		if err := step.play(ctx); err != nil {
			s.Board.expect(Row{What: "the step can be played", Expected: "yes", Measured: "no"})
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.Board.mu.Lock()
	s.Board.step, s.Board.note = "", ""
	s.Board.mu.Unlock()
	return nil
}

// watchSelection notes which lines the router uses, for the view.
func (s *Scenario) watchSelection(ctx context.Context) error {
	for {
		hops, err := s.Lab.Selected()
		if err != nil {
			return err
		}
		s.Board.uses(hops)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// waited waits for a condition and tells how long it took; false: the limit came first.
func (s *Scenario) waited(ctx context.Context, limit time.Duration, condition func() (bool, error)) (time.Duration, bool, error) {
	start := time.Now()
	for {
		ok, err := condition()
		if err = errors.Join(err, s.Lab.DaemonError()); err != nil {
			return 0, false, err
		}
		took := time.Since(start)
		if ok || took > limit {
			return took, ok, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, false, err
		}
	}
}

// comeUp loads the rules, starts the daemon and waits until all lines are used.
func (s *Scenario) comeUp(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	limit := s.back()
	took, ok, err := s.waited(ctx, limit, s.allUsed)
	if err != nil {
		return err
	}
	s.Board.expect(Row{What: "all lines in use", Expected: "within " + inSeconds(limit), Measured: measured(took, ok), OK: ok})
	if !ok {
		return fmt.Errorf("the daemon did not bring all lines into use; it said:\n%s", s.Lab.Log().Tail(20))
	}
	a := s.Lab.Attempt(ctx, s.Lab.Plan.Servers[0], openTimeout)
	s.Board.expect(Row{What: "a client reaches the internet", Expected: "yes", Measured: yesNo(a.Err == nil), OK: a.Err == nil})
	return nil
}

// allUsed tells whether new connections may use each line now.
func (s *Scenario) allUsed() (bool, error) {
	hops, err := s.Lab.Selected()
	return len(hops) == len(s.Lab.Plan.Lines), err
}

// start makes the router a router: configuration, firewall rules, daemon.
func (s *Scenario) start(ctx context.Context) error {
	if err := s.Lab.WriteConfig(s.Lab.Config()); err != nil {
		return err
	}
	if err := s.Lab.ApplyRules(ctx); err != nil {
		return err
	}
	return s.Lab.StartDaemon(ctx)
}

// killed kills the daemon and starts it again: nobody may notice, before, while and after.
func (s *Scenario) killed(ctx context.Context) error {
	knocks := s.startKnocking(ctx)
	defer knocks.end()
	since, err := s.kill(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(pause(ctx, s.extent.calm/2), s.Lab.StartDaemon(ctx), pause(ctx, s.extent.calm), s.each(ctx, knocks, since, s.all()...)); err != nil {
		return err
	}
	attempts := knocks.end()
	s.Board.expect(Row{What: "new connections meanwhile", Expected: "0 fail", Measured: attempts.Failures(since), OK: attempts.Failed() == 0})
	used := attempts.Shares(len(s.lines))
	s.Board.expect(Row{What: "lines that carried them", Expected: strconv.Itoa(len(s.lines)), Measured: strconv.Itoa(len(s.lines) - count(used, 0)), OK: count(used, 0) == 0})
	return s.Lab.DaemonError()
}

// kill kills the daemon while all lines are in use, and tells when. One that went down and up again may be
// taken out for a moment just before: then the daemon is started again and brings it back first.
func (s *Scenario) kill(ctx context.Context) (at time.Time, err error) {
	for range 5 {
		if _, _, err := s.waited(ctx, s.back(), s.allUsed); err != nil {
			return at, err
		}
		at = time.Now()
		if err := s.Lab.KillDaemon(); err != nil {
			return at, err
		}
		if ok, err := s.allUsed(); ok || err != nil {
			return at, err
		}
		if err := s.Lab.StartDaemon(ctx); err != nil {
			return at, err
		}
	}
	return at, errors.New("not all lines are in use")
}

// count returns how often a value is there.
func count(values []float64, value float64) int {
	n := 0
	for _, v := range values {
		if v == value {
			n++
		}
	}
	return n
}

// stopped ends the daemon and looks whether traffic goes on.
func (s *Scenario) stopped(ctx context.Context) error {
	err := s.Lab.StopDaemon()
	s.Board.expect(Row{What: "the daemon ends well when asked to", Expected: "yes", Measured: orError("yes", err), OK: err == nil})
	attempts := s.Lab.Spread(ctx, s.Lab.Plan.Servers[1], 50, openTimeout)
	s.Board.expect(Row{What: "without it, new connections are still made", Expected: "50 of 50", Measured: fmt.Sprintf("%d of 50", 50-attempts.Failed()), OK: attempts.Failed() == 0})
	return nil
}

// result gathers all that was recorded.
func (s *Scenario) result(err error) *Result {
	b := s.Board
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &Result{
		Started: b.start, Duration: time.Since(b.start), Interval: s.Lab.options.Config.withDefaults().Interval,
		Lines: s.lines, Rows: slices.Clone(b.rows), Points: points(b.samples), Steps: slices.Clone(b.steps),
	}
	for i, bytes := range carried(b.samples, len(s.lines)) {
		r.Lines[i].Bytes = bytes
	}
	for _, e := range s.Lab.Log().Entries() {
		r.Events = append(r.Events, Mark{At: e.Time.Sub(b.start), Line: e.Line, Text: e.Text, Done: e.Done})
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
