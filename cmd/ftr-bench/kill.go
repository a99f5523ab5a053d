package main

import (
	"context"
	"time"
)

// killPhase kills and restarts the program under load.
func killPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, 3, "", defaults)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	if err := d.fresh(ctx); err != nil {
		return nil, err
	}
	load := startLoad(ctx, d.Lab, d.bench.family)
	kills, err := killOften(ctx, d)
	attempts := load.end()
	if err != nil {
		return nil, err
	}
	lost := &Figure{What: "kill -9 and restart under load: failed connections, for each restart", Goal: worst(0)}
	late := &Figure{What: "… connections that needed more than 0.5 s", Goal: Goal{}}
	for k, at := range kills {
		end := time.Now()
		if k+1 < len(kills) {
			end = kills[k+1]
		}
		part := between(attempts, at.Add(-100*time.Millisecond), end.Add(-100*time.Millisecond))
		lost.Samples = append(lost.Samples, float64(failures(part)))
		slow := 0
		for _, a := range part {
			if a.slow() {
				slow++
			}
		}
		late.Samples = append(late.Samples, float64(slow))
		if lost.Note == "" {
			lost.Note = firstError(part, at)
		}
	}
	t := &trials{}
	if err := d.watch.look(func(s *state) { t.moves = s.moves }); err != nil {
		return nil, err
	}
	return []*Figure{lost, late, t.spared()}, nil
}

// killOften returns when the program was killed.
func killOften(ctx context.Context, d *bed) (kills []time.Time, err error) {
	for range d.bench.runs {
		if err := pause(ctx, settle/2); err != nil {
			return nil, err
		}
		kills = append(kills, time.Now())
		d.kill()
		if err := d.start(); err != nil {
			return nil, err
		}
		if err := d.program.waitReady(ctx, d.bench); err != nil {
			return nil, err
		}
	}
	return kills, pause(ctx, settle)
}
