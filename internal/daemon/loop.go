package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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
	// voteEvery is how often it is looked whether targets are silent through all lines.
	voteEvery = 250 * time.Millisecond
	// publishEvery is how often new measurements alone make a new picture; with hundreds of lines they
	// come all the time. They wait for a turn that comes anyway, but no longer than twice that. A new state
	// makes a picture at once.
	publishEvery = 900 * time.Millisecond
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
	traffics   []*health.Traffic // of paths, by position
	reports    []health.Report   // of paths, by position, as the selections were last decided by
	selections []routing.Selection
	snapshot   *status.Snapshot
	published  []health.Report   // that the snapshot was made from
	inspected  []routing.Warning // about the host, by the last look
	crowded    []routing.Warning // about tables of neighbours
	warned     []routing.Warning // these, and those of the guard

	lookAt  time.Time     // when the kernel is to be read next
	looked  time.Time     // when it was read last
	retry   time.Duration // pause after the next failure
	failure string        // the last failure that was logged
	ready   bool
	repairs repairs

	modes    map[string]status.Mode // by interface
	released map[place]bool         // paths that are down and whose connections were let go
	dark     map[place]bool         // paths that are down and whose gateways were asked since
	failback failback
	// solicited is what was asked of routers, by interface.
	solicited map[string]solicitation
	stands    standings
	sources   sources
	gone      []departed      // were removed, and their connections are to be let go
	settled   bool            // the kernel holds the selections as they are
	known     []Known         // from before the restart
	voteless  []config.Target // that are silent through all lines
	votesAt   time.Time       // when that is to be looked at next
	waiting   []command       // done, but not published yet
	// publishAt is when the next picture is due, if unpublished: something happened since the last.
	publishAt   time.Time
	unpublished bool
	watch       chan watched
	guard       chan guarded
	unheard     *atomic.Pointer[unheard]
	protection  protection
	answers     chan answer
	probes      sync.WaitGroup
}

// answer is what a probe brought back.
type answer struct {
	monitor *health.Monitor // that asked; it may be another's turn by now
	traffic *health.Traffic // of the same path
	id      uint64
	rtt     time.Duration
	err     error
}

func newLoop(opts Options, watch chan watched, guard chan guarded, unheard *atomic.Pointer[unheard]) *loop {
	return &loop{
		Options: opts, scope: routing.ScopeOf(opts.Config).Whole(), retry: firstRetry, known: opts.Known,
		answers: make(chan answer), watch: watch, guard: guard, unheard: unheard, modes: maps.Clone(opts.Modes), released: map[place]bool{}, dark: map[place]bool{},
		solicited: map[string]solicitation{}, stands: standings{}, sources: sources{},
		failback: failback{carried: map[place]bool{}, due: map[place]bool{}},
	}
}

// run turns until ctx ends, and waits for the probes that it started.
func (l *loop) run(ctx context.Context, in doors) error {
	defer l.probes.Wait()
	l.announce()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-in.hints:
			l.lookAt = earliest(l.lookAt, l.looked.Add(breath))
		case h := <-in.neighbours:
			l.lost(time.Now(), h)
		case a := <-l.answers:
			l.take(time.Now(), a)
		case r := <-in.samples:
			if !l.judge(r) {
				continue
			}
		case v := <-in.verdicts:
			l.heed(v)
		case ws := <-in.crowded:
			l.crowd(ws)
		case c := <-in.commands:
			c.do(l)
			l.waiting = append(l.waiting, c)
		case <-timer.C:
		}
		l.turn(ctx, time.Now())
		if now := time.Now(); l.lookAt.After(now) {
			l.answer(now)
		}
		timer.Reset(time.Until(l.wake()))
	}
}

// answer tells those who wanted something that it is done, and in the snapshot.
func (l *loop) answer(now time.Time) {
	l.waiting = slices.DeleteFunc(l.waiting, func(c command) bool {
		if c.guarded && l.guarding(now) {
			return false
		}
		close(c.done)
		return true
	})
}

// lost takes the loss of a neighbour for a doubt of the paths that lead over it.
func (l *loop) lost(now time.Time, h routing.Hint) {
	for i, p := range l.paths {
		if p.Index == h.Interface && p.Gateway == h.Neighbour {
			l.monitors[i].Doubt(now, "gateway "+h.Neighbour.String()+" is not reached")
		}
	}
}

