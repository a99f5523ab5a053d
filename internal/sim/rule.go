package sim

import (
	"slices"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// rulesOf returns the rules of a family in the order in which the kernel asks them.
func (k *Kernel) rulesOf(f config.Family) []routing.Rule {
	return slices.DeleteFunc(slices.Clone(k.rules), func(r routing.Rule) bool { return r.Family != f })
}

// addRule adds a rule after those of the same priority, unless an equal one is there.
func (k *Kernel) addRule(r routing.Rule) error {
	if r.Other {
		return errOther
	}
	if slices.Contains(k.rules, r) {
		return nil
	}
	k.insert(r)
	return nil
}

func (k *Kernel) insert(r routing.Rule) {
	i := slices.IndexFunc(k.rules, func(o routing.Rule) bool { return o.Priority > r.Priority })
	if i < 0 {
		i = len(k.rules)
	}
	k.rules = slices.Insert(k.rules, i, r)
}

// deleteRule deletes one rule that is exactly this.
func (k *Kernel) deleteRule(r routing.Rule) error {
	if r.Other {
		return errOther
	}
	if i := slices.Index(k.rules, r); i >= 0 {
		k.rules = slices.Delete(k.rules, i, i+1)
	}
	return nil
}

// DuplicateRule adds a rule even if an equal one is there, as a program can that does not ask the
// kernel to check (no NLM_F_EXCL).
func (k *Kernel) DuplicateRule(r routing.Rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.insert(r)
	k.notify()
}
