package health

import (
	"math/rand/v2"
	"slices"

	"ftr/internal/config"
)

// rotation gives the targets one after another in a random order, a new one for each turn, so that
// routers all over the world, and the uplinks of one router, do not ask the same host in step.
type rotation struct {
	rnd     *rand.Rand
	targets []config.Target
	next    int
	aside   int
}

// newRotation copies the targets.
func newRotation(targets []config.Target, rnd *rand.Rand) rotation {
	return rotation{rnd: rnd, targets: slices.Clone(targets), next: len(targets)}
}

// take returns the next target.
func (r *rotation) take() config.Target {
	if r.next == len(r.targets) {
		r.shuffle()
	}
	r.next++
	return r.targets[r.next-1]
}

// takeAside returns one target after another, in an order of its own that no shuffling disturbs for long.
func (r *rotation) takeAside() config.Target {
	r.aside = (r.aside + 1) % len(r.targets)
	return r.targets[r.aside]
}

// all returns every target in a new random order.
func (r *rotation) all() []config.Target {
	r.shuffle()
	return slices.Clone(r.targets)
}

func (r *rotation) shuffle() {
	r.rnd.Shuffle(len(r.targets), func(i, j int) { r.targets[i], r.targets[j] = r.targets[j], r.targets[i] })
	r.next = 0
}
