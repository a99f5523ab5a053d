package sim

import (
	"context"
	"net/netip"
	"slices"

	"ftr/internal/routing"
)

// watcher is who is told of events.
type watcher struct {
	wake    chan struct{}
	pending []routing.Hint // under the mutex of the Kernel
}

// Watch is Events for those who only want to know when to look, as kernel.Kernel has it.
func (k *Kernel) Watch(ctx context.Context, hint func()) error {
	return k.Events(ctx, func(routing.Hint) { hint() })
}

// Events calls hint once at its start and after every event, until ctx ends, as kernel.Kernel does.
// Equal events while hint runs are told by one more call.
func (k *Kernel) Events(ctx context.Context, hint func(routing.Hint)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	k.mu.Lock()
	k.watchers[w] = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.watchers, w)
	}()
	hint(routing.Hint{})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
			for _, h := range k.take(w) {
				hint(h)
			}
		}
	}
}

// take returns what a watcher has not been told yet.
func (k *Kernel) take(w *watcher) []routing.Hint {
	k.mu.Lock()
	defer k.mu.Unlock()
	hints := w.pending
	w.pending = nil
	return hints
}

// notify tells those who watch that something changed.
func (k *Kernel) notify() { k.tell(routing.Hint{}) }

// tell tells those who watch; one that has not yet heard the same needs no second one.
func (k *Kernel) tell(h routing.Hint) {
	for w := range k.watchers {
		if slices.Contains(w.pending, h) {
			continue
		}
		w.pending = append(w.pending, h)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// FailNeighbour makes an address silent on a link: those who watch are told.
func (k *Kernel) FailNeighbour(name string, address netip.Addr) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.find(name)
	if err != nil {
		return err
	}
	k.tell(routing.Hint{Neighbour: address, Interface: l.index})
	return nil
}
