package main

import (
	"context"
	"fmt"
	"time"
)

// manyLines is the largest number of uplinks.
const manyLines = 250

// manyPhase measures the program with as many uplinks as it can have.
func manyPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, manyLines, "", defaults)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := settleNeighbours(d.Lab); err != nil {
		return nil, err
	}
	full, err := overflows(d.Lab)
	if err != nil {
		return nil, err
	}
	start := &Figure{What: "250 uplinks: start → first full apply", Unit: "s", Goal: worst(3)}
	over := &Figure{What: "250 uplinks: carrier of one lost → route changed", Unit: "ms", Goal: worst(100), Note: "the verdict is part of it"}
	memory := &Figure{What: "250 uplinks: resident memory", Unit: "MB", Goal: worst(60)}
	t := &trials{}
	starts := max(1, min(b.runs/2, 5))
	for k := range starts {
		if err := d.firstApply(ctx, start); err != nil {
			return nil, err
		}
		if err := pause(ctx, 2*settle); err != nil {
			return nil, err
		}
		for i := k; i < b.runs; i += starts {
			if err := d.failover(ctx, i, over, t); err != nil {
				return nil, err
			}
		}
		s, err := statusOf(d.program)
		if err != nil {
			return nil, err
		}
		memory.Samples = append(memory.Samples, s.rss)
	}
	if err := d.watch.look(func(s *state) { t.moves = s.moves }); err != nil {
		return nil, err
	}
	spared := t.spared()
	after, err := overflows(d.Lab)
	if err == nil && after > full {
		spared.Note = note(spared.Note, fmt.Sprintf("the machine's table of neighbours was full %d times (gc_thresh3)", after-full))
	}
	return []*Figure{start, over, memory, spared}, err
}

// firstApply starts the program on a router without any state and measures until all lines' routes and
// rules are there.
func (d *bed) firstApply(ctx context.Context, f *Figure) error {
	d.kill()
	// What leaves now is no verdict.
	if err := d.watch.look(func(s *state) { s.table = 0 }); err != nil {
		return err
	}
	if err := d.bench.cleanup(d.Lab); err != nil {
		return err
	}
	empty := d.watch.expect(func(s *state) bool { return len(s.defaults) == 0 })
	if _, _, err := empty.wait(ctx, startLimit); err != nil {
		return err
	}
	// Every line has a table of its own, a rule for its address and one for its mark.
	applied := d.watch.expect(func(s *state) bool {
		if s.balanced() == 0 || s.rules < 2*manyLines {
			return false
		}
		tables := map[uint32]bool{}
		for p := range s.defaults {
			tables[p.table] = true
		}
		return len(tables) > manyLines
	})
	begin := time.Now()
	if err := d.fresh(ctx); err != nil {
		return err
	}
	at, ok, err := applied.wait(ctx, startLimit)
	f.took(at.Sub(begin), ok, startLimit)
	return err
}

// failover takes the carrier of line i and gives it back.
func (d *bed) failover(ctx context.Context, i int, f *Figure, t *trials) error {
	out := d.watch.expect(func(s *state) bool { return !s.uses(i) })
	wire := carrier()
	begin, err := wire.set(d, i, true)
	if err != nil {
		return err
	}
	at, ok, err := out.wait(ctx, flapLimit)
	if err != nil {
		return err
	}
	f.took(at.Sub(begin), ok, flapLimit)
	restored, err := wire.set(d, i, false)
	if err != nil {
		return err
	}
	t.list = append(t.list, trial{line: i, broken: begin, restored: restored})
	in := d.watch.expect(func(s *state) bool { return s.uses(i) })
	_, _, err = in.wait(ctx, backLimit)
	return err
}
