package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
)

// sets returns the sets as they stand in the file; Config.WithSets adds what their files hold.
func (d *draft) setsConfig() []Set {
	var list []Set
	for i := range d.sets.value {
		s := &d.sets.value[i]
		list = append(list, Set{
			Name: s.name.value, Family: s.family.value, Prefixes: Merge(values(s.prefixes.value)),
			File: s.file.value, External: s.external.value,
		})
	}
	return list
}

func (d *draft) policiesConfig() []Policy {
	var list []Policy
	for i := range d.policies.value {
		p := &d.policies.value[i]
		one := Policy{
			Number: i + 1, Name: p.name.value, Match: p.match(), Ways: d.waysConfig(p),
			LastResort: p.lastResort.value, Sticky: p.sticky.value, StickyTimeout: p.stickyTimeout.value, Balance: d.balanceIn(),
		}
		if p.balance.given() {
			one.Balance = p.balance.value
		}
		list = append(list, one)
	}
	return list
}

func (p *policyDraft) match() Match {
	m := Match{
		Sources: values(p.source.value), Destinations: values(p.destination.value), Inside: values(p.inside.value),
		Protocols: distinct(values(p.protocol.value)), DSCP: distinct(values(p.dscp.value)),
		SourcePorts: join1(values(p.sourcePort.value)), DestinationPorts: join1(values(p.destinationPort.value)),
		Mark: p.mark.value.Value, MarkMask: p.mark.value.Mask,
		Own: p.own(), Users: values(p.user.value), Cgroups: values(p.cgroup.value),
	}
	if len(m.Protocols) == 0 && len(m.SourcePorts)+len(m.DestinationPorts) > 0 {
		m.Protocols = PortProtocols
	}
	return m
}

// own tells whether the policy is for the router's own connections.
func (p *policyDraft) own() bool {
	if p.router.given() {
		return p.router.value
	}
	return len(p.user.value)+len(p.cgroup.value) > 0
}

// distinct sorts values and takes each once: nft refuses sets that say something twice.
func distinct[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

// join1 makes ranges that overlap one, for the same reason.
func join1(list []Ports) []Ports {
	slices.SortFunc(list, func(a, b Ports) int { return cmp.Compare(a.First, b.First) })
	var joined []Ports
	for _, p := range list {
		if n := len(joined); n > 0 && int(p.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, p.Last)
			continue
		}
		joined = append(joined, p)
	}
	return joined
}

// Merge sorts prefixes and leaves out those that another one covers.
func Merge(list []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var merged []netip.Prefix
	for _, p := range sorted {
		if n := len(merged); n == 0 || !merged[n-1].Overlaps(p) {
			merged = append(merged, p)
		}
	}
	return merged
}

func (d *draft) waysConfig(p *policyDraft) []Way {
	var ways []Way
	for i := range p.ways.value {
		one := &p.ways.value[i]
		for _, index := range d.linesOf(one) {
			weight := d.uplinks.value[index].weight.value
			if one.weight.given() {
				weight = one.weight.value
			}
			ways = append(ways, Way{Uplink: index, Tier: int(one.order.value), Weight: int(weight)})
		}
	}
	slices.SortFunc(ways, func(a, b Way) int { return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Uplink, b.Uplink)) })
	return ways
}

func (d *draft) forwardsConfig() []Forward {
	var list []Forward
	for i := range d.forwards.value {
		f := &d.forwards.value[i]
		one := Forward{
			Protocols: distinct(values(f.protocol.value)), Ports: join1(values(f.ports.value)),
			To: f.to.value.Addr(), ToPort: f.to.value.Port(), Uplinks: d.forwardLines(f), Hairpin: f.hairpin.value,
		}
		one.Name = cmp.Or(f.name.value, one.String())
		list = append(list, one)
	}
	return list
}

// String names a forward by protocol and ports, example "tcp 80,443".
func (f Forward) String() string {
	var protocols, ports []string
	for _, p := range f.Protocols {
		protocols = append(protocols, ProtocolName(p))
	}
	for _, p := range f.Ports {
		ports = append(ports, p.String())
	}
	return strings.Join(protocols, ",") + " " + strings.Join(ports, ",")
}

// policySteers are the ways of the policies: one for each, and one for each of its lines where it deals
// connections in turn or keeps them on their line.
func policySteers(policies []Policy) []Steer {
	var list []Steer
	for _, p := range policies {
		list = append(list, Steer{Policy: p.Number, Uplink: NoUplink})
		if !p.PerLine() {
			continue
		}
		for _, w := range p.Ways {
			list = append(list, Steer{Policy: p.Number, Uplink: w.Uplink})
		}
	}
	return list
}

// PerLine tells whether the policy has a steer for each of its lines.
func (p *Policy) PerLine() bool {
	return len(p.Ways) > 1 && (p.Balance == BalanceRoundRobin || p.Sticky != StickyNone)
}

// WithSets returns the configuration with what the files of its sets hold. read returns the contents
// of a file. Every mistake in them is a problem with its line.
func (c *Config) WithSets(read func(path string) ([]byte, error)) (*Config, []Problem) {
	full := *c
	full.Sets = slices.Clone(c.Sets)
	var problems []Problem
	for i := range full.Sets {
		s := &full.Sets[i]
		if s.File == "" {
			continue
		}
		data, err := read(s.File)
		if err != nil {
			problems = append(problems, c.problem(setPlace(i), s.File, "cannot be read: "+cause(err)))
			continue
		}
		list, bad := s.parse(bytes.TrimPrefix(data, []byte(byteOrderMark)))
		problems = append(problems, bad...)
		s.Prefixes = Merge(append(slices.Clone(s.Prefixes), list...))
	}
	return &full, problems
}

// cause is what happened to a file, without its name.
func cause(err error) string {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return file.Err.Error()
	}
	return err.Error()
}

// maxBadLines is the number of wrong lines of one file that are reported.
const maxBadLines = 20

// parse reads a file of prefixes, one a line.
func (s *Set) parse(data []byte) (list []netip.Prefix, problems []Problem) {
	for i, line := range strings.Split(string(data), "\n") {
		word, _, _ := strings.Cut(line, "#")
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		p, f := parsePrefix(word)
		if f.none() && FamilyOf(p.Addr()) != s.Family {
			f = fault{message: fmt.Sprintf("is no %s address, as the family of set %s says", s.Family, s.Name)}
		}
		if f.none() {
			list = append(list, p)
			continue
		}
		if problems = append(problems, Problem{File: s.File, Line: i + 1, Column: 1, Value: show(word), Message: f.message, Suggestion: f.suggestion}); len(problems) == maxBadLines {
			return list, append(problems, Problem{File: s.File, Message: "the rest of the file was not read"})
		}
	}
	return list, problems
}
