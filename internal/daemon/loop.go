package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// Times of the loop.
const (
	// resync is how often the kernel is read without being asked to: what sends no event (sysctls,
	// lease files) is noticed so.
	resync = 10 * time.Second
	// breath is the shortest time between two looks, so that a storm of events costs little. The first
	// event after a quiet time is acted on at once.
	breath = 5 * time.Millisecond
	// firstRetry and lastRetry bound the pause after a step failed.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// loop is the state of the daemon. Only the goroutine of run touches it.
type loop struct {
	Options
	scope      routing.Scope
	obs        routing.Observation
	paths      []routing.Path    // as resolved from obs
	monitors   []*health.Monitor // of paths, by position
	selections []routing.Selection
	snapshot   *status.Snapshot
	warned     []routing.Warning

	lookAt  time.Time     // when the kernel is to be read next
	looked  time.Time     // when it was read last
	retry   time.Duration // pause after the next failure
	failure string        // the last failure that was logged
	ready   bool
	repairs repairs

	answers chan answer
	probes  sync.WaitGroup
}

// answer is what a probe brought back.
type answer struct {
	monitor *health.Monitor // that asked; it may be another's turn by now
	id      uint64
	rtt     time.Duration
	err     error
}

func newLoop(opts Options) *loop {
	return &loop{
		Options: opts, scope: routing.ScopeOf(opts.Config), retry: firstRetry,
		answers: make(chan answer),
	}
}

// run turns until ctx ends, and waits for the probes that it started.
func (l *loop) run(ctx context.Context, hints <-chan struct{}) error {
	defer l.probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hints:
			l.lookAt = earliest(l.lookAt, l.looked.Add(breath))
		case a := <-l.answers:
			a.monitor.Answer(time.Now(), a.id, a.rtt, a.err)
		case <-timer.C:
		}
		l.turn(ctx, time.Now())
		timer.Reset(time.Until(l.wake()))
	}
}

