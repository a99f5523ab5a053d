package routing

import (
	"fmt"
	"slices"

	"ftr/internal/config"
)

// UplinkUnusable is the code of the warning that an uplink cannot carry now.
const UplinkUnusable = "uplink-unusable"

// Warning is something about this host that the operator should know or mend.
type Warning struct {
	Code    string // stable, for programs; example "main-default-wins"
	Subject string // what it is about: an uplink's name, a priority, a table
	Text    string // what is wrong
	Cure    string // what to do
	Error   bool   // the configuration cannot work so
}

// String returns the warning in one line.
func (w Warning) String() string {
	s := w.Text
	if w.Subject != "" {
		s = w.Subject + ": " + s
	}
	if w.Cure != "" {
		s += "; " + w.Cure
	}
	return s
}

// Inspect holds a configuration against what was observed of the host.
func Inspect(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	ws = append(ws, missingSysctls(cfg, obs)...)
	ws = append(ws, interfaces(cfg, obs)...)
	ws = append(ws, missingCgroups(cfg, obs)...)
	ws = append(ws, mainDefaults(cfg, obs)...)
	ws = append(ws, foreignRules(cfg, obs)...)
	return append(ws, foreignRoutes(cfg, obs)...)
}

func missingSysctls(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	values := obs.Have.sysctls()
	if _, ok := values[sysctlForward]; !ok {
		ws = append(ws, Warning{Code: "no-forwarding", Subject: sysctlForward, Error: true,
			Text: "does not exist: this kernel does not route IPv4", Cure: "check that /proc/sys is mounted"})
	}
	if _, ok := values[sysctlForward6]; !ok && slices.Contains(cfg.Families(), config.IPv6) {
		ws = append(ws, Warning{Code: "no-ipv6", Subject: sysctlForward6, Error: true,
			Text: "does not exist: this kernel has no IPv6", Cure: "remove ipv6 from the uplinks, or boot without ipv6.disable=1"})
	}
	if _, ok := values[sysctlHashPolicy]; !ok {
		ws = append(ws, Warning{Code: "no-multipath", Subject: sysctlHashPolicy,
			Text: "does not exist: connections between two hosts all take one line",
			Cure: "use a kernel of 4.12 or later with CONFIG_IP_ROUTE_MULTIPATH"})
	}
	return ws
}

// missingCgroups warns of control groups of policies that are not there.
func missingCgroups(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	for _, path := range cfg.Cgroups() {
		if _, ok := obs.Cgroups[path]; !ok {
			ws = append(ws, Warning{Code: "no-cgroup", Subject: "control group " + path,
				Text: "is not there below /sys/fs/cgroup (version 2): no policy leads what its programs connect to",
				Cure: "nothing, if the service is stopped: it is found when it starts; if not, compare with systemd-cgls"})
		}
	}
	return ws
}

// interfaces warns of uplinks that cannot carry now and of inside interfaces that are not there.
func interfaces(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	values := obs.Have.sysctls()
	for _, p := range Resolve(cfg, obs) {
		u := cfg.Uplinks[p.Uplink]
		if p.Problem != "" {
			ws = append(ws, Warning{Code: UplinkUnusable, Subject: "uplink " + u.Name + " (" + u.Interface + ")" + Suffix(p.Family),
				Text: p.Problem, Cure: unusableCure(u, p)})
		}
		if p.Family == config.IPv4 && values[rpFilter(u.Interface)] == "1" {
			ws = append(ws, Warning{Code: "rp-filter-strict", Subject: "uplink " + u.Name + " (" + u.Interface + ")",
				Text: "rp_filter is 1 (strict), which drops replies that arrive on this line",
				Cure: "monitor sets it to 2 (loose); see that no other program sets it back"})
		}
	}
	ws = append(ws, unsaidTunnels(cfg, obs)...)
	for _, name := range slices.Concat(cfg.LAN, cfg.DMZ) {
		if _, ok := obs.Link(name); !ok {
			ws = append(ws, Warning{Code: "inside-missing", Subject: "interface " + name,
				Text: "does not exist", Cure: "check the name under downlinks with: ip -br link"})
		}
	}
	return ws
}