// wake is when something must be done next, if nothing happens before.
func (l *loop) wake() time.Time {
	next := l.lookAt
	if !l.shielded(l.looked) {
		return next // nothing is asked before there are routes
	}
	if l.unpublished {
		next = earliest(next, l.publishAt.Add(publishEvery))
	}
	for _, m := range l.monitors {
		if at := m.Wake(); !at.IsZero() {
			next = earliest(next, at)
		}
	}
	for _, s := range l.solicited {
		if !s.next.IsZero() {
			next = earliest(next, s.next)
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
	l.unpublished = l.monitors != nil
	if l.decide(now) {
		l.lookAt = now // the plan is made from what the kernel holds now, not from memory
	}
	if !now.Before(l.lookAt) && l.observe(ctx, now) {
		l.decide(now)
		l.protect(now)
		if l.shielded(now) {
			l.reconcile(ctx, now)
		}
		l.regard()
		l.publishAt = now // it may be news
	}
	if !l.shielded(now) {
		return
	}
	// Probes come last: their routes exist by now, and applying does not eat into the wait for answers.
	now = time.Now()
	l.solicit(ctx, now)
	l.vote(now)
	l.send(ctx, l.poll(now))
	l.vote(now) // what silence just showed of a target may have to be asked through other lines at once
	if l.decide(now) {
		l.lookAt = now // silence became a verdict: the next turn comes at once and tells
		return
	}
	l.askGateways(ctx)
	if l.ready && l.failure == "" {
		l.release(ctx) // the routes lead elsewhere by now
		l.renumbered(ctx)
		l.moveBack(ctx)
	}
	if !now.Before(l.publishAt) || len(l.waiting) > 0 || l.stale() {
		l.publish(now)
	}
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
	obs.Have.Held = l.repairs.held
	paths := routing.Resolve(l.Config, &obs)
	if l.monitors == nil {
		l.adopt(&obs)
	}
	l.obs = obs
	l.follow(now, paths)
	for i, p := range paths {
		l.monitors[i].SetLink(now, p.Usable(), p.Problem)
	}
	l.inspected = append(routing.Inspect(l.Config, &obs), l.repairs.warnings(now)...)
	l.warn(l.inspected)
	return true
}

// vote takes the vote from targets that are silent through all lines, and gives it back when they answer.
// Where some targets are silent and others not, the other lines are asked too, so that it is known soon
// whose fault it is.
func (l *loop) vote(now time.Time) {
	partly := map[config.Family]bool{}
	for i, m := range l.monitors {
		if m.Partly() && m.State() == health.Up {
			partly[l.paths[i].Family] = true
		}
	}
	if !partly[config.IPv4] && !partly[config.IPv6] && now.Before(l.votesAt) {
		return
	}
	l.votesAt = now.Add(voteEvery)
	for i, m := range l.monitors {
		if partly[l.paths[i].Family] && !m.Partly() {
			m.Doubt(now, "targets are silent through another line")
		}
	}
	lost := health.Silent(l.monitors)
	for _, m := range l.monitors {
		m.SetVoters(now, lost)
	}
	for _, t := range lost {
		if !slices.Contains(l.voteless, t) {
			l.Logger.Warn(fmt.Sprintf("target %s is silent through all lines: it has no vote until it answers", t))
		}
	}
	for _, t := range l.voteless {
		if !slices.Contains(lost, t) {
			l.Logger.Info(fmt.Sprintf("target %s answers again and has its vote back", t))
		}
	}
	l.voteless = lost
}

// decide makes the selections from the health as it is now, and tells whether they changed.
func (l *loop) decide(now time.Time) bool {
	if l.monitors == nil {
		return false // not even looked yet
	}
	l.assess(now)
	var next []routing.Selection
	for _, f := range l.Config.Families() {
		s := routing.Select(l.Config, f, l.paths, l.reports, l.selection(f))
		if s.Idle() && l.relieve(now, f) {
			s = routing.Select(l.Config, f, l.paths, l.reports, l.selection(f))
		}
		next = append(next, l.keep(now, s))
	}
	changed := !slices.EqualFunc(l.selections, next, routing.Selection.Equal)
	if changed {
		l.failover(next)
		l.settled = false
	}
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
