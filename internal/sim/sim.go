// Package sim is a kernel and a network that exist only in memory: for --demo, which needs neither
// root nor lines, and for tests of the daemon's loop.
//
// Kernel has the methods of kernel.Kernel and behaves like it; one table of cases is run against both
// (internal/kernel/contract_test.go). What it does not know it refuses. Events are played by its other
// methods. Network answers probes. Chaos plays random failures on both.
package sim

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// Protocols of routes and rules (rtnetlink(7)).
const (
	protocolKernel = 2
	protocolDHCP   = 16
)

// mainTable is RT_TABLE_MAIN.
const mainTable = 254

// Kernel is the simulated kernel. It may be used concurrently.
type Kernel struct {
	mu              sync.Mutex
	links           []*link // by index
	index           int     // of the link made last
	rules           []routing.Rule
	routes          []*route
	sysctls         map[string]string
	leases          map[string]netip.Addr
	prefixes        map[string]netip.Prefix // by file
	applied         []routing.Step
	failures        []error
	watchers        map[*watcher]bool
	evidence        map[config.Family]map[string]health.Packets // nil: no tables
	counted         map[config.Family]map[string]health.Packets // by the table of a managed firewall
	flows           map[flow]int
	firewall        firewall.Table // the managed one; the zero Table: none
	markings        []Marking
	markingFailures []error
	// routers advertise themselves when asked, by interface; solicitations counts how often they were.
	routers       map[string]netip.Addr
	solicitations map[string]int
	neighbours    map[config.Family]routing.NeighbourTable
}

// New returns a kernel as it is after boot: its own rules, no links, nothing forwarded.
func New() *Kernel {
	k := &Kernel{
		sysctls: map[string]string{
			"net/ipv4/ip_forward": "0", "net/ipv4/fib_multipath_hash_policy": "0", "net/ipv4/icmp_errors_use_inbound_ifaddr": "0",
			"net/ipv6/fib_multipath_hash_policy": "0", forwarding6: "0",
		},
		leases:   map[string]netip.Addr{},
		prefixes: map[string]netip.Prefix{},
		routers:  map[string]netip.Addr{}, solicitations: map[string]int{},
		watchers:   map[*watcher]bool{},
		flows:      map[flow]int{},
		neighbours: map[config.Family]routing.NeighbourTable{config.IPv4: {Limit: 1024}, config.IPv6: {Limit: 1024}},
	}
	for _, device := range []string{"all", "default"} {
		k.addSysctls(device)
	}
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		k.addBootRule(f, 0, 255)
		k.addBootRule(f, 32766, mainTable)
	}
	k.addBootRule(config.IPv4, 32767, 253)
	return k
}

func (k *Kernel) addBootRule(f config.Family, priority, table uint32) {
	k.rules = append(k.rules, routing.Rule{
		Family: f, Priority: priority, Table: table,
		SuppressPrefixLength: routing.NoSuppress, Protocol: protocolKernel,
	})
}

// Observe returns what is in scope, as kernel.Kernel does.
func (k *Kernel) Observe(ctx context.Context, scope routing.Scope) (routing.Observation, error) {
	var obs routing.Observation
	if err := ctx.Err(); err != nil {
		return obs, fmt.Errorf("observe the kernel: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.links {
		if slices.Contains(scope.Interfaces, l.name) {
			obs.Links = append(obs.Links, l.observe(scope.Families))
		}
	}
	for _, f := range scope.Families {
		rules := k.rulesOf(f)
		obs.Have.Rules = append(obs.Have.Rules, rules...)
		for _, r := range k.table(f, mainTable) {
			if r.IsDefault() {
				obs.Defaults = append(obs.Defaults, r)
			}
		}
		for _, t := range scope.TablesToRead(rules) {
			obs.Have.Routes = append(obs.Have.Routes, k.table(f, t)...)
		}
	}
	obs.Have.Sysctls = k.readSysctls(scope.Sysctls)
	obs.Prefixes = k.readPrefixes(scope.PrefixFiles)
	obs.Leases = maps.Clone(k.leases)
	maps.DeleteFunc(obs.Leases, func(name string, _ netip.Addr) bool {
		_, there := obs.Link(name)
		return !there
	})
	return obs, nil
}

// Owned returns everything that carries our tag and the given sysctls, as kernel.Kernel does.
func (k *Kernel) Owned(ctx context.Context, sysctls []string) (routing.State, error) {
	var owned routing.State
	if err := ctx.Err(); err != nil {
		return owned, fmt.Errorf("look for what is ours: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		for _, r := range k.rulesOf(f) {
			if r.Protocol == routing.RuleProtocol {
				owned.Rules = append(owned.Rules, r)
			}
		}
	}
	for _, r := range k.routes {
		if r.Protocol == routing.RouteProtocol {
			owned.Routes = append(owned.Routes, r.value())
		}
	}
	owned.Sysctls = k.readSysctls(sysctls)
	return owned, nil
}

// Apply makes one change, as kernel.Kernel does, and remembers the step if it succeeded.
func (k *Kernel) Apply(ctx context.Context, step routing.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		err = k.nextFailure()
	}
	if err == nil {
		err = k.apply(step)
	}
	if err != nil {
		return err
	}
	k.remember(step)
	return nil
}

