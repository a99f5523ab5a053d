package kernel

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Observe looks at everything in scope. It is not atomic: a change in between is seen by the next
// look, which its notification brings about. The order of everything is the kernel's, so two looks at
// the same state are equal.
func (k *Kernel) Observe(ctx context.Context, scope routing.Scope) (routing.Observation, error) {
	var obs routing.Observation
	if len(scope.Interfaces) == 0 && len(scope.Families) == 0 {
		sysctls, err := k.sysctls(scope.Sysctls, nil)
		obs.Have.Sysctls, obs.Prefixes, obs.Cgroups = sysctls, prefixes(scope.PrefixFiles), Cgroups(scope.Cgroups)
		return obs, err
	}
	links, confs, err := k.links()
	if err != nil {
		return obs, err
	}
	n := namesOf(links)
	obs.Links = slices.DeleteFunc(links, func(l routing.Link) bool { return !slices.Contains(scope.Interfaces, l.Name) })
	for _, f := range scope.Families {
		if err := k.observeFamily(ctx, f, scope, n, &obs); err != nil {
			return obs, err
		}
	}
	obs.Leases = leases(k.root, obs.Links, time.Now())
	obs.Prefixes, obs.Cgroups = prefixes(scope.PrefixFiles), Cgroups(scope.Cgroups)
	obs.Have.Sysctls, err = k.sysctls(scope.Sysctls, confs)
	return obs, err
}

func (k *Kernel) observeFamily(ctx context.Context, f config.Family, scope routing.Scope, n names, obs *routing.Observation) error {
	rules, err := k.rules(f)
	if err != nil {
		return err
	}
	if f == config.IPv6 && rules == nil {
		return nil // this kernel has none
	}
	if err := k.addresses(f, obs.Links); err != nil {
		return err
	}
	defaults, err := k.defaults(f, n)
	if err != nil {
		return err
	}
	obs.Defaults = append(obs.Defaults, defaults...)
	obs.Have.Rules = append(obs.Have.Rules, rules...)
	for _, table := range scope.TablesToRead(rules) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("observe the kernel: %w", err)
		}
		routes, err := k.routes(f, routeFilter{table: table}, n)
		if err != nil {
			return err
		}
		obs.Have.Routes = append(obs.Have.Routes, routes...)
	}
	return nil
}

// Owned returns everything in any table that carries our tag, of both families, and the current values
// of the given sysctls: what cleaning up has to undo.
func (k *Kernel) Owned(ctx context.Context, sysctls []string) (routing.State, error) {
	var owned routing.State
	links, confs, err := k.links()
	if err != nil {
		return owned, err
	}
	n := namesOf(links)
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		if err := ctx.Err(); err != nil {
			return owned, fmt.Errorf("look for what is ours: %w", err)
		}
		rules, err := k.rules(f)
		if err != nil {
			return owned, err
		}
		for _, r := range rules {
			if r.Protocol == routing.RuleProtocol {
				owned.Rules = append(owned.Rules, r)
			}
		}
		routes, err := k.routes(f, routeFilter{protocol: routing.RouteProtocol}, n)
		if err != nil {
			return owned, err
		}
		owned.Routes = append(owned.Routes, routes...)
	}
	owned.Sysctls, err = k.sysctls(sysctls, confs)
	return owned, err
}
