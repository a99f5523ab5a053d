package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Another program that undoes our work each time we repair it wins nothing but trouble for both: from
// fightCount equal repairs within fightWindow on, we repair that only every truce, and say so.
const (
	fightCount  = 5
	fightWindow = 10 * time.Second
	truce       = 10 * time.Second
)

// repairs tells steps that put back what was there before from those that bring something new, and
// recognises fights. Steps are known by their words. The zero value knows of nothing.
type repairs struct {
	wanted  routing.State          // when the kernel last agreed
	agreed  map[string]bool        // steps to that
	removed map[string]time.Time   // deletions, and when
	history map[string][]time.Time // repairs, and when
	slowed  map[string]time.Time   // until when a step must wait
	held    routing.Places         // where routes of ours were written since the start
}

// sort parts the steps of a plan: due are to be applied now, and back are those of them that are repairs.
// until is when the first of the others may be tried; zero if there are none.
func (r *repairs) sort(now time.Time, steps []routing.Step) (due, back []routing.Step, until time.Time) {
	for _, s := range steps {
		text := s.String()
		if wait := r.slowed[text]; now.Before(wait) {
			if until.IsZero() || wait.Before(until) {
				until = wait
			}
			continue
		}
		due = append(due, s)
		if _, again := r.removed[text]; again || r.agreed[text] || r.intruded(s) {
			back = append(back, s)
			r.count(now, text)
		}
	}
	return due, back, until
}

// intruded tells whether a step deletes what somebody else put before a route of ours.
func (r *repairs) intruded(s routing.Step) bool {
	return s.Op == routing.Delete && s.Route != nil && s.Route.Protocol != routing.RouteProtocol && r.held.Has(*s.Route)
}

// count notes a repair, and slows the next one where they come too often.
func (r *repairs) count(now time.Time, text string) {
	if r.history == nil {
		r.history, r.slowed = map[string][]time.Time{}, map[string]time.Time{}
	}
	recent := slices.DeleteFunc(r.history[text], func(at time.Time) bool { return now.Sub(at) > fightWindow })
	recent = append(recent, now)
	r.history[text] = recent
	_, fought := r.slowed[text]
	switch {
	case len(recent) >= fightCount, fought && len(recent) > 1:
		r.slowed[text] = now.Add(truce) // after a truce, one more repair is enough to know that it goes on
	case fought:
		delete(r.slowed, text)
	}
}

// settle notes that the kernel agrees with want after these steps, made from have, and drops what is too
// old to matter. What is wanted may become less without a step: the kernel itself removes the routes of an
// interface that goes down, and they are no repair when it is up again.
func (r *repairs) settle(now time.Time, cfg *config.Config, have, want routing.State, steps []routing.Step) {
	if r.agreed != nil && len(steps) == 0 && r.wanted.Equal(want) {
		return
	}
	r.wanted = want
	if r.held == nil {
		r.held = routing.Places{}
	}
	r.held.Write(cfg, have, want)
	r.agreed = make(map[string]bool, len(want.Routes)+len(want.Rules)+len(want.Sysctls))
	for _, s := range stepsTo(want) {
		r.agreed[s.String()] = true
		s.Op = routing.Delete
		delete(r.removed, s.String()) // it is ours again: the next time that it goes is another one
	}
	if r.removed == nil {
		r.removed = map[string]time.Time{}
	}
	for _, s := range steps {
		if s.Op == routing.Delete {
			r.removed[s.String()] = now
		}
	}
	maps.DeleteFunc(r.removed, func(_ string, at time.Time) bool { return now.Sub(at) > fightWindow+truce })
	maps.DeleteFunc(r.history, func(text string, times []time.Time) bool {
		old := now.Sub(times[len(times)-1]) > fightWindow+truce
		if old {
			delete(r.slowed, text)
		}
		return old
	})
}

// stepsTo are the steps that make all of a state.
func stepsTo(want routing.State) []routing.Step {
	var steps []routing.Step
	for _, w := range want.Routes {
		steps = append(steps, routing.Step{Op: routing.Replace, Route: &w})
	}
	for _, w := range want.Rules {
		steps = append(steps, routing.Step{Op: routing.Add, Rule: &w})
	}
	for _, w := range want.Sysctls {
		steps = append(steps, routing.Step{Op: routing.Set, Sysctl: &w})
	}
	return steps
}

// warnings names the fights that go on.
func (r *repairs) warnings(now time.Time) []routing.Warning {
	var ws []routing.Warning
	for text, until := range r.slowed {
		if now.Before(until) {
			ws = append(ws, routing.Warning{
				Code: "fight", Subject: text,
				Text: fmt.Sprintf("another program undoes this each time; it is put back only every %v now", truce),
				Cure: "find the program (ip monitor shows when it acts) and keep it from our tables and rules",
			})
		}
	}
	slices.SortFunc(ws, func(a, b routing.Warning) int { return cmp.Compare(a.Subject, b.Subject) })
	return ws
}

// told says what was put back, in one line.
func told(back []routing.Step) string {
	text := "put back what another program removed or changed: " + back[0].String()
	if len(back) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(back)-1)
	}
	return text
}
