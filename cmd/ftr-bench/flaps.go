package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// Flaps.
const (
	flapLines = 16               // enough that one is always there while the others are on their way back
	flapLimit = 10 * time.Second // until the routes follow
	warmFlaps = 50               // before the first look at what the program holds
)

// flapPhase breaks and repairs lines at random. One breaks while several others are still on their way
// back.
func flapPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, flapLines, "", withoutHold)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := d.fresh(ctx); err != nil {
		return nil, err
	}
	flaps := 50 * b.runs // 1,000 by default
	fresh, err := d.stacks(ctx)
	if err != nil {
		return nil, err
	}
	if b.own() {
		if err := d.fresh(ctx); err != nil {
			return nil, err
		}
	}
	f := &flapping{bed: d, out: &Figure{What: fmt.Sprintf("%d flaps of %d lines: carrier lost → route changed", flaps, flapLines), Unit: "ms"}}
	if err := f.run(ctx, flaps); err != nil {
		return nil, err
	}
	end, err := statusOf(d.program)
	if err != nil {
		return nil, err
	}
	stuck := &Figure{What: "… flaps after which the routes were not right within 10 s", Goal: worst(0), Samples: []float64{float64(f.stuck)}}
	// Buffers of the kernel's sockets and the collector's timing come and go: a leak of one thing in
	// each flap would show as hundreds.
	files := &Figure{What: "… more descriptors than after the first 50", Goal: worst(2), Samples: []float64{float64(end.files - f.warm.files)}}
	memory := &Figure{
		What: "… more resident memory than after the first 50", Unit: "MB", Goal: worst(4), Samples: []float64{end.rss - f.warm.rss},
		Note: fmt.Sprintf("from %s MB", number(f.warm.rss)),
	}
	figures := []*Figure{stuck, f.out, files, memory}
	if !b.own() {
		return figures, nil
	}
	now, err := d.stacks(ctx)
	return append(figures, &Figure{
		What: "… more goroutines than before", Goal: worst(4), Samples: []float64{float64(now - fresh)}, Note: fmt.Sprintf("before: %d", fresh),
	}), err
}

// flapping is what flaps did.
type flapping struct {
	*bed
	out   *Figure
	stuck int
	warm  process
}

func (f *flapping) run(ctx context.Context, flaps int) (err error) {
	wire := carrier()
	for k := range flaps {
		if k == min(warmFlaps, flaps/2) {
			if f.warm, err = statusOf(f.program); err != nil {
				return err
			}
		}
		i, err := f.choose(ctx)
		if err != nil {
			return err
		}
		out := f.watch.expect(func(s *state) bool { return !s.uses(i) })
		at, err := wire.set(f.Lab, i, true)
		if err != nil {
			return err
		}
		if err := f.follows(ctx, out, f.out, at); err != nil {
			return err
		}
		if _, err := wire.set(f.Lab, i, false); err != nil {
			return err
		}
	}
	all := f.watch.expect(func(s *state) bool { return s.usesAll() })
	return f.follows(ctx, all, nil, time.Time{})
}

// choose returns a line that is in use, at random. At least one other stays.
func (f *flapping) choose(ctx context.Context) (int, error) {
	enough := f.watch.expect(func(s *state) bool { return s.best(s.table).count() > 1 })
	if err := f.follows(ctx, enough, nil, time.Time{}); err != nil {
		return 0, err
	}
	var used []int
	err := f.watch.look(func(s *state) {
		for i := range flapLines {
			if s.uses(i) {
				used = append(used, i)
			}
		}
	})
	if err == nil && len(used) < 2 {
		err = fmt.Errorf("only %d lines are in use after %s; the program said:\n%s", len(used), flapLimit, f.program.tail.last())
	}
	if err != nil {
		return 0, err
	}
	return used[rand.IntN(len(used))], nil
}

// follows waits for the routes, and counts if they do not come.
func (f *flapping) follows(ctx context.Context, e *expectation, figure *Figure, since time.Time) error {
	at, ok, err := e.wait(ctx, flapLimit)
	if err != nil {
		return err
	}
	if figure != nil {
		figure.took(at.Sub(since), ok, flapLimit)
	}
	if !ok {
		f.stuck++
	}
	return f.program.ended()
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
