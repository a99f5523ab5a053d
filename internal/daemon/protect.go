package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/routing"
)

// protection is what the loop knows of the firewall.
type protection struct {
	cfg      *config.Config // that the guard was told last; nil: nothing, or that there is to be no table
	turns    []firewall.Turn
	prefixes map[int]netip.Prefix // delegated, by uplink
	latest   guarded
	remark   bool              // marks of lines have changed
	heard    bool              // the guard has looked
	warned   []routing.Warning // by the guard
}

// protect tells the guard what the firewall should be, if that is something new. Routes come first: the
// table leads new connections to them.
func (l *loop) protect(now time.Time) {
	if l.Firewall == nil {
		return
	}
	p := &l.protection
	if l.Config.Firewall != config.FirewallManaged {
		if p.cfg != nil {
			*p = protection{heard: true}
			l.entrust(guarded{})
		}
		return
	}
	turns, lines, prefixes := l.turns(now), l.addresses(), l.prefixes()
	same := p.cfg == l.Config && slices.Equal(p.turns, turns) && maps.Equal(p.prefixes, prefixes)
	if same && !p.remark && maps.EqualFunc(lines, p.latest.lines, maps.Equal[map[netip.Addr]uint32, map[netip.Addr]uint32]) {
		return
	}
	if !same {
		p.latest.table = firewall.Managed(l.Config.WithPrefixes(prefixes), turns)
	}
	p.latest.lines, p.latest.mask, p.latest.remark = lines, l.Config.Numbers.Mask, p.remark
	p.cfg, p.turns, p.prefixes, p.remark = l.Config, turns, prefixes, false
	l.entrust(p.latest)
}

// entrust hands the guard what it is to keep. It takes the latest.
func (l *loop) entrust(want guarded) {
	select {
	case old := <-l.guard:
		want.remark = want.remark || old.remark
	default:
	}
	l.guard <- want
}

// turns are the lines that new connections are dealt to, those of no policy and those of each.
func (l *loop) turns(now time.Time) []firewall.Turn {
	var turns []firewall.Turn
	reports := l.reports(now)
	for _, s := range l.selections {
		deals := routing.DealChoices(l.Config, l.paths, reports, s)
		if l.Config.Balance == config.BalanceRoundRobin {
			deals = append(deals, routing.Choice{Members: routing.Deal(l.Config, l.paths, reports, s)})
		}
		for _, d := range deals {
			for _, m := range d.Members {
				turns = append(turns, firewall.Turn{Family: s.Family, Policy: d.Policy, Uplink: m.Uplink, Weight: m.Weight})
			}
		}
	}
	return turns
}

// prefixes are those that providers have delegated.
func (l *loop) prefixes() map[int]netip.Prefix {
	var all map[int]netip.Prefix
	for _, p := range l.paths {
		if p.Prefix.IsValid() {
			if all == nil {
				all = map[int]netip.Prefix{}
			}
			all[p.Uplink] = p.Prefix
		}
	}
	return all
}

// addresses are the marks by the addresses of lines. An address that two lines have tells nothing.
func (l *loop) addresses() map[config.Family]map[netip.Addr]uint32 {
	lines := map[config.Family]map[netip.Addr]uint32{}
	twice := map[netip.Addr]bool{}
	for _, p := range l.paths {
		if !p.Source.IsValid() {
			continue
		}
		if lines[p.Family] == nil {
			lines[p.Family] = map[netip.Addr]uint32{}
		}
		if _, taken := lines[p.Family][p.Source]; taken || twice[p.Source] {
			twice[p.Source] = true
			delete(lines[p.Family], p.Source)
			continue
		}
		lines[p.Family][p.Source] = l.Config.Uplinks[p.Uplink].Mark
	}
	return lines
}

// shielded tells whether the guard has done what it could, so that the host is ready.
func (l *loop) shielded() bool {
	return l.Firewall == nil || l.Config.Firewall != config.FirewallManaged || l.protection.heard
}

// heed takes what the guard says.
func (l *loop) heed(warnings []routing.Warning) {
	p := &l.protection
	if !p.heard {
		p.heard, l.lookAt = true, l.looked // ready, if all else is
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
