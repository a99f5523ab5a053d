package config

import (
	"fmt"
	"net/netip"
	"strconv"
)

// checkInet6: addresses and prefixes of the lines' IPv6.
func (w *walker) checkInet6(list []uplinkDraft) {
	owners := make(map[netip.Addr]*field[netip.Addr], len(list))
	for i := range list {
		own := &list[i].inet6.address
		if _, twin := owners[own.value]; own.given() && !twin { // behind modems that are alike
			owners[own.value] = own
		}
	}
	for i := range list {
		d := &list[i].inet6
		if own, ok := owners[d.gateway.value]; ok && d.gateway.given() {
			fail(w, &d.gateway, d.gateway.value.String(), "is the router's own address, "+use(own), "the address of the provider's router")
		}
		w.checkPrefix(d)
		for j := range list[:i] {
			other := &list[j].inet6.prefix
			if d.prefix.given() && other.given() && d.prefix.value.Overlaps(other.value) {
				fail(w, &d.prefix, d.prefix.value.String(), "overlaps with "+use(other)+": hosts of the two could not be told apart", "")
			}
		}
	}
}

// checkPrefix: one source of the prefix, and what needs it has it.
func (w *walker) checkPrefix(d *inet6Draft) {
	has := d.prefix.state != absent || d.prefixFile.state != absent // a bad one was reported
	switch {
	case d.prefix.given() && d.prefixFile.given():
		fail(w, &d.prefixFile, "", "is given, and so is "+use(&d.prefix)+"; remove one", "")
	case d.nat.given() && d.nat.value == TranslatePrefix && !has:
		fail(w, &d.nat, "prefix", "needs a prefix to translate to; add prefix or prefix_file", "")
	case d.nat.given() && d.nat.value == KeepAddress && !has:
		warn(w, &d.nat, "none", "leaves addresses as they are, and without prefix or prefix_file it is not known which belong to this line: hosts leave through any line with any of their addresses")
	}
}

// families: a line with IPv6 has targets to ask over it. merged is what holds for the line.
func (c testsCheck) families(u *uplinkDraft, merged *testsDraft) {
	if !u.inet6.on.value || u.inet6.on.state == bad || !merged.ips.usable() || !merged.targets.usable() {
		return
	}
	n := len(ofFamily(merged.distinct(), IPv6))
	if n == 0 {
		c.report(u.inet6.on.at, Problem{Path: u.section.path + ".ipv6", Message: "is on, and tests.ips holds no IPv6 address by which it could be judged; add some, " +
			"such as 2606:4700:4700::1111 and 2001:4860:4860::8888, or the target gateway"})
		return
	}
	f := &merged.required
	if !f.usable() || f.value <= int64(n) || c.capped[f.path] {
		return
	}
	c.capped[f.path] = true
	what := "targets; all of them"
	if n == 1 {
		what = "target; it"
	}
	at := f.at
	if f.state == absent {
		at = u.inet6.on.at
	}
	c.report(at, Problem{Severity: Warning, Path: f.path, Value: strconv.FormatInt(f.value, 10),
		Message: fmt.Sprintf("is more than the %d IPv6 %s must answer over IPv6", n, what)})
}

// unasked: IPv6 targets in a file without IPv6.
func (c testsCheck) unasked(d *draft) {
	for i := range d.uplinks.value {
		if on := &d.uplinks.value[i].inet6.on; on.value || on.state == bad {
			return
		}
	}
	all := d.tests.all()
	for i := range d.uplinks.value {
		all = append(all, d.uplinks.value[i].tests.all()...)
	}
	for i := range all {
		f := &all[i]
		if f.given() && f.value.Method != Gateway && FamilyOf(f.value.Address) == IPv6 {
			warn(c.walker, f, f.value.String(), "is never asked: no uplink has ipv6")
		}
	}
}
