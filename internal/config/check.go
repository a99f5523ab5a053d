package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// check compares the values of a file with each other. Values that were refused before are left out,
// so that one mistake is reported once.
func (w *walker) check(d *draft) {
	w.checkInterfaces(d)
	w.checkUplinks(d)
	w.checkGroups(d)
	w.checkListedGroups(d)
	w.checkDownlinks(d)
	w.checkTests(d)
	w.checkNumbers(d)
	w.checkFirewall(d)
	w.checkPolicies(d)
	w.checkEmail(d)
}

// fail reports an error about a field.
func fail[T any](w *walker, f *field[T], value, message, allowed string) {
	w.report(f.at, Problem{Path: f.path, Value: value, Message: message, Allowed: allowed})
}

// warn reports a warning about a field.
func warn[T any](w *walker, f *field[T], value, message string) {
	w.report(f.at, Problem{Severity: Warning, Path: f.path, Value: value, Message: message})
}

// use says where a value was used first.
func use[T any](f *field[T]) string { return fmt.Sprintf("%s (line %d)", f.path, f.at.line) }

// checkInterfaces: each interface has one role.
func (w *walker) checkInterfaces(d *draft) {
	var all []*field[string]
	for i := range d.uplinks.value {
		all = append(all, &d.uplinks.value[i].iface)
	}
	for _, list := range []*field[[]field[string]]{&d.lan, &d.dmz} {
		for i := range list.value {
			all = append(all, &list.value[i])
		}
	}
	first := make(map[string]*field[string], len(all))
	for _, f := range all {
		if !f.given() {
			continue
		}
		if other, twice := first[f.value]; twice {
			fail(w, f, show(f.value), "is used already by "+use(other), "an interface of its own")
			continue
		}
		first[f.value] = f
	}
}

// checkUplinks: addresses, gateways and names of the lines.
func (w *walker) checkUplinks(d *draft) {
	list := d.uplinks.value
	if d.uplinks.given() && len(list) == 0 {
		fail(w, &d.uplinks, "", "is empty", "a list of at least one uplink")
	}
	owners := make(map[netip.Addr]*field[netip.Addr], len(list))
	named, twins := make(map[string]*uplinkDraft, len(list)), make(map[netip.Addr]*uplinkDraft, len(list))
	for i := range list {
		u := &list[i]
		w.checkType(u)
		if own := &u.address; u.isStatic() && own.given() {
			w.checkTwin(u, twins[own.value])
			owners[own.value], twins[own.value] = own, u
		}
		if other, twice := named[u.name()]; twice && u.name() != "" {
			w.report(u.nameAt(), Problem{Severity: Warning, Path: u.section.path + ".description", Value: show(u.name()),
				Message: fmt.Sprintf("is the name of %s too; messages will not tell them apart", other.section.path)})
		}
		named[u.name()] = u
	}
	w.checkGateways(list, owners)
	w.checkInet6(list)
}

// checkTwin: lines have the same address behind modems that are alike, and then the same gateway.
func (w *walker) checkTwin(u, twin *uplinkDraft) {
	if twin != nil && u.gateway.given() && twin.gateway.given() && u.gateway.value != twin.gateway.value {
		warn(w, &u.address, u.address.value.String(), "is the address of "+twin.section.path+" too, behind another gateway; is it one of the two by mistake?")
	}
}

// checkGateways: a gateway is another machine.
func (w *walker) checkGateways(list []uplinkDraft, owners map[netip.Addr]*field[netip.Addr]) {
	for i := range list {
		g := &list[i].gateway
		if !list[i].isStatic() || !g.given() {
			continue
		}
		if own, ok := owners[g.value]; ok {
			fail(w, g, g.value.String(), "is the router's own address, "+use(own), "the address of the provider's router")
		}
	}
}

func (u *uplinkDraft) isStatic() bool { return u.kind.usable() && u.kind.value == Static }

// nameAt returns the place of the uplink's name.
func (u *uplinkDraft) nameAt() position {
	if u.description.given() {
		return u.description.at
	}
	return u.iface.at
}

