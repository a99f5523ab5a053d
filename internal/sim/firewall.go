package sim

import (
	"context"
	"fmt"
	"slices"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/routing"
)

// SetFirewall makes the table of a managed firewall what is wanted, as kernel.Kernel does.
func (k *Kernel) SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	if err := ctx.Err(); err != nil {
		return firewall.Drift{}, fmt.Errorf("set up the firewall table: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	drift := firewallDrift(k.firewall, want)
	if !drift.None() {
		k.firewall = firewall.Table{Objects: slices.Clone(want.Objects)}
		k.recount()
		k.tell(routing.Hint{Ruleset: true})
	}
	return drift, nil
}

// firewallDrift names the objects in which two tables differ.
func firewallDrift(have, want firewall.Table) firewall.Drift {
	var drift firewall.Drift
	if len(have.Objects) == 0 {
		drift.Missing = len(want.Objects) > 0
		return drift
	}
	missing := func(in, from []firewall.Object) {
		for _, o := range in {
			name := string(o.Kind) + " " + o.Name
			if !slices.ContainsFunc(from, o.Equal) && !slices.Contains(drift.Changed, name) {
				drift.Changed = append(drift.Changed, name)
			}
		}
	}
	missing(want.Objects, have.Objects)
	missing(have.Objects, want.Objects)
	return drift
}

// RemoveFirewall removes that table, as kernel.Kernel does.
func (k *Kernel) RemoveFirewall(ctx context.Context) (removed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("remove the firewall table: %w", err)
	}
	return k.ChangeFirewall(func(*firewall.Table) {}, true), nil
}

// ChangeFirewall lets another program change the table of a managed firewall, or remove it, and tells
// whether there was one.
func (k *Kernel) ChangeFirewall(change func(*firewall.Table), remove bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	there := len(k.firewall.Objects) > 0
	changed := firewall.Table{Objects: slices.Clone(k.firewall.Objects)}
	change(&changed)
	if remove {
		changed = firewall.Table{}
	}
	if !changed.Equal(k.firewall) {
		k.firewall = changed
		k.recount()
		k.tell(routing.Hint{Ruleset: true})
	}
	return there
}

// Firewall returns the table of a managed firewall; the zero Table if there is none.
func (k *Kernel) Firewall() firewall.Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.firewall
}

// HoldTranslation does nothing: connections that are simulated are not translated.
func (k *Kernel) HoldTranslation(context.Context) error { return nil }

// MarkConnections notes what was asked: nothing that is simulated has addresses to be known by. It fails as often as
// FailMarking was called.
func (k *Kernel) MarkConnections(ctx context.Context, f config.Family, to firewall.Marking) (done firewall.Remarked, err error) {
	if err := ctx.Err(); err != nil {
		return done, fmt.Errorf("mark %s connections that were there before: %w", f, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.markingFailures) > 0 {
		err, k.markingFailures = k.markingFailures[0], k.markingFailures[1:]
		return done, err
	}
	k.markings = append(k.markings, Marking{f, to})
	return done, nil
}

// FailMarking makes the next request to mark connections fail.
func (k *Kernel) FailMarking(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.markingFailures = append(k.markingFailures, err)
}

// Marking is a request to mark the connections of lines.
type Marking struct {
	Family config.Family
	To     firewall.Marking
}

// Markings returns all requests to mark connections.
func (k *Kernel) Markings() []Marking {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.markings)
}
