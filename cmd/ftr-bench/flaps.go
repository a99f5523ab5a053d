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
	flapLines = 8
	flapLimit = 10 * time.Second // until the routes follow
	warmFlaps = 50               // before the first look at what the program holds
)

// flapPhase breaks and repairs lines at random, most of the time several at once.
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
	fresh := d.stacks()
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
	if b.own() {
		figures = append(figures, &Figure{What: "… more goroutines than before", Goal: worst(4), Samples: []float64{float64(d.stacks() - fresh)}, Note: fmt.Sprintf("before: %d", fresh)})
	}
	return figures, nil
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
		i := rand.IntN(flapLines)
		// The one that broke last may be on its way back; at least one other line must be there.
		in := f.watch.expect(func(s *state) bool { return s.uses(i) && s.best(s.table).count() > 1 })
		if err := f.follows(ctx, in, nil, time.Time{}); err != nil {
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

// stacks makes our program end with the stacks of its goroutines (SIGQUIT) and counts them.
func (d *bed) stacks() int {
	if !d.bench.own() {
		return 0
	}
	_ = d.program.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-d.program.done:
	case <-time.After(5 * time.Second):
	}
	d.program.kill()
	return strings.Count(d.program.tail.all(), "\ngoroutine ")
}
