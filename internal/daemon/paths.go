package daemon

import (
	"math"
	"slices"
	"strings"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
)

// moved tells whether a path leads another way than before, so that what was known of it is void. A path
// that has lost its address is the monitor's business: it is down.
func moved(before, after routing.Path) bool {
	return before.Source.IsValid() && after.Source.IsValid() &&
		(before.Source != after.Source || before.Gateway != after.Gateway)
}

// follow makes paths the ones in force, with the monitors that there are, by interface and family, and
// new ones. Where a path leads another way than before, nothing is known of it, and it keeps its place
// until it is judged.
func (l *loop) follow(now time.Time, paths []routing.Path) {
	monitors, traffics := make([]*health.Monitor, len(paths)), make([]*health.Traffic, len(paths))
	for i, p := range paths {
		j := slices.IndexFunc(l.paths, func(o routing.Path) bool { return o.Interface == p.Interface && o.Family == p.Family })
		if j < 0 || moved(l.paths[j], p) {
			monitors[i], traffics[i] = health.New(l.Config.Uplinks[p.Uplink].Tests.For(p.Family), l.Rand, now), health.NewTraffic()
			monitors[i].Stagger(phase(i))
			l.recall(now, p, monitors[i])
			monitors[i].SetAdmin(now, l.modes[p.Interface] == status.ForcedDown, byHand)
			continue
		}
		monitors[i], traffics[i] = l.monitors[j], l.traffics[j]
	}
	l.paths, l.monitors, l.traffics, l.known = paths, monitors, traffics, nil
}

// inStep is how many paths are asked at the same time: waking up costs more than a probe, but hundreds
// of answers at once would delay one another.
const inStep = 8

// phase spreads groups of paths evenly, however many there are: the fractions of the multiples of the
// golden ratio.
func phase(path int) float64 {
	_, fraction := math.Modf(float64(path/inStep) * math.Phi)
	return fraction
}

// recall gives a monitor what was known of its path before a restart, if it is the same.
func (l *loop) recall(now time.Time, p routing.Path, m *health.Monitor) {
	for _, k := range l.known {
		if k.Interface == p.Interface && k.Index == p.Index && k.Family == p.Family && k.Address == p.Source {
			m.Restore(now, k.Report)
		}
	}
}

// announce says what traffic is to be watched. The sampler takes the latest.
func (l *loop) announce() {
	select {
	case <-l.watch:
	default:
	}
	w := watched{table: firewall.EvidenceTable, families: l.Config.Families()}
	if firewall.Counts(l.Config) {
		w.table = firewall.ManagedTable
	}
	for _, u := range l.Config.Uplinks {
		w.interfaces = append(w.interfaces, u.Interface)
	}
	l.watch <- w
}

// adopt takes over the selection that a previous run left in the kernel.
func (l *loop) adopt(obs *routing.Observation) {
	for _, f := range l.Config.Families() {
		if s := routing.Adopt(l.Config, f, obs.Have); s != nil {
			l.selections = append(l.selections, *s)
		}
	}
}

// reload puts a configuration in force. What belongs to an uplink is found again by its interface.
func (l *loop) reload(now time.Time, cfg *config.Config) {
	for i, s := range l.selections {
		l.selections[i] = routing.Transfer(s, l.Config, cfg)
	}
	if changed := remarked(l.Config, cfg); len(changed) > 0 && cfg.Firewall != config.FirewallManaged {
		l.Logger.Warn("the marks of uplinks have changed: load the rules of generate_iptables again, at once: " + strings.Join(changed, ", "))
	}
	l.gone = append(l.gone, removed(l.Config, cfg)...)
	l.Config, l.scope = cfg, routing.ScopeOf(cfg).Whole()
	clear(l.stands) // they count uplinks as the configuration before did
	if l.monitors != nil {
		l.follow(now, routing.Resolve(cfg, &l.obs)) // the look that comes next knows new interfaces
	}
	for i, m := range l.monitors {
		m.Update(now, cfg.Uplinks[l.paths[i].Uplink].Tests.For(l.paths[i].Family))
	}
	l.announce()
	l.lookAt = now
}