// unsaidTunnels warns of lines that may be sent into themselves. Dialled lines may be tunnels to the
// kernel, and are none.
func unsaidTunnels(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	for _, u := range cfg.Uplinks {
		link, _ := obs.Link(u.Interface)
		if link.Tunnel == "" || u.Tunnel != config.TunnelUnsaid || u.Type == config.PPP {
			continue
		}
		ws = append(ws, Warning{Code: "tunnel-unsaid", Subject: "uplink " + u.Name + " (" + u.Interface + ")",
			Text: fmt.Sprintf("is a tunnel (%s), and the file does not say who carries it: if this router does, over its other lines, the tunnel's own packets may be sent into the tunnel, and it stands still", link.Tunnel),
			Cure: "add tunnel: yes to the uplink, or tunnel: no if something else carries it"})
	}
	return ws
}

// Suffix names the family behind an uplink, where it is not the usual one.
func Suffix(f config.Family) string {
	if f == config.IPv6 {
		return " IPv6"
	}
	return ""
}

func unusableCure(u config.Uplink, p Path) string {
	switch {
	case p.Family == config.IPv6 && p.Source.IsValid() && !p.Gateway.IsValid():
		return "it is used as soon as a router advertises itself; if none does, name it as gateway under ipv6"
	case p.Family == config.IPv6 && p.Problem != missing:
		return "check it with: ip -6 addr show dev " + u.Interface
	case p.Source.IsValid() && u.Type == config.DHCP && !p.Gateway.IsValid():
		return "let the DHCP client keep its default route or its lease file, or use type static with a gateway"
	case p.Problem == missing && u.Type != config.PPP:
		return "check its name with: ip -br link"
	case u.Type == config.Static:
		return "check it with: ip addr show dev " + u.Interface
	default:
		return "it is used as soon as this is over"
	}
}

// mainDefaults warns where main is asked before us and has a default route: nothing would ever reach
// our rules.
func mainDefaults(cfg *config.Config, obs *Observation) []Warning {
	if cfg.Numbers.SuppressPriority != 0 {
		return nil
	}
	// Lines whose router is known by such a route only.
	needed := map[config.Family]bool{
		config.IPv4: slices.ContainsFunc(cfg.Uplinks, func(u config.Uplink) bool { return u.Type == config.DHCP }),
		config.IPv6: slices.ContainsFunc(cfg.Uplinks, func(u config.Uplink) bool { return u.Inet6.On && !u.Inet6.Gateway.IsValid() }),
	}
	var ws []Warning
	for _, r := range obs.Defaults {
		if !slices.Contains(cfg.Families(), r.Family) {
			continue
		}
		ws = append(ws, Warning{Code: "main-default-wins", Subject: "table main", Error: needed[r.Family],
			Text: fmt.Sprintf("has the default route %q, and with base_priority %d main is asked first: all traffic takes that route, balancing and failover do not happen",
				r.String(), cfg.Numbers.BasePriority),
			Cure: "set base_priority to 20000 (existing firewall rules go on working), or remove the route"})
	}
	return ws
}

