package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ftr/internal/lab"
)

// lossLimit is how long a line with much loss may stay in use.
const lossLimit = 30 * time.Second

// lossPhase lets lines lose packets and targets die, under load.
func lossPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, 3, "", defaults)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := d.fresh(ctx); err != nil {
		return nil, err
	}
	load := startLoad(ctx, d.Lab, d.bench.family)
	defer load.end()
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	stay := 20 * time.Second
	if b.quick {
		stay = 4 * time.Second
	}
	little, err := d.stays(ctx, stay, "10 % loss in one direction", func(on bool) error {
		return d.Lose(0, map[bool]int{true: 10, false: 0}[on], lab.Down)
	})
	if err != nil {
		return nil, err
	}
	figures := []*Figure{little}
	for n := 1; n <= 2; n++ {
		f, err := d.stays(ctx, stay/2, fmt.Sprintf("%d of %d targets dead", n, len(d.bench.family.targets(d.Plan))), func(on bool) error { return d.silence(n, on) })
		if err != nil {
			return nil, err
		}
		figures = append(figures, f)
	}
	much, err := d.loses(ctx, max(1, b.runs/4))
	return append(figures, much), err
}

// stays counts how often a line is taken out while something is wrong that is no reason to.
func (d *bed) stays(ctx context.Context, t time.Duration, what string, set func(bool) error) (*Figure, error) {
	count := func() (n int, err error) {
		err = d.watch.look(func(s *state) {
			for _, m := range s.moves {
				if !m.in {
					n++
				}
			}
		})
		return n, err
	}
	before, err := count()
	if err != nil {
		return nil, err
	}
	if err := set(true); err != nil {
		return nil, err
	}
	if err := pause(ctx, t); err != nil {
		return nil, err
	}
	after, err := count()
	if err != nil {
		return nil, err
	}
	f := &Figure{What: fmt.Sprintf("%s, %s: lines taken out", what, t), Goal: worst(0), Samples: []float64{float64(after - before)}}
	if err := set(false); err != nil {
		return nil, err
	}
	return f, d.inUse(ctx, backLimit)
}

// silence makes n of the targets dead through all lines, or lets them live.
func (d *bed) silence(n int, on bool) error {
	var rules strings.Builder
	word := d.bench.family.table()
	fmt.Fprintf(&rules, "table %[1]s dead\ndelete table %[1]s dead\n", word)
	if on {
		fmt.Fprintf(&rules, "table %s dead {\n chain input {\n  type filter hook input priority 0;\n", word)
		for _, target := range d.bench.family.targets(d.Plan)[:n] {
			fmt.Fprintf(&rules, "  %s daddr %s drop\n", word, target)
		}
		rules.WriteString(" }\n}\n")
	}
	return d.Internet.Input(rules.String(), "nft", "-f", "-")
}

// loses measures how long a line stays in use that loses 40 % in each direction. Each line does it once
// in the life of the program.
func (d *bed) loses(ctx context.Context, runs int) (*Figure, error) {
	f := &Figure{What: "40 % loss in each direction → route changed", Unit: "s", Goal: worst(10)}
	for k := range runs {
		i := k % len(d.Plan.Lines)
		if i == 0 && k > 0 {
			if err := d.fresh(ctx); err != nil {
				return nil, err
			}
			if err := pause(ctx, settle); err != nil {
				return nil, err
			}
		}
		out := d.watch.expect(func(s *state) bool { return !s.uses(i) })
		start := time.Now()
		if err := d.Lose(i, 40, lab.Both); err != nil {
			return nil, err
		}
		at, ok, err := out.wait(ctx, lossLimit)
		if err != nil {
			return nil, err
		}
		f.took(at.Sub(start), ok, lossLimit)
		if err := d.Restore(i); err != nil {
			return nil, err
		}
		if k+1 == runs {
			break // nobody waits for its return
		}
		if err := d.inUse(ctx, backLimit); err != nil {
			return nil, err
		}
	}
	return f, nil
}
