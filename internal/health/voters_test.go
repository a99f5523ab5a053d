package health_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ftr/internal/config"
	"ftr/internal/health"
)

// lines are several paths with one daemon's care: what Silent finds goes to SetVoters, and where a round
// is partly silent the other paths are asked.
type lines struct {
	worlds []*world
	lost   []config.Target
	told   int // how often the list of targets without vote changed
}

func newLines(t *testing.T, p health.Params, networks ...*network) *lines {
	l := &lines{}
	for i, n := range networks {
		l.worlds = append(l.worlds, newWorld(t, p, n, uint64(i+1)))
	}
	return l
}

// run lets the clock of all go on for d.
func (l *lines) run(d time.Duration) {
	end := l.worlds[0].now.Add(d)
	for {
		var first *world
		for _, w := range l.worlds {
			if at := w.next(); !at.IsZero() && (first == nil || at.Before(first.next())) {
				first = w
			}
		}
		if first == nil || first.next().After(end) {
			break
		}
		now := later(first.now, first.next())
		for _, w := range l.worlds {
			w.now = now
			w.step()
		}
		l.care(now)
	}
	for _, w := range l.worlds {
		w.now = end
	}
}

func (l *lines) care(now time.Time) {
	var monitors []*health.Monitor
	partly := false
	for _, w := range l.worlds {
		monitors = append(monitors, w.monitor)
		partly = partly || w.monitor.Report(now).Partly && w.monitor.Report(now).State == health.Up
	}
	if partly {
		for _, m := range monitors {
			if !m.Report(now).Partly {
				m.Doubt(now, "targets silent elsewhere")
			}
		}
	}
	lost := health.Silent(monitors)
	if !slices.Equal(lost, l.lost) {
		l.lost = lost
		l.told++
	}
	for _, w := range l.worlds {
		w.monitor.SetVoters(now, lost)
		w.note()
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func sorted(list []config.Target) []config.Target {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b config.Target) int { return a.Address.Compare(b.Address) })
	return list
}

func (l *lines) downs() (n int) {
	for _, w := range l.worlds {
		n += w.count(health.Down)
	}
	return n
}

// One of six targets dies, then another, and another: through all lines. No line goes down, the targets
// are named, and when they are back that is noticed.
func TestDeadTargetsLoseTheirVotes(t *testing.T) {
	for _, count := range []int{1, 3} {
		var networks []*network
		for i := range count {
			networks = append(networks, &network{rtt: wavy(uint64(i))})
		}
		l := newLines(t, defaults(), networks...)
		l.run(30 * time.Second)
		for dead := 1; dead <= 3; dead++ {
			for _, n := range networks {
				n.dead = targets(dead)
			}
			l.run(2 * time.Minute)
			if diff := cmp.Diff(targets(dead), sorted(l.lost), cmpopts.EquateComparable(config.Target{})); diff != "" {
				t.Errorf("%d lines, %d dead targets: without vote (-want +got):\n%s", count, dead, diff)
			}
		}
		if l.told > 3 {
			t.Errorf("%d lines: the list changed %d times", count, l.told)
		}
		for _, n := range networks {
			n.dead = nil
		}
		l.run(2 * time.Minute)
		if l.downs() != 0 || len(l.lost) != 0 {
			t.Errorf("%d lines: %d verdicts of down; without vote after their return: %v", count, l.downs(), l.lost)
		}
	}
}

// Three of six die at once. While the lines ask each other, it becomes clear whose fault it is.
func TestTargetsDieAtOnce(t *testing.T) {
	networks := []*network{{rtt: constant(ms)}, {rtt: constant(5 * ms)}, {rtt: constant(30 * ms)}}
	l := newLines(t, defaults(), networks...)
	l.run(30 * time.Second)
	for _, n := range networks {
		n.dead = targets(3)
	}
	l.run(time.Minute)
	if l.downs() != 0 || len(l.lost) != 3 {
		for _, w := range l.worlds {
			t.Errorf("%v", w.changes)
		}
		t.Errorf("without vote: %v", l.lost)
	}
}

