package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// protection is what the loop knows of the firewall.
type protection struct {
	cfg      *config.Config // that the guard was told last; nil: nothing, or that there is to be no table
	turns    []firewall.Turn
	prefixes map[int]netip.Prefix // delegated, by uplink
	cgroups  map[string]uint64    // of policies, by path
	latest   guarded
	manual   bool      // the guard knows that there is to be no table
	heard    bool      // the guard has looked
	until    time.Time // until when the first routes wait for that
	asked    int       // the number of what the guard was told last
	done     int       // the number of what it has done
	askedAt  time.Time
	warned   []routing.Warning // by the guard
}

// protect tells the guard what the firewall should be, if that is something new. Where the table leads to
// routes that are not there yet, the default table is next.
func (l *loop) protect(now time.Time) {
	if l.Firewall == nil {
		return
	}
	p := &l.protection
	if l.Config.Firewall != config.FirewallManaged {
		if p.cfg != nil || !p.manual { // an earlier run may have left the table, too
			*p = protection{heard: true, manual: true, asked: p.asked, done: p.done}
			l.entrust(now, guarded{})
		}
		return
	}
	turns, lines, prefixes := Turns(l.Config, l.paths, l.reports, l.selections), l.addresses(), prefixes(l.paths)
	same := p.cfg == l.Config && slices.Equal(p.turns, turns) && maps.Equal(p.prefixes, prefixes) && maps.Equal(p.cgroups, l.obs.Cgroups)
	if same && maps.EqualFunc(lines, p.latest.lines, maps.Equal[map[netip.Addr]uint32, map[netip.Addr]uint32]) {
		return
	}
	if !same {
		p.latest.table = FirewallTable(l.Config, &l.obs, l.paths, turns)
	}
	p.latest.translated = l.translated(prefixes)
	p.latest.lines, p.latest.networks = lines, l.networks(prefixes)
	p.latest.marks, p.latest.mask = marksOf(l.Config), l.Config.Numbers.Mask
	if p.cfg == nil {
		p.until = now.Add(shieldTime)
	}
	p.cfg, p.turns, p.prefixes, p.cgroups, p.manual = l.Config, turns, prefixes, l.obs.Cgroups, false
	l.entrust(now, p.latest)
}

// entrust hands the guard what it is to keep. It takes the latest.
func (l *loop) entrust(now time.Time, want guarded) {
	l.protection.asked++
	l.protection.askedAt, want.number = now, l.protection.asked
	select {
	case <-l.guard:
	default:
	}
	l.guard <- want
}

// Turns returns the lines that a managed firewall deals new connections to, those of no policy and those of
// each; reports are the judgements of the paths, by position.
func Turns(cfg *config.Config, paths []routing.Path, reports []health.Report, selections []routing.Selection) []firewall.Turn {
	var turns []firewall.Turn
	for _, s := range selections {
		deals := routing.DealChoices(cfg, paths, reports, s)
		if cfg.Balance == config.BalanceRoundRobin {
			deals = append(deals, routing.Choice{Members: routing.Deal(cfg, paths, reports, s)})
		}
		for _, d := range deals {
			for _, m := range d.Members {
				turns = append(turns, firewall.Turn{Family: s.Family, Policy: d.Policy, Uplink: m.Uplink, Weight: m.Weight})
			}
		}
	}
	return turns
}

// FirewallTable returns the table of a managed firewall.
func FirewallTable(cfg *config.Config, obs *routing.Observation, paths []routing.Path, turns []firewall.Turn) firewall.Table {
	return firewall.Managed(cfg.WithPrefixes(prefixes(paths)).WithCgroups(obs.Cgroups), turns)
}

// prefixes are those that providers have delegated.
func prefixes(paths []routing.Path) map[int]netip.Prefix {
	var all map[int]netip.Prefix
	for _, p := range paths {
		if p.Prefix.IsValid() {
			if all == nil {
				all = map[int]netip.Prefix{}
			}
			all[p.Uplink] = p.Prefix
		}
	}
	return all
}

// translated are the prefixes of lines that translate to them, by interface.
func (l *loop) translated(prefixes map[int]netip.Prefix) map[string]netip.Prefix {
	all := map[string]netip.Prefix{}
	for i, p := range prefixes {
		if u := l.Config.Uplinks[i]; u.Inet6.NAT == config.TranslatePrefix {
			all[u.Interface] = p
		}
	}
	return all
}

