package routing

import (
	"slices"
	"strings"

	"ftr/internal/config"
)

const (
	sysctlForward6    = "net/ipv6/conf/all/forwarding"
	sysctlHashPolicy6 = "net/ipv6/fib_multipath_hash_policy"
)

// acceptRA 2 makes the kernel listen to router advertisements on an interface although the host forwards
// (Documentation/networking/ip-sysctl.rst); with 1 it stops, and forgets what it has learned, when
// forwarding is switched on. With 0 it does not listen, since a network manager does.
func acceptRA(device string) string { return "net/ipv6/conf/" + device + "/accept_ra" }

// ignoreLinkDown6 is ignoreLinkDown for IPv6.
func ignoreLinkDown6(device string) string {
	return "net/ipv6/conf/" + device + "/ignore_routes_with_linkdown"
}

// sysctls6 are the keys for IPv6, in the order in which they are to be set: accept_ra goes before
// forwarding, which would take the routes of router advertisements away. There are none without IPv6.
func sysctls6(cfg *config.Config) []string {
	if !slices.Contains(cfg.Families(), config.IPv6) {
		return nil
	}
	var keys []string
	for _, u := range cfg.Uplinks {
		if fixed := u.Inet6.Address.IsValid() && u.Inet6.Gateway.IsValid(); u.Inet6.On && !fixed {
			keys = append(keys, acceptRA(u.Interface))
		}
	}
	keys = append(keys, sysctlForward6, sysctlHashPolicy6)
	for _, u := range cfg.Uplinks {
		if u.Inet6.On {
			keys = append(keys, ignoreLinkDown6(u.Interface))
		}
	}
	return keys
}

// wantedSysctls6 are the wanted values of those that exist.
func wantedSysctls6(cfg *config.Config, have map[string]string) []Sysctl {
	var all []Sysctl
	for _, key := range sysctls6(cfg) {
		value, exists := have[key]
		othersListen := strings.HasSuffix(key, "/accept_ra") && value == "0"
		if exists && !othersListen {
			all = append(all, Sysctl{key, ourValue(key)})
		}
	}
	return all
}

// Whole returns the scope with all families and tables: what an earlier configuration left in those that this
// one does not have is seen too.
func (s Scope) Whole() Scope {
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		if !slices.Contains(s.Families, f) {
			s.Families = append(slices.Clone(s.Families), f)
		}
	}
	if !slices.Contains(s.Tables, config.DeadEndTable) {
		s.Tables = append(slices.Clone(s.Tables), config.DeadEndTable)
	}
	return s
}
