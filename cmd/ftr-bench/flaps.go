package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Flaps.
const (
	flapLines = 16               // the last one never breaks, so that there is always a way
	flapHands = 4                // so many lines break at the same time
	flapLimit = 10 * time.Second // until the routes follow
	flapHold  = 500 * time.Millisecond
	flapBrief = 100 * time.Millisecond
	// flapLag is how long after a brief flap what was asked in it may lead to a verdict.
	flapLag = 700 * time.Millisecond
	// flapWindow is how many flaps are compared, the first with the last.
	flapWindow = 100
)

// flapPhase breaks and repairs lines at random, by carrier and silently. Some break while others are still
// on their way back.
func flapPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, flapLines, "", withoutHold)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := d.fresh(ctx); err != nil {
		return nil, err
	}
	fresh, err := d.stacks(ctx)
	if err != nil {
		return nil, err
	}
	if b.own() {
		if err := d.fresh(ctx); err != nil {
			return nil, err
		}
	}
	f := newFlapping(d, 50*b.runs) // 1,000 by default
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	figures := f.figures()
	if !b.own() {
		return figures, nil
	}
	now, err := d.stacks(ctx)
	return append(figures, &Figure{
		What: "… more goroutines than before", Goal: worst(4), Samples: []float64{float64(now - fresh)}, Note: fmt.Sprintf("before: %d", fresh),
	}), err
}

// flapping is a run of flaps.
type flapping struct {
	*bed
	ready chan int // lines that are in use and left alone
	todo  chan int // numbers of the flaps to come

	mu      sync.Mutex
	out     map[string]*Figure // by the fault
	back    *Figure
	stuck   int
	samples []process
}

func newFlapping(d *bed, flaps int) *flapping {
	f := &flapping{
		bed: d, ready: make(chan int, flapLines), todo: make(chan int, flaps), out: map[string]*Figure{},
		back: &Figure{What: "… line well again → used", Unit: "ms"},
	}
	for _, i := range rand.Perm(flapLines - 1) {
		f.ready <- i
	}
	for k := range flaps {
		f.todo <- k
	}
	close(f.todo)
	for _, fault := range faults() {
		f.out[fault.name] = &Figure{What: fmt.Sprintf("… %s → route changed", map[string]string{"carrier": "carrier lost", "silent": "silent failure"}[fault.name]), Unit: "ms"}
	}
	return f
}

// faults are the ways to break a line.
func faults() []fault { return []fault{carrier(), silent()} }

