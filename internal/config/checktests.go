package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTargets is far more than anybody needs, and few enough to ask all at once.
const maxTargets = 256

// checkTests: the section tests, and what the lines make of it.
func (w *walker) checkTests(d *draft) {
	own, gateways := d.routers()
	c := testsCheck{walker: w, own: own, gateways: gateways, path: "tests", capped: map[string]bool{}}
	if d.tests.section.given() {
		c.run(&d.tests, d.tests.section.at)
	}
	if !d.tests.section.given() {
		return
	}
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		merged := u.tests
		merged.inherit(&d.tests)
		if u.tests.section.given() {
			c.path = u.section.path + ".tests"
			c.run(&merged, u.tests.section.at)
		}
		c.families(u, &merged)
	}
	c.unasked(d)
}

// testsCheck checks one section of tests. What was inherited has been checked where it stands.
type testsCheck struct {
	*walker
	own, gateways map[netip.Addr]string // addresses of this router and of its gateways, with their places
	path          string
	capped        map[string]bool // quorums that were said to be too large for IPv6
}

// mine tells whether a field belongs to the section, and is no other one's.
func (c testsCheck) mine(path string) bool { return strings.HasPrefix(path, c.path+".") }

func (c testsCheck) run(t *testsDraft, at position) {
	c.quorum(t, at)
	q := &t.quality
	c.order(pairOf(&t.minTimeout, &t.timeout, spell))
	if t.maxHoldDown.given() {
		c.order(pairOf(&t.holdDown, &t.maxHoldDown, spell))
	}
	percent := func(n int64) string { return strconv.FormatInt(n, 10) }
	c.limits(pairOf(&q.lossReturn, &q.loss, percent))
	c.limits(pairOf(&q.latencyReturn, &q.latency, spell))
	c.limits(pairOf(&q.jitterReturn, &q.jitter, spell))
}

// quorum: enough different targets that are really elsewhere.
func (c testsCheck) quorum(t *testsDraft, at position) {
	if !t.ips.usable() || !t.targets.usable() {
		c.targets(t)
		return
	}
	n := len(t.ips.value) + len(t.targets.value)
	switch {
	case n == 0 && c.reported():
		return
	case n == 0:
		message := "is missing, and so is tests.targets"
		if t.ips.given() || t.targets.given() {
			message = "is empty, and so is tests.targets"
		}
		if t.ips.given() {
			at = t.ips.at
		}
		c.report(at, Problem{Path: c.path + ".ips", Message: message, Allowed: "a list of at least one address"})
		return
	case n > maxTargets:
		f := &t.ips
		where, path := f.at, f.path
		if len(t.targets.value) > len(t.ips.value) {
			where, path = t.targets.at, t.targets.path
		}
		if c.mine(path) {
			c.report(where, Problem{Path: path, Message: fmt.Sprintf("has %d entries with tests.ips and tests.targets together", n), Allowed: fmt.Sprintf("at most %d", maxTargets)})
		}
		return
	}
	c.targets(t)
	all := t.distinct()
	different, kind := len(ofFamily(all, IPv4)), "different targets"
	if different < len(all) {
		kind = "different IPv4 targets"
	}
	if different == 0 {
		c.report(at, Problem{Path: c.path + ".ips", Message: "holds no IPv4 address, and IPv4 is asked on every line", Allowed: "a list with at least one"})
		return
	}
	if t.required.usable() && t.required.value > int64(different) {
		f := &t.required
		where := f.at
		if !c.mine(f.path) {
			where = at
		}
		c.report(where, Problem{Path: c.path + ".required_successful", Value: strconv.FormatInt(f.value, 10),
			Message: fmt.Sprintf("is more than the %d %s, so no line could ever be up", different, kind), Allowed: fmt.Sprintf("from 1 to %d", different)})
	}
}

// reported tells whether one of the lists is empty only because it could not be read.
func (c testsCheck) reported() bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Path == c.path+".ips" || p.Path == c.path+".targets" })
}

func (c testsCheck) targets(t *testsDraft) {
	all := t.all()
	first := make(map[Target]*field[Target], len(all))
	for i := range all {
		f := &all[i]
		if !f.given() {
			continue
		}
		other, twice := first[f.value]
		first[f.value] = f
		address := f.value.Address
		switch {
		case !c.mine(f.path) && (!twice || !c.mine(other.path)):
		case twice:
			warn(c.walker, f, f.value.String(), "is listed already as "+use(other)+" and counts once")
		case c.own[address] != "":
			fail(c.walker, f, f.value.String(), "is the router's own address on "+c.own[address]+" and answers always", "a host on the internet")
		case c.gateways[address] != "":
			warn(c.walker, f, f.value.String(), "is the gateway of "+c.gateways[address]+", which answers also when the line behind it is dead")
		case f.value.Method == Gateway && len(all) == 1:
			warn(c.walker, f, f.value.String(), "is the only target, and answers also when the line behind it is dead")
		}
	}
}

// pair is two values of which the first must not be above the second.
type pair struct {
	small, large           string // as written
	smallPath, largePath   string
	smallAt, largeAt       position
	given, usable, inOrder bool
	largeIsZero            bool
}

func pairOf[T int64 | time.Duration](small, large *field[T], write func(T) string) pair {
	return pair{
		small: write(small.value), large: write(large.value), smallPath: small.path, largePath: large.path,
		smallAt: small.at, largeAt: large.at, usable: small.usable() && large.usable(),
		given: small.given(), inOrder: small.value <= large.value, largeIsZero: large.value == 0,
	}
}

// order: where the larger one alone was given, the default of the smaller one gives way.
func (c testsCheck) order(p pair) {
	if !p.usable || !p.given || p.inOrder {
		return
	}
	if c.mine(p.smallPath) {
		c.report(p.smallAt, Problem{Path: p.smallPath, Value: p.small, Message: "is more than " + lastKey(p.largePath), Allowed: "at most " + p.large})
	} else if c.mine(p.largePath) {
		c.report(p.largeAt, Problem{Path: p.largePath, Value: p.large, Message: "is less than " + lastKey(p.smallPath), Allowed: "at least " + p.small})
	}
}

// limits: the value for the return is on the good side of the limit. One that was inherited gives way.
func (c testsCheck) limits(p pair) {
	switch {
	case !p.usable || !p.given || !c.mine(p.smallPath):
	case p.largeIsZero:
		c.report(p.smallAt, Problem{Severity: Warning, Path: p.smallPath, Value: p.small, Message: "means nothing: without a limit nothing returns"})
	case !p.inOrder:
		c.report(p.smallAt, Problem{Path: p.smallPath, Value: p.small, Message: "is more than the limit itself", Allowed: "at most " + p.large})
	}
}

func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// routers returns the own addresses and the gateways of static lines, with the paths of their lines.
func (d *draft) routers() (own, gateways map[netip.Addr]string) {
	own, gateways = map[netip.Addr]string{}, map[netip.Addr]string{}
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		if !u.isStatic() {
			continue
		}
		if u.address.given() {
			own[u.address.value] = u.section.path
		}
		if u.gateway.given() {
			gateways[u.gateway.value] = u.section.path
		}
	}
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		if u.inet6.address.given() {
			own[u.inet6.address.value] = u.section.path
		}
		if u.inet6.gateway.given() {
			gateways[u.inet6.gateway.value] = u.section.path
		}
	}
	return own, gateways
}
