package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Apply makes one change. What is there already, or gone already, is success; so every step may be
// repeated. An error says what the kernel refused, with its errno for errors.Is, but not the step,
// which the caller knows and can print.
func (k *Kernel) Apply(ctx context.Context, step routing.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case step.Sysctl != nil && step.Op == routing.Set:
		return k.setSysctl(*step.Sysctl)
	case step.Rule != nil && step.Op == routing.Add:
		return k.addRule(*step.Rule)
	case step.Rule != nil && step.Op == routing.Delete:
		return k.deleteRule(*step.Rule)
	case step.Route != nil && step.Op == routing.Add:
		return k.putRoute(*step.Route, netlink.Excl)
	case step.Route != nil && step.Op == routing.Replace:
		return k.putRoute(*step.Route, netlink.Replace)
	case step.Route != nil && step.Op == routing.Delete:
		return k.deleteRoute(*step.Route)
	default:
		return fmt.Errorf("the kernel has no such operation (%s)", step.Op)
	}
}

var (
	errOtherRule  = errors.New("it has selectors that this program never writes: use ip rule")
	errOtherRoute = errors.New("it has properties that this program never writes: use ip route")
)

// addRule adds a rule unless it is there. The kernel's own check for doubles (NLM_F_EXCL; rule_exists
// in net/core/fib_rules.c) does not look at the protocol: it refuses ours next to an untagged twin,
// which is how adoption begins. Without that flag it would pile up equal rules. So the refusal is
// looked into.
func (k *Kernel) addRule(r routing.Rule) error {
	if r.Other {
		return errOtherRule
	}
	b, err := encodeRule(r)
	if err != nil {
		return err
	}
	err = k.change(unix.RTM_NEWRULE, netlink.Create|netlink.Excl, b)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	rules, err := k.rules(r.Family)
	if err != nil || slices.Contains(rules, r) {
		return err
	}
	return k.change(unix.RTM_NEWRULE, netlink.Create, b)
}

// deleteRule deletes exactly this rule. The kernel compares the protocol, but takes what a request
// leaves out as "any" and deletes the first match: asked to delete "from all lookup 9" it may delete
// "from 192.0.2.1 lookup 9" before it. Where such a rule of ours stands in the way, it steps behind
// the one to go: first added again, then its first copy deleted, so it is never missing.
func (k *Kernel) deleteRule(r routing.Rule) error {
	if r.Other {
		return errOtherRule
	}
	for {
		rules, err := k.rules(r.Family)
		if err != nil || !slices.Contains(rules, r) {
			return err
		}
		first := rules[slices.IndexFunc(rules, func(o routing.Rule) bool { return deletes(r, o) })]
		if first == r {
			return k.dropRule(r)
		}
		if first.Other || first.Protocol != routing.RuleProtocol {
			return fmt.Errorf("the kernel would delete another rule instead, which stands before it: %s; delete one of the two by hand", first)
		}
		b, err := encodeRule(first)
		if err != nil {
			return err
		}
		if err := k.change(unix.RTM_NEWRULE, netlink.Create, b); err != nil {
			return err
		}
		if err := k.dropRule(first); err != nil {
			return err
		}
	}
}

func (k *Kernel) dropRule(r routing.Rule) error {
	b, err := encodeRule(r)
	if err != nil {
		return err
	}
	err = k.change(unix.RTM_DELRULE, 0, b)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// putRoute creates a route; how is NLM_F_EXCL, or NLM_F_REPLACE to change in place whatever has the
// same table, destination and metric, its protocol included: that is how routes are adopted.
func (k *Kernel) putRoute(r routing.Route, how netlink.HeaderFlags) error {
	if r.Other {
		return errOtherRoute
	}
	err := k.writeRoute(r, how, k.index)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		err = k.writeRoute(r, how, k.askIndex) // perhaps an interface was made anew since the last look
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	have, readErr := k.table(r)
	if readErr != nil {
		return readErr
	}
	if slices.ContainsFunc(have, r.Equal) {
		return nil
	}
	return fmt.Errorf("another route has its place: %w", err)
}

func (k *Kernel) writeRoute(r routing.Route, how netlink.HeaderFlags, index func(string) (int, error)) error {
	b, err := encodeRoute(r, false, index)
	if err != nil {
		return err
	}
	return k.change(unix.RTM_NEWROUTE, netlink.Create|how, b)
}

// deleteRoute deletes exactly this route. A request with metric 0 means "any metric" to the kernel, so
// it is only sent while the route itself is there: the kernel meets the lowest metric first.
func (k *Kernel) deleteRoute(r routing.Route) error {
	have, err := k.table(r)
	if err != nil {
		return err
	}
	same := r.Equal
	if r.Other {
		same = func(o routing.Route) bool { return o.Other && samePlace(r, o) }
	}
	if !slices.ContainsFunc(have, same) {
		return nil
	}
	if r.Family == config.IPv6 && len(r.NextHops) > 1 {
		// Named without next hops, all of them go in one step.
		r.NextHops = nil
	}
	b, err := encodeRoute(r, true, k.index)
	if err != nil {
		return err
	}
	err = k.change(unix.RTM_DELROUTE, 0, b)
	if errors.Is(err, unix.ESRCH) && !r.Other {
		return nil
	}
	return err
}

func samePlace(r, o routing.Route) bool {
	return r.Table == o.Table && r.Destination == o.Destination && r.Metric == o.Metric &&
		r.Protocol == o.Protocol && r.Type == o.Type
}

// table reads the table that a route belongs to.
func (k *Kernel) table(r routing.Route) ([]routing.Route, error) {
	links, _, err := k.links()
	if err != nil {
		return nil, err
	}
	return k.routes(r.Family, routeFilter{table: r.Table}, namesOf(links))
}

// index returns the index that an interface had at the last look, from which steps are planned: a default
// route over hundreds of lines would need as many questions. One that is not known is asked for.
func (k *Kernel) index(name string) (int, error) {
	if known := k.indexes.Load(); known != nil {
		if i, ok := (*known)[name]; ok {
			return i, nil
		}
	}
	return k.askIndex(name)
}
