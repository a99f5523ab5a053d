package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"ftr/internal/lab"
)

// failing says what is to break, and how it is measured.
type failing struct {
	fault  fault
	config func(lab.Plan, string) string
	loaded bool          // 50 new connections a second
	udp    bool          // a flow on the line
	rtt    time.Duration // of each line; 0: as the lab is
	hold   time.Duration // how long a line stays broken at least
	spread time.Duration // at a random moment within this time, since probes come in intervals
	limit  time.Duration // after which it is given up
}

// backLimit is how long a line that is well again may take to be used.
const backLimit = 60 * time.Second

// trial is one failure.
type trial struct {
	line              int
	broken, restored  time.Time
	changed, back     time.Duration // routes; since broken, restored
	hasChanged, cameB bool
	resumed           time.Duration // the UDP flow; since broken
	hasResumed        bool
}

// trials are all failures of one phase.
type trials struct {
	list     []trial
	attempts []attempt
	moves    []move
}

// run breaks lines one after another. Each line breaks once while the program runs: a second failure
// is damped longer, by design.
func (f failing) run(ctx context.Context, b *bench) (_ *trials, err error) {
	d, err := b.newBed(ctx, 3, "", f.config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := d.delay(f.rtt); err != nil {
		return nil, err
	}
	t := &trials{}
	for len(t.list) < b.runs {
		if err := d.fresh(ctx); err != nil {
			return nil, err
		}
		if err := f.life(ctx, d, t, min(len(d.Plan.Lines), b.runs-len(t.list))); err != nil {
			return nil, err
		}
	}
	return t, d.watch.look(func(s *state) { t.moves = s.moves })
}

// life is one run of the program, in which n lines break.
func (f failing) life(ctx context.Context, d *bed, t *trials, n int) error {
	if f.loaded {
		load := startLoad(ctx, d.Lab, d.bench.family)
		defer func() { t.attempts = append(t.attempts, load.end()...) }()
	}
	for i := range n {
		if err := pause(ctx, settle/time.Duration(1+i)+time.Duration(rand.Int64N(int64(f.spread+1)))); err != nil {
			return err
		}
		one, err := f.once(ctx, d, i)
		if err != nil {
			return fmt.Errorf("run %d: %w", len(t.list)+1, err)
		}
		t.list = append(t.list, one)
		if !one.cameB {
			return nil // the next life begins with all lines
		}
	}
	if f.loaded { // what begins now must be able to end well
		return pause(ctx, impatient)
	}
	return nil
}

// once breaks line i, waits until all that is measured has happened, repairs it, and waits until it is
// used again.
func (f failing) once(ctx context.Context, d *bed, i int) (t trial, err error) {
	t.line = i
	var flow *flow
	if f.udp {
		if flow, err = startFlow(ctx, d.Lab, d.bench.family, i); err != nil {
			return t, err
		}
		defer flow.close()
	}
	out := d.watch.expect(func(s *state) bool { return !s.uses(i) })
	if t.broken, err = f.fault.set(d, i, true); err != nil {
		return t, err
	}
	d.bench.say(t.broken, "line %d breaks (%s)", i+1, f.fault.name)
	at, ok, err := out.wait(ctx, f.limit)
	if err != nil {
		return t, err
	}
	d.bench.say(at, "the route has changed")
	t.changed, t.hasChanged = at.Sub(t.broken), ok
	if flow != nil {
		r, ok, err := flow.resumed(ctx, t.broken, f.limit)
		if err != nil {
			return t, err
		}
		t.resumed, t.hasResumed = r.at.Sub(t.broken), ok
	}
	if err := pause(ctx, max(0, f.hold-time.Since(t.broken))); err != nil {
		return t, err
	}
	in := d.watch.expect(func(s *state) bool { return s.usesAll() })
	if t.restored, err = f.fault.set(d, i, false); err != nil {
		return t, err
	}
	d.bench.say(t.restored, "line %d is well again", i+1)
	at, t.cameB, err = in.wait(ctx, backLimit)
	t.back = at.Sub(t.restored)
	return t, errJoin(err, d.program.ended)
}

// errJoin adds the error of f, if any.
func errJoin(err error, f func() error) error {
	if other := f(); other != nil && err != nil {
		return fmt.Errorf("%w; %w", err, other)
	} else if other != nil {
		return other
	}
	return err
}
