package main

import (
	"context"
	"fmt"
	"time"
)

// everyone is a fault that lasts until each connection that it met has been completed or given up.
const everyone = connectTimeout + 700*time.Millisecond

// failurePhases break lines.
func failurePhases() []phase {
	base := failing{config: defaults, loaded: true, hold: time.Second, spread: time.Second, limit: 30 * time.Second}
	with := func(change func(*failing)) failing {
		f := base
		change(&f)
		return f
	}
	list := []struct {
		name, what string
		ours       bool
		failing    failing
		figures    func(*trials) []*Figure
	}{
		{"carrier", "carrier lost, under load", false,
			with(func(f *failing) { f.fault, f.hold = carrier(), everyone }), carrierFigures},
		{"silent", "silent upstream failure, under load", false,
			with(func(f *failing) { f.fault, f.hold = silent(), everyone }), silentFigures},
		{"silent60", "the same, original file with interval 60", true,
			with(func(f *failing) { f.fault, f.config = silent(), original }), routeFigure("silent failure, original file with interval 60 → route changed", both(200, 600))},
		{"rtt50", "the same, lines with a round trip of 50 ms", false,
			with(func(f *failing) { f.fault, f.rtt = silent(), 50*time.Millisecond }), routeFigure("silent failure, 50 ms RTT → route changed", median(500))},
		{"udp-silent", "UDP flow through a line that fails silently", false,
			with(func(f *failing) { f.fault, f.udp = silent(), true }), flowFigure("UDP flow, silent failure → replies resume", both(300, 700))},
		{"udp-carrier", "UDP flow through a line that loses its carrier", false,
			with(func(f *failing) { f.fault, f.udp = carrier(), true }), flowFigure("UDP flow, carrier lost → replies resume", median(60))},
		{"idle", "silent failure of an idle line", false,
			with(func(f *failing) { f.fault, f.loaded, f.hold = silent(), false, 0 }), routeFigure("silent failure, line idle → route changed", worst(1200))},
		{"metered", "silent failure of an idle, metered line", true,
			with(func(f *failing) {
				f.fault, f.loaded, f.hold, f.config, f.spread = silent(), false, 0, metered, 4*time.Second
			}), routeFigure("silent failure, line idle and metered → route changed", worst(4500))},
	}
	var phases []phase
	for _, p := range list {
		phases = append(phases, phase{p.name, p.what, p.ours, func(ctx context.Context, b *bench) ([]*Figure, error) {
			if p.failing.udp {
				p.failing.hold = 0
			}
			t, err := p.failing.run(ctx, b)
			if err != nil {
				return nil, err
			}
			return append(p.figures(t), t.spared()), nil
		}})
	}
	return phases
}

// routes is the figure of the time until the routes had changed.
func (t *trials) routes(what string, goal Goal) *Figure {
	f := &Figure{What: what, Unit: "ms", Goal: goal}
	for _, one := range t.list {
		f.took(one.changed, one.hasChanged, 30*time.Second)
	}
	return f
}

func routeFigure(what string, goal Goal) func(*trials) []*Figure {
	return func(t *trials) []*Figure { return []*Figure{t.routes(what, goal), t.returned(Goal{})} }
}

func flowFigure(what string, goal Goal) func(*trials) []*Figure {
	return func(t *trials) []*Figure {
		f := &Figure{What: what, Unit: "ms", Goal: goal}
		for _, one := range t.list {
			f.took(one.resumed, one.hasResumed, 30*time.Second)
		}
		return []*Figure{f, t.routes("… of which: route changed", Goal{})}
	}
}

func carrierFigures(t *trials) []*Figure {
	return append([]*Figure{t.routes("carrier lost → route changed", both(10, 50)), t.returned(Goal{})}, t.users("carrier lost")...)
}

func silentFigures(t *trials) []*Figure {
	return append([]*Figure{
		t.routes("silent failure, line in use, default configuration → route changed", both(200, 600)),
		t.returned(worst(3)),
	}, t.users("silent failure")...)
}

// returned is the time until a line is used again.
func (t *trials) returned(goal Goal) *Figure {
	f := &Figure{What: "failure ends → line in use again, first flap", Unit: "s", Goal: goal}
	for _, one := range t.list {
		f.took(one.back, one.cameB, backLimit)
	}
	return f
}

// users is what clients meet.
func (t *trials) users(how string) []*Figure {
	lost := &Figure{What: how + ": connect() not completed within 3 s, for each failure", Goal: worst(0)}
	late := &Figure{What: how + ": new connections fail for clients that wait 0.5 s", Unit: "ms"}
	back := &Figure{What: how + " ends: connections that fail at failback", Goal: worst(0)}
	tried := 0
	for k, one := range t.list {
		end := one.restored.Add(10 * time.Second)
		if k+1 < len(t.list) && t.list[k+1].broken.Before(end) {
			end = t.list[k+1].broken
		}
		// What was begun just before the failure is hit by it too.
		during := between(t.attempts, one.broken.Add(-100*time.Millisecond), one.restored)
		after := between(t.attempts, one.restored, end)
		tried += len(during)
		lost.Samples = append(lost.Samples, float64(failures(during)))
		late.add(outage(during, one.broken))
		back.Samples = append(back.Samples, float64(failures(after)))
		if lost.Note == "" {
			lost.Note = firstError(during, one.broken)
		}
		if back.Note == "" {
			back.Note = firstError(after, one.restored)
		}
	}
	lost.Note = note(fmt.Sprintf("%d connections tried during failures", tried), lost.Note)
	return []*Figure{lost, late, back}
}

// note joins remarks.
func note(parts ...string) (text string) {
	for _, p := range parts {
		if p != "" && text != "" {
			text += "; "
		}
		text += p
	}
	return text
}

// spared counts the times that a line was taken out although nothing was wrong with it.
func (t *trials) spared() *Figure {
	f := &Figure{What: "healthy lines taken out", Goal: worst(0), Samples: []float64{0}}
	for _, m := range t.moves {
		if m.in || t.excused(m) {
			continue
		}
		f.Samples[0]++
		if f.Note == "" {
			f.Note = fmt.Sprintf("first line %d at %s", m.line+1, m.at.Format("15:04:05.000"))
		}
	}
	return f
}

// excused tells whether a line that was taken out was broken, or had been just before.
func (t *trials) excused(m move) bool {
	for _, one := range t.list {
		if one.line == m.line && !m.at.Before(one.broken) && m.at.Before(one.restored.Add(200*time.Millisecond)) {
			return true
		}
	}
	return false
}