// foreignRules warns of rules of others that are in the way of ours.
func foreignRules(cfg *config.Config, obs *Observation) []Warning {
	n := cfg.Numbers
	first := n.BasePriority
	if n.SuppressPriority != 0 {
		first = n.SuppressPriority
	}
	var ws []Warning
	for _, r := range obs.Have.Rules {
		if r.Protocol == RuleProtocol || Adoptable(cfg, r) {
			continue
		}
		subject := fmt.Sprintf("rule %d (%s)", r.Priority, r)
		switch {
		case r.Priority >= first && r.Priority <= n.DefaultPriority:
			ws = append(ws, Warning{Code: "priority-taken", Subject: subject, Text: fmt.Sprintf(
				"is not ours and stands among the priorities %d to %d of this configuration", first, n.DefaultPriority),
				Cure: "change base_priority or move that rule"})
		case !r.Other && r.Mask&n.Mask != 0:
			ws = append(ws, Warning{Code: "mark-taken", Subject: subject, Text: fmt.Sprintf(
				"matches mark bits 0x%x that are ours (fwmark_mask 0x%x)", r.Mask&n.Mask, n.Mask),
				Cure: "set base_fwmark and fwmark_mask to bits that nobody uses"})
		case !r.Other && r.Mask&n.SteerMask != 0:
			ws = append(ws, Warning{Code: "mark-taken", Subject: subject, Text: fmt.Sprintf(
				"matches mark bits 0x%x that are ours (steer_mask 0x%x)", r.Mask&n.SteerMask, n.SteerMask),
				Cure: "set steer_mask to bits that nobody uses"})
		case leadsToSteer(cfg, r), n.OwnTable != 0 && r.Table == n.OwnTable:
			ws = append(ws, Warning{Code: "table-taken", Subject: subject, Text: fmt.Sprintf(
				"leads to table %d, which this program fills for new connections", r.Table),
				Cure: "let that rule lead to the table of the uplink that is meant, or to another one"})
		case r.Table >= n.BaseTable && r.Table <= n.DefaultTable:
			ws = append(ws, Warning{Code: "table-taken", Subject: subject, Text: fmt.Sprintf(
				"leads to table %d, which belongs to this configuration", r.Table),
				Cure: "that is fine if it is meant to use that uplink; if not, change base_table or that rule"})
		case catchesAll(r) && r.Priority < first && !kernelsOwn(r.Table):
			ws = append(ws, Warning{Code: "rule-before", Subject: subject, Text: fmt.Sprintf(
				"asks table %d for every packet before our rules are asked", r.Table),
				Cure: fmt.Sprintf("if that table has a default route, no uplink is used: look with: ip route show table %d", r.Table)})
		}
	}
	return ws
}

// leadsToSteer tells whether a rule leads to a table of a steer.
func leadsToSteer(cfg *config.Config, r Rule) bool {
	return slices.ContainsFunc(cfg.Steers, func(s config.Steer) bool { return s.Table == r.Table })
}

// catchesAll tells whether a rule applies to every packet and every route of its table counts.
func catchesAll(r Rule) bool {
	return !r.narrow() && !r.From.IsValid() && r.Mask == 0 && r.SuppressPrefixLength == NoSuppress
}

// foreignRoutes warns of routes of others in the tables that we fill. One that has the very place of a
// route of ours keeps it from being written, unless ours was there before: then it is put back.
func foreignRoutes(cfg *config.Config, obs *Observation) []Warning {
	var ws []Warning
	s := newScene(cfg, obs.Have)
	type way struct {
		table  uint32
		family config.Family
	}
	unroutable := map[way]bool{} // tables of lines that have no route now
	for _, p := range Resolve(cfg, obs) {
		unroutable[way{cfg.Uplinks[p.Uplink].Table, p.Family}] = !p.Routable
	}
	seen := map[place]bool{}
	for _, r := range obs.Have.Routes {
		first := !seen[placeOf(r)]
		seen[placeOf(r)] = true
		intruder := first && s.held.Has(r) && !unroutable[way{r.Table, r.Family}]
		if !s.tables[r.Table] || s.owns(r) || intruder {
			continue
		}
		w := Warning{Code: "table-taken", Subject: fmt.Sprintf("table %d", r.Table),
			Text: fmt.Sprintf("holds the route %q, which is not ours", r.String()),
			Cure: "change base_table, or remove the route if nothing needs it"}
		if r.Table >= config.OwnTable {
			w.Cure = "remove the route: this program fills that table for new connections"
		}
		if r.IsDefault() && r.Metric == firstMetric(r.Family) {
			w.Error, w.Text = true, w.Text+" and stands where ours belongs"
		}
		ws = append(ws, w)
	}
	return ws
}