// networks are the marks of lines by the prefixes with which connections are theirs alone.
func (l *loop) networks(prefixes map[int]netip.Prefix) map[netip.Prefix]uint32 {
	all := map[netip.Prefix]uint32{}
	for i, p := range prefixes {
		if u := l.Config.Uplinks[i]; u.Inet6.NAT != config.Masquerade {
			all[p] = u.Mark
		}
	}
	return all
}

// addresses are the marks by the addresses of lines, all that their interfaces have. An address that two lines
// have tells nothing.
func (l *loop) addresses() map[config.Family]map[netip.Addr]uint32 {
	lines := map[config.Family]map[netip.Addr]uint32{}
	owners := map[netip.Addr]string{}
	for _, p := range l.paths {
		for _, a := range l.addressesOf(p) {
			if lines[p.Family] == nil {
				lines[p.Family] = map[netip.Addr]uint32{}
			}
			if owner, taken := owners[a]; taken && owner != p.Interface {
				delete(lines[p.Family], a)
				continue
			}
			owners[a], lines[p.Family][a] = p.Interface, l.Config.Uplinks[p.Uplink].Mark
		}
	}
	return lines
}

// addressesOf are those of a path's interface that others can reach.
func (l *loop) addressesOf(p routing.Path) (all []netip.Addr) {
	if p.Source.IsValid() {
		all = append(all, p.Source)
	}
	link, _ := l.obs.Link(p.Interface)
	for _, a := range link.Addresses {
		if a := a.Prefix.Addr(); config.FamilyOf(a) == p.Family && !a.IsLinkLocalUnicast() && a != p.Source {
			all = append(all, a)
		}
	}
	return all
}

// shieldTime is how long the first routes wait for the firewall table.
const shieldTime = 2 * time.Second

// shielded tells whether routes may be written. At the start they wait until the guard has done what it
// could: a connection that begins while there is a route and no translation would go on without for as long
// as it tries.
func (l *loop) shielded(now time.Time) bool {
	p := &l.protection
	if l.ready || p.heard || p.cfg == nil || !now.Before(p.until) {
		return true
	}
	l.lookAt = p.until
	return false
}

// outliveTime is how long rules and routes that the configuration does not have any more wait for the guard at
// most: as long as nft takes for the largest sets. A guard that cannot do its work at all must not keep the loop.
const outliveTime = 30 * time.Second

// guardPatience is how long a reload waits for the guard: less than its client does (internal/web).
const guardPatience = 25 * time.Second

// guarding tells whether the guard is at work on what it was told last, and may yet succeed.
func (l *loop) guarding(now time.Time) bool {
	p := &l.protection
	return p.done != p.asked && len(p.warned) == 0 && now.Before(p.askedAt.Add(guardPatience))
}

// outlived takes from steps the deletions of rules and routes of steers that the configuration does not have any
// more while the firewall table may still lead to them, and returns until when at most: a first packet that found
// nothing there would leave by lines that its policy never had.
func (l *loop) outlived(now time.Time, steps []routing.Step) ([]routing.Step, time.Time) {
	p := &l.protection
	until := p.askedAt.Add(outliveTime)
	if p.done == p.asked || !now.Before(until) {
		return steps, time.Time{}
	}
	own := map[uint32]bool{}
	for _, s := range l.Config.Steers {
		own[s.Table] = true
	}
	left := slices.DeleteFunc(slices.Clone(steps), func(s routing.Step) bool {
		var table uint32
		if s.Route != nil {
			table = s.Route.Table
		} else if s.Rule != nil {
			table = s.Rule.Table
		}
		return s.Op == routing.Delete && table >= config.FirstSteerTable && !own[table]
	})
	if len(left) == len(steps) {
		return steps, time.Time{}
	}
	return left, until
}

// heed takes what the guard says.
func (l *loop) heed(v verdict) {
	p, warnings := &l.protection, v.warnings
	if !p.heard || p.done != v.done {
		p.heard, p.done, l.lookAt = true, v.done, time.Time{} // routes may come, and go
	}
	if p.cfg == nil {
		warnings = nil
	}
	if !slices.Equal(p.warned, warnings) {
		p.warned = warnings
		l.warn(l.inspected)
		l.publishAt = time.Time{}
	}
}