// checkType: ppp and dhcp lines take their addresses from elsewhere. The original ignores what the
// file says there, so its files go on working.
func (w *walker) checkType(u *uplinkDraft) {
	if !u.kind.given() || u.kind.value == Static {
		return
	}
	for _, f := range []*field[netip.Addr]{&u.address, &u.gateway} {
		if f.given() {
			warn(w, f, f.value.String(), fmt.Sprintf("is ignored: a line of type %s takes it from the interface", u.kind.value))
		}
	}
}

// checkGroups: somebody must carry outgoing connections.
func (w *walker) checkGroups(d *draft) {
	grouped, explicit, form := false, true, d.isForm2015()
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		if u.group.state != absent && u.defaultRoute.state != absent {
			fail(w, &u.defaultRoute, "", "is the older form of priority_group, and both are given; remove default_route", "")
		}
		_, has := u.groupIn(form)
		grouped = grouped || has || !u.group.usable() || !u.defaultRoute.usable()
		explicit = explicit && u.defaultRoute.given()
	}
	w.checkTunnels(d)
	const nothing = "no uplink has a priority_group, so nothing would carry new outgoing connections"
	switch {
	case grouped || len(d.uplinks.value) == 0:
	case explicit:
		// Whoever says no for every line may want incoming connections only.
		warn(w, &d.uplinks, "", nothing)
	default:
		fail(w, &d.uplinks, "", nothing+"; add priority_group: 1 to those that should", "")
	}
}

// checkTunnels: a tunnel needs a line that carries it.
func (w *walker) checkTunnels(d *draft) {
	var tunnel *uplinkDraft
	form := d.isForm2015()
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		_, grouped := u.groupIn(form)
		switch {
		case !grouped:
		case u.tunnelIn() != TunnelYes:
			return
		case tunnel == nil:
			tunnel = u
		}
	}
	if tunnel != nil {
		warn(w, &tunnel.tunnel, "yes", "is said of every line with a priority_group, so nothing carries what the router itself sends, the tunnels among it, "+
			"but routes in table main; give a line that is no tunnel a priority_group, if only a later one")
	}
}

// checkListedGroups: each group has uplinks, and is listed once.
func (w *walker) checkListedGroups(d *draft) {
	known, form := map[int]bool{}, d.isForm2015()
	for i := range d.uplinks.value {
		u := &d.uplinks.value[i]
		if !u.group.usable() || !u.defaultRoute.usable() {
			return // it may be the one that is missing
		}
		if group, ok := u.groupIn(form); ok {
			known[group] = true
		}
	}
	first := map[int64]*field[int64]{}
	for i := range d.groups.value {
		number := &d.groups.value[i].number
		if !number.given() {
			continue
		}
		value := strconv.FormatInt(number.value, 10)
		if other, twice := first[number.value]; twice {
			fail(w, number, value, "is listed already by "+use(other)+"; make them one entry", "")
			continue
		}
		first[number.value] = number
		if len(known) > 0 && !known[int(number.value)] {
			fail(w, number, value, "is the group of no uplink", groupNames(known))
		}
	}
}

// groupNames completes "must be ..." with the groups that there are.
func groupNames(known map[int]bool) string {
	var words []string
	for _, group := range slices.Sorted(maps.Keys(known)) {
		words = append(words, strconv.Itoa(group))
	}
	if len(words) == 1 {
		return words[0] + ", the only group that uplinks have"
	}
	return "one of the groups that uplinks have: " + sentence(words)
}

func (w *walker) checkDownlinks(d *draft) {
	if d.lan.given() && len(d.lan.value) == 0 {
		fail(w, &d.lan, "", "is empty", "at least one interface")
	}
}