// wake is when something must be done next, if nothing happens before.
func (l *loop) wake() time.Time {
	next := l.lookAt
	for _, m := range l.monitors {
		if at := m.Wake(); !at.IsZero() {
			next = earliest(next, at)
		}
	}
	return next
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// turn is the one straight line: observe, decide, plan, apply, probe, publish. Where the kernel cannot
// be read, judging and probing go on, and reconciling waits for the next look.
func (l *loop) turn(ctx context.Context, now time.Time) {
	l.drain(now)
	if l.decide(now) {
		l.lookAt = now // the plan is made from what the kernel holds now, not from memory
	}
	if !now.Before(l.lookAt) && l.observe(ctx, now) {
		l.decide(now)
		l.reconcile(ctx, now)
	}
	// Probes come last: their routes exist by now, and applying does not eat into the wait for answers.
	now = time.Now()
	l.send(ctx, l.poll(now))
	if l.decide(now) {
		l.lookAt = now // silence became a verdict: the next turn comes at once and tells
		return
	}
	l.publish(now)
}

// observe reads the kernel and tells the monitors what became of their links. It returns false where
// the kernel could not be read; it is tried again soon.
func (l *loop) observe(ctx context.Context, now time.Time) bool {
	l.looked, l.lookAt = now, now.Add(resync)
	obs, err := l.Kernel.Observe(ctx, l.scope)
	if err != nil {
		l.failed(ctx, now, fmt.Errorf("read the kernel's state: %w", err))
		return false
	}
	paths := routing.Resolve(l.Config, &obs)
	if l.monitors == nil {
		l.start(now, &obs, paths)
	}
	for i, p := range paths {
		if l.paths != nil && moved(l.paths[i], p) {
			// Nothing is known of the new way; the line keeps its place until it is judged.
			l.monitors[i] = health.New(l.params(), l.Rand, now)
		}
		l.monitors[i].SetLink(now, p.Usable(), p.Problem)
	}
	l.obs, l.paths = obs, paths
	l.warn(routing.Inspect(l.Config, &obs))
	return true
}

// moved tells whether a path leads another way than before, so that what was known of it is void. A path
// that has lost its address is the monitor's business: it is down.
func moved(before, after routing.Path) bool {
	return before.Source.IsValid() && after.Source.IsValid() &&
		(before.Source != after.Source || before.Gateway != after.Gateway)
}

// start makes the monitors, and adopts the selection that it finds.
func (l *loop) start(now time.Time, obs *routing.Observation, paths []routing.Path) {
	for range paths {
		l.monitors = append(l.monitors, health.New(l.params(), l.Rand, now))
	}
	for _, f := range l.scope.Families {
		if s := routing.Adopt(l.Config, f, obs.Have); s != nil {
			l.selections = append(l.selections, *s)
		}
	}
}

func (l *loop) params() health.Params {
	t := l.Config.Tests
	return health.Params{
		Targets: t.Targets, Required: t.Required, Retries: t.Retries, Interval: t.Interval, Timeout: t.Timeout,
	}
}

// warn logs what is new among the warnings. What keeps an uplink from being used is told with its
// health already.
func (l *loop) warn(warnings []routing.Warning) {
	if l.snapshot != nil { // before, nothing else has told why an uplink is not used
		warnings = slices.DeleteFunc(warnings, func(w routing.Warning) bool { return w.Code == routing.UplinkUnusable })
	}
	for _, w := range warnings {
		if !slices.Contains(l.warned, w) {
			l.Logger.Warn(w.String())
		}
	}
	l.warned = warnings
}

// decide makes the selections from the health as it is now, and tells whether they changed.
func (l *loop) decide(now time.Time) bool {
	if l.monitors == nil {
		return false // not even looked yet
	}
	states := make([]health.State, len(l.monitors))
	for i, m := range l.monitors {
		states[i] = m.Report(now).State
	}
	var next []routing.Selection
	for _, f := range l.scope.Families {
		next = append(next, routing.Select(l.Config, f, l.paths, states, l.selection(f)))
	}
	changed := !slices.EqualFunc(l.selections, next, routing.Selection.Equal)
	l.selections = next
	return changed
}

func (l *loop) selection(f config.Family) *routing.Selection {
	for _, s := range l.selections {
		if s.Family == f {
			return &s
		}
	}
	return nil
}

// reconcile makes the kernel agree. A step that fails does not keep the others from being done, but
// deletions wait until all that is wanted exists: what is to go may be all that a packet has.
func (l *loop) reconcile(ctx context.Context, now time.Time) {
	want := routing.Want(l.Config, &l.obs, l.paths, l.selections)
	steps := routing.Plan(l.Config, l.obs.Have, want)
	l.repair(now, want, steps)
	var errs []error
	for _, s := range steps {
		if s.Op == routing.Delete && len(errs) > 0 {
			break
		}
		if err := l.apply(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.failed(ctx, now, err)
		return
	}
	if l.failure != "" {
		l.Logger.Info("the kernel agrees again")
	}
	l.failure, l.retry, l.repairs.agreed = "", firstRetry, want
	if !l.ready {
		l.ready = true
		l.Logger.Debug("the kernel agrees with the configuration", "steps", len(steps))
		l.Ready()
	}
}

func (l *loop) apply(ctx context.Context, s routing.Step) error {
	if s.Op == routing.Set {
		if err := l.Remember(s.Sysctl.Key, s.Old); err != nil {
			l.Logger.Warn("the old value of a sysctl could not be kept, cleanup will not put it back",
				"sysctl", s.Sysctl.Key, "value", s.Old, "error", err)
		}
	}
	l.Logger.Debug(s.String())
	if err := l.Kernel.Apply(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// failed logs a failure once, and plans the next try.
func (l *loop) failed(ctx context.Context, now time.Time, err error) {
	if ctx.Err() != nil {
		return
	}
	if text := err.Error(); text != l.failure {
		l.Logger.Error("the kernel does not agree yet, trying again:\n" + text)
		l.failure = text
	}
	l.lookAt = now.Add(l.retry)
	l.retry = min(2*l.retry, lastRetry)
}

// publish makes the snapshot of the turn and tells what changed since the last.
func (l *loop) publish(now time.Time) {
	if l.monitors == nil {
		return
	}
	reports := make([]health.Report, len(l.monitors))
	for i, m := range l.monitors {
		reports[i] = m.Report(now)
	}
	next := status.Take(now, l.Config, l.paths, reports, l.selections, l.warned, l.snapshot)
	for _, line := range status.Progress(l.snapshot, next) {
		l.Logger.Debug(line)
	}
	if l.snapshot == nil {
		l.Logger.Info(status.Initial(next))
	} else if changes := status.Changes(l.snapshot, next); len(changes) > 0 {
		l.tell(now, changes, status.Message(l.snapshot, next))
	}
	l.snapshot = next
	l.Publish(next)
}

// tell logs and mails what changed.
func (l *loop) tell(now time.Time, changes []status.Change, body string) {
	l.Logger.Info(status.Subject + "\n" + body)
	l.Notify(now, status.Subject, body)
	if slices.ContainsFunc(changes, func(c status.Change) bool { return c.New == health.Up.String() }) {
		l.Restored()
	}
}