// A line that is dead, or through which some targets cannot be reached, costs no target its vote, and
// the line is down.
func TestDeadLinesBlameNoTarget(t *testing.T) {
	cases := map[string]func(*network){
		"dead":   func(n *network) { n.cut = after(0) },
		"partly": func(n *network) { n.dead = targets(3) },
	}
	for name, broken := range cases {
		networks := []*network{{rtt: wavy(1)}, {rtt: wavy(2)}}
		l := newLines(t, defaults(), networks...)
		l.run(30 * time.Second)
		broken(networks[0])
		l.run(time.Minute)
		if l.told != 0 || l.worlds[0].count(health.Down) != 1 || l.worlds[1].count(health.Down) != 0 {
			t.Errorf("%s: told %d times, %v, %v", name, l.told, l.worlds[0].changes, l.worlds[1].changes)
		}
		networks[0].cut, networks[0].dead = nil, nil
		l.run(time.Minute)
		if l.told != 0 || l.worlds[0].count(health.Up) != 2 {
			t.Errorf("%s, well again: told %d times, %v", name, l.told, l.worlds[0].changes)
		}
	}
	// The only line: nobody answers, so nobody is blamed.
	n := network{rtt: wavy(1)}
	l := newLines(t, defaults(), &n)
	l.run(30 * time.Second)
	n.cut = between(31*time.Second, 60*time.Second)
	l.run(time.Minute)
	if l.told != 0 || l.downs() != 1 || l.worlds[0].count(health.Up) != 2 {
		t.Errorf("the only line: told %d times, %v", l.told, l.worlds[0].changes)
	}
}

// Without voters the last verdict stays, and targets are asked all the same.
func TestNoVoters(t *testing.T) {
	for _, cut := range []bool{false, true} {
		n := network{rtt: constant(ms)}
		w := newWorld(t, defaults(), &n, 1)
		w.run(10 * time.Second)
		if cut {
			n.cut = after(0)
			w.run(10 * time.Second)
		}
		before := w.monitor.Report(w.now)
		w.monitor.SetVoters(w.now, targets(6))
		n.cut = after(0)
		w.probes = 0
		w.run(time.Minute)
		w.monitor.Doubt(w.now, "traffic without replies")
		w.run(time.Minute)
		if r := w.monitor.Report(w.now); r.State != before.State || r.Doubt || w.probes < 100 || w.probes > 130 {
			t.Errorf("was %+v, is %+v; %d probes in two minutes", before, r, w.probes)
		}
		w.monitor.SetVoters(w.now, nil)
		w.run(10 * time.Second)
		if r := w.monitor.Report(w.now); r.State != health.Down {
			t.Errorf("with voters again: %+v", r)
		}
	}
}

// A verdict that rests on targets which then lose their votes is taken back.
func TestVerdictOfLostVoters(t *testing.T) {
	n := network{rtt: constant(ms)}
	w := newWorld(t, defaults(), &n, 1)
	w.run(10 * time.Second)
	n.dead = targets(3)
	w.run(2 * time.Second)
	if r := w.monitor.Report(w.now); r.State != health.Down || !r.Partly {
		t.Fatalf("three of six dead: %+v", r)
	}
	silent := health.Silent([]*health.Monitor{w.monitor})
	if diff := cmp.Diff(targets(3), sorted(silent), cmpopts.EquateComparable(config.Target{})); diff != "" {
		t.Fatalf("silent (-want +got):\n%s", diff)
	}
	w.monitor.SetVoters(w.now, silent)
	w.run(3 * time.Second)
	if r := w.monitor.Report(w.now); r.State != health.Up || r.Partly {
		t.Errorf("after they lost their votes: %+v", r)
	}
	w.monitor.SetLink(w.now, false, "no carrier")
	w.monitor.SetVoters(w.now, nil)
	if got := health.Silent([]*health.Monitor{w.monitor}); len(got) != 0 {
		t.Errorf("a path that is not asked blames %v", got)
	}
}