// A demo may go on for weeks: not more than mostApplied steps are remembered, and forgetApplied of them
// are forgotten at a time.
const (
	mostApplied   = 1024
	forgetApplied = 128
)

func (k *Kernel) remember(step routing.Step) {
	if len(k.applied) == mostApplied {
		k.applied = slices.Delete(k.applied, 0, forgetApplied)
	}
	k.applied = append(k.applied, step)
}

// Play makes a change as another program would: those who watch are told, but not of the sysctls on which
// the kernel is silent.
func (k *Kernel) Play(step routing.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.apply(step); err != nil {
		return err
	}
	if step.Sysctl == nil || len(routing.Unannounced([]string{step.Sysctl.Key})) == 0 {
		k.notify()
	}
	return nil
}

func (k *Kernel) apply(step routing.Step) error {
	switch {
	case step.Sysctl != nil && step.Op == routing.Set:
		return k.setSysctl(*step.Sysctl)
	case step.Rule != nil && step.Op == routing.Add:
		return k.addRule(*step.Rule)
	case step.Rule != nil && step.Op == routing.Delete:
		return k.deleteRule(*step.Rule)
	case step.Route != nil && (step.Op == routing.Add || step.Op == routing.Replace):
		return k.putRoute(*step.Route, step.Op)
	case step.Route != nil && step.Op == routing.Delete:
		return k.deleteRoute(*step.Route)
	default:
		return fmt.Errorf("the kernel has no such operation (%s)", step.Op)
	}
}

// FailNext makes the next call of Apply fail with err; several calls queue up. A nil error lets one
// call pass.
func (k *Kernel) FailNext(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures = append(k.failures, err)
}

func (k *Kernel) nextFailure() error {
	if len(k.failures) == 0 {
		return nil
	}
	err := k.failures[0]
	k.failures = k.failures[1:]
	return err
}

// Applied returns the latest steps that Apply has made, at least 896 of them, in order.
func (k *Kernel) Applied() []routing.Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.applied)
}

func (k *Kernel) addSysctls(device string) {
	for _, name := range []string{"rp_filter", "ignore_routes_with_linkdown"} {
		k.sysctls["net/ipv4/conf/"+device+"/"+name] = "0"
	}
	k.addSysctls6(device)
}

func (k *Kernel) readSysctls(keys []string) []routing.Sysctl {
	var found []routing.Sysctl
	for _, key := range keys {
		if value, ok := k.sysctls[key]; ok {
			found = append(found, routing.Sysctl{Key: key, Value: value})
		}
	}
	return found
}

func (k *Kernel) setSysctl(s routing.Sysctl) error {
	if _, ok := k.sysctls[s.Key]; !ok {
		return fmt.Errorf("open /proc/sys/%s: %w", s.Key, syscall.ENOENT)
	}
	before := k.sysctls[s.Key]
	k.sysctls[s.Key] = s.Value
	if s.Key == forwarding6 && s.Value == "1" && before == "0" {
		k.forward()
	}
	return nil
}