// checkNumbers: tables, rule priorities and marks of all uplinks stay clear of the system's.
func (w *walker) checkNumbers(d *draft) {
	n := int64(len(d.uplinks.value))
	if !d.uplinks.given() || n == 0 {
		return
	}
	if last := d.table.value + n; d.table.usable() && last > lastTable {
		fail(w, &d.table, strconv.FormatInt(d.table.value, 10),
			fmt.Sprintf("is too high: with %d uplinks the tables reach %d, and those above %d are the system's", n, last, lastTable), fmt.Sprintf("from 1 to %d", lastTable-n))
	}
	if d.priority.usable() {
		w.checkPriorities(d, n)
	}
	if d.base.usable() {
		w.checkMarks(d, n)
	}
}

// lastTable is the last table that is free: 252 is the kernel's RT_TABLE_COMPAT, 253 to 255 are
// default, main and local.
const lastTable = 251

func (w *walker) checkPriorities(d *draft, n int64) {
	base := d.priority.value
	first, last, more := base, base+2*n, int64(0)
	if d.isManaged() {
		more = 1
	}
	if d.hasTunnels() {
		more++
	}
	last += more
	if base <= systemMain {
		first--
	}
	const highest = 1<<32 - 1
	value := strconv.FormatInt(base, 10)
	switch {
	case last > highest:
		fail(w, &d.priority, value, fmt.Sprintf("is too high: with %d uplinks the rules reach %d", n, last), fmt.Sprintf("at most %d", highest-2*n-more))
	case first <= systemMain+1 && last >= systemMain:
		fail(w, &d.priority, value,
			fmt.Sprintf("is in the way of the system's rules 32766 and 32767: with %d uplinks ours take %d to %d", n, first, last),
			fmt.Sprintf("from 2 to %d, or at least %d", systemMain-1-2*n-more, systemMain+2))
	}
}

func (w *walker) checkMarks(d *draft, n int64) {
	last := d.base.value + n - 1
	if last > 1<<32-1 {
		fail(w, &d.base, fmt.Sprintf("%#x", d.base.value), fmt.Sprintf("is too high: with %d uplinks the marks reach %#x", n, last), fmt.Sprintf("at most %#x", int64(1<<32)-n))
		return
	}
	if !d.msk.given() {
		return
	}
	for m := d.base.value; m <= last; m++ {
		if m&^d.msk.value != 0 {
			fallback := *d
			fallback.msk = field[int64]{}
			fail(w, &d.msk, fmt.Sprintf("%#x", d.msk.value), fmt.Sprintf("does not cover the marks %#x to %#x", d.base.value, last), fmt.Sprintf("a mask that does, such as %#x", fallback.mask(n)))
			return
		}
	}
}

// checkEmail: what sending needs is there, and one password at most.
func (w *walker) checkEmail(d *draft) {
	s := &d.smtp
	passwords := []*field[string]{&s.password, &s.passwordFile, &s.passwordCred}
	given := slices.DeleteFunc(slices.Clone(passwords), func(f *field[string]) bool { return f.state == absent })
	for _, f := range given[min(1, len(given)):] {
		fail(w, f, "", fmt.Sprintf("the password is given already by %s; remove one", use(given[0])), "")
	}
	if !d.send.given() || !d.send.value {
		return
	}
	for _, path := range d.emailConfig().Lacking() {
		if d.emailField(path) != bad {
			w.report(d.send.at, Problem{Path: path, Message: "is missing, and email.send is yes"})
		}
	}
	if d.emailConfig().SMTP.Auth != AuthNone && s.starttls.given() && !s.starttls.value {
		warn(w, &s.starttls, "", "is no, so the password is sent in clear")
	}
}

// emailField returns the state of the field of a path that Email.Lacking returns: one that is there
// and bad was reported already.
func (d *draft) emailField(path string) fieldState {
	switch {
	case strings.HasSuffix(path, ".sender"):
		return d.sender.state
	case strings.HasSuffix(path, ".recipients"):
		return d.recipients.state
	case strings.HasSuffix(path, ".address"):
		return d.smtp.host.state
	case strings.HasSuffix(path, ".user_name"):
		return d.smtp.user.state
	}
	return max(d.smtp.password.state, d.smtp.passwordFile.state, d.smtp.passwordCred.state)
}
