package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ftr/internal/routing"
)

const (
	// quiet is how long a repair that is made again and again is not told again.
	quiet = time.Minute
	// shown is how many steps of a repair are told; --debug shows all.
	shown = 3
)

// repairs remembers what the kernel agreed with, to tell who changed it: we, or others.
type repairs struct {
	agreed routing.State // the wanted state when the last reconcile succeeded
	told   string
	at     time.Time
}

// repair logs that the steps undo what others did, since nothing else is wanted than before: another
// program, a person, or the kernel, which drops the routes of an interface that goes down.
func (l *loop) repair(now time.Time, want routing.State, steps []routing.Step) {
	r := &l.repairs
	if !l.ready || l.failure != "" || len(steps) == 0 || !same(r.agreed, want) {
		return
	}
	words := make([]string, 0, shown+1)
	for _, s := range steps[:min(shown, len(steps))] {
		words = append(words, s.String())
	}
	if more := len(steps) - shown; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	text := strings.Join(words, "; ")
	if text == r.told && now.Before(r.at.Add(quiet)) {
		return
	}
	r.told, r.at = text, now
	l.Logger.Warn("rules, routes or sysctls were changed by others, putting back", "steps", text)
}

// same tells whether two wanted states are equal.
func same(a, b routing.State) bool {
	return slices.EqualFunc(a.Routes, b.Routes, routing.Route.Equal) && slices.Equal(a.Rules, b.Rules) && slices.Equal(a.Sysctls, b.Sysctls)
}