// run makes all flaps, several at once, and holds what is there afterwards against what was before.
func (f *flapping) run(ctx context.Context) error {
	if err := pause(ctx, settle); err != nil { // a line of which no answer is known yet is waited for longer
		return err
	}
	var before, after map[place]lineSet
	var rules, now int
	if err := f.watch.look(func(s *state) { before, rules = maps.Clone(s.defaults), s.rules }); err != nil {
		return err
	}
	group, inner := errgroup.WithContext(ctx)
	for range flapHands {
		group.Go(func() error {
			for range f.todo {
				if err := f.one(inner, group); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	all := f.watch.expect(func(s *state) bool { return s.usesAll() })
	if _, _, err := f.follows(ctx, all); err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	if err := f.watch.look(func(s *state) { after, now = maps.Clone(s.defaults), s.rules }); err != nil {
		return err
	}
	if !maps.Equal(before, after) || rules != now {
		return fmt.Errorf("%d default routes and %d rules before, %d and %d, or others, afterwards", len(before), rules, len(after), now)
	}
	return nil
}

// one breaks a line and repairs it. That it is used again is waited for beside the flaps that follow.
func (f *flapping) one(ctx context.Context, group *errgroup.Group) error {
	var i int
	select {
	case i = <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	how := faults()[rand.IntN(len(faults()))]
	brief := rand.IntN(5) == 0
	out := f.watch.expect(func(s *state) bool { return !s.uses(i) })
	at, err := how.set(f.bed, i, true)
	if err != nil {
		return err
	}
	f.bench.say(at, "line %d breaks (%s)", i+1, how.name)
	hold := time.Duration(rand.Int64N(int64(flapBrief)))
	if !brief {
		took, ok, err := f.follows(ctx, out)
		if err != nil {
			return err
		}
		f.note(f.out[how.name], took.Sub(at), ok)
		hold = time.Duration(rand.Int64N(int64(flapHold)))
	}
	if err := pause(ctx, hold); err != nil {
		return err
	}
	if at, err = how.set(f.bed, i, false); err != nil {
		return err
	}
	f.bench.say(at, "line %d is well again", i+1)
	if err := f.sample(); err != nil {
		return err
	}
	group.Go(func() error { return f.returns(ctx, i, at, brief) })
	return nil
}

// returns waits until a line is used again, and gives it back.
func (f *flapping) returns(ctx context.Context, i int, at time.Time, brief bool) error {
	if brief {
		if err := pause(ctx, flapLag); err != nil {
			return err
		}
	}
	in, ok, err := f.follows(ctx, f.watch.expect(func(s *state) bool { return s.uses(i) }))
	if err != nil {
		return err
	}
	if !brief {
		f.note(f.back, in.Sub(at), ok)
	}
	f.ready <- i
	return nil
}

// follows waits for the routes, and counts if they do not come.
func (f *flapping) follows(ctx context.Context, e *expectation) (time.Time, bool, error) {
	at, ok, err := e.wait(ctx, flapLimit)
	if err != nil {
		return at, ok, err
	}
	if !ok {
		f.mu.Lock()
		f.stuck++
		f.mu.Unlock()
	}
	return at, ok, f.program.ended()
}

func (f *flapping) note(figure *Figure, d time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	figure.took(d, ok, flapLimit)
}

// sample looks at what the program takes.
func (f *flapping) sample() error {
	s, err := statusOf(f.program)
	if err != nil {
		return errors.Join(err, f.program.ended())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.samples = append(f.samples, s)
	return nil
}

// figures are those of the flaps, and what the program takes more in the last ones than in the first.
func (f *flapping) figures() []*Figure {
	figures := []*Figure{{
		What: fmt.Sprintf("%d flaps of %d lines: not followed by the routes within %s", len(f.samples), flapLines-1, flapLimit),
		Goal: worst(0), Samples: []float64{float64(f.stuck)},
	}}
	for _, fault := range faults() {
		figures = append(figures, f.out[fault.name])
	}
	return append(figures, f.back,
		growth("descriptors", "", 2, f.samples, func(p process) float64 { return float64(p.files) }),
		growth("threads", "", 2, f.samples, func(p process) float64 { return float64(p.threads) }),
		growth("resident memory", "MB", 4, f.samples, func(p process) float64 { return p.rss }))
}

// growth compares the medians of the first and the last samples.
func growth(what, unit string, goal float64, samples []process, of func(process) float64) *Figure {
	n := min(flapWindow, len(samples)/2)
	middle := func(some []process) float64 {
		f := &Figure{}
		for _, p := range some {
			f.Samples = append(f.Samples, of(p))
		}
		return f.spread().median
	}
	first, last := middle(samples[:n]), middle(samples[len(samples)-n:])
	return &Figure{
		What: fmt.Sprintf("… more %s in the last %d flaps than in the first", what, n), Unit: unit, Goal: worst(goal), Samples: []float64{last - first},
		Note: fmt.Sprintf("medians: %s and %s", number(first), number(last)),
	}
}

// stacks makes our program end with the stacks of its goroutines (SIGQUIT) and counts them, after what
// it looks at closely has had time to calm down.
func (d *bed) stacks(ctx context.Context) (int, error) {
	if !d.bench.own() {
		return 0, nil
	}
	if err := pause(ctx, 2*settle); err != nil {
		return 0, err
	}
	_ = d.program.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-d.program.done:
	case <-time.After(5 * time.Second):
	}
	d.program.kill()
	return strings.Count(d.program.tail.all(), "\ngoroutine "), nil
}
