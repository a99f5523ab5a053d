package routing

import (
	"ftr/internal/config"
	"ftr/internal/health"
)

// steerRoutes are the contents of the steers' tables: the preferred line while it is selected, otherwise
// all that are. Where nothing can be routed the tables are empty, and the lookup goes on to the default
// table with what is kept there.
func steerRoutes(cfg *config.Config, paths []Path, s Selection) []Route {
	all := memberHops(paths, s)
	if len(all) == 0 {
		return nil
	}
	routes := make([]Route, 0, 2*len(cfg.Steers))
	for _, steer := range cfg.Steers {
		if steer.Policy != 0 {
			continue
		}
		hops := all
		if s.Has(steer.Uplink) {
			alone := memberHops(paths, Selection{Family: s.Family, Members: []Member{{Uplink: steer.Uplink, Weight: 1}}})
			if len(alone) > 0 {
				hops = alone
			}
		}
		routes = append(routes, spareRoutes(steer.Table, s.Family, hops)...)
	}
	return routes
}

// Deal returns the lines that new connections of the selection's family are dealt to in turn, with their
// shares: all of the group that carries, those of them too that are down now, whose turns their tables lead
// to the others. So a line that fails or comes back changes routes and not the deal; only another group, or
// another quality, does.
//
// reports are the judgements of the paths, by position.
func Deal(cfg *config.Config, paths []Path, reports []health.Report, s Selection) []Member {
	if len(s.Members) == 0 {
		return nil
	}
	group := cfg.Uplinks[s.Members[0].Uplink].Group
	var members []Member
	var percents []int
	for i, p := range paths {
		u := cfg.Uplinks[p.Uplink]
		if p.Family == s.Family && u.Grouped && u.Group == group {
			members, percents = append(members, Member{u.Index, u.Weight}), append(percents, reports[i].WeightPercent)
		}
	}
	reduce(members, percents)
	return members
}
