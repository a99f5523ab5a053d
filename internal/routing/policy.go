package routing

import (
	"slices"

	"ftr/internal/config"
	"ftr/internal/health"
)

// Choice says which lines a policy uses for new connections of a family.
type Choice struct {
	Policy  int      // config.Policy.Number
	Tier    int      // the order of the members
	Members []Member // in the order of the configuration; empty: the policy's last resort holds
}

// Has tells whether an uplink is chosen.
func (c Choice) Has(uplink int) bool { return Selection{Members: c.Members}.Has(uplink) }

// Equal tells whether the same uplinks are chosen with the same shares.
func (c Choice) Equal(o Choice) bool {
	return c.Policy == o.Policy && c.Tier == o.Tier && slices.Equal(c.Members, o.Members)
}

// Choice returns what a policy uses; the zero Choice if the selection says nothing of it.
func (s Selection) Choice(policy int) Choice {
	for _, c := range s.Choices {
		if c.Policy == policy {
			return c
		}
	}
	return Choice{}
}

// choices chooses for each policy the lines of the most preferred order in which one is well. What is
// not judged yet keeps its place, as in Select; where no line is well nothing is kept, since the file
// says what is to be done.
func choices(cfg *config.Config, f config.Family, paths []Path, reports []health.Report, previous *Selection) []Choice {
	var all []Choice
	for _, policy := range cfg.Policies {
		var before []Member
		if previous != nil {
			before = previous.Choice(policy.Number).Members
		}
		choice := choose(&policy, f, paths, reports, before, carries)
		if len(choice.Members) == 0 && policy.LastResort == config.LastResortBlock {
			choice = choose(&policy, f, paths, reports, before, heldBack) // better than nothing
		}
		all = append(all, choice)
	}
	return all
}

// heldBack tells whether a path is well again, and only held back for having failed often.
func heldBack(p Path, r health.Report, _ []Member) bool {
	return p.Usable() && r.State == health.Down && !r.HeldUntil.IsZero()
}

// choose chooses among the ways of a policy those that fit.
func choose(policy *config.Policy, f config.Family, paths []Path, reports []health.Report, before []Member, fits func(Path, health.Report, []Member) bool) Choice {
	choice := Choice{Policy: policy.Number}
	var percents []int
	for _, w := range policy.Ways {
		if len(choice.Members) > 0 && w.Tier != choice.Tier {
			break // the ways are sorted by tier
		}
		i := pathOf(paths, w.Uplink, f)
		if i >= 0 && fits(paths[i], reports[i], before) {
			choice.Tier = w.Tier
			choice.Members, percents = append(choice.Members, Member{w.Uplink, w.Weight}), append(percents, reports[i].WeightPercent)
		}
	}
	reduce(choice.Members, percents)
	return choice
}

// policyRoutes are the contents of the tables of the policies' steers.
func policyRoutes(cfg *config.Config, obs *Observation, paths []Path, s Selection) []Route {
	var routes []Route
	for _, steer := range cfg.Steers {
		if steer.Policy == 0 {
			continue
		}
		policy := &cfg.Policies[steer.Policy-1]
		hops := policyHops(cfg, paths, s.Family, s.Choice(steer.Policy), steer)
		if len(hops) == 0 && policy.LastResort == config.LastResortBypass {
			hops = mainHops(obs, s.Family)
		}
		if len(hops) > 0 {
			routes = append(routes, spareRoutes(steer.Table, s.Family, hops)...)
		}
		if policy.LastResort != config.LastResortDefault {
			// What has no other way ends here at once, without a moment in which it could take one.
			routes = append(routes, deadEnd(steer.Table, s.Family))
		}
	}
	return routes
}

// policyHops are the next hops of one steer: its line while that is chosen, otherwise the chosen ones.
func policyHops(cfg *config.Config, paths []Path, f config.Family, c Choice, steer config.Steer) []NextHop {
	members := c.Members
	switch policy := &cfg.Policies[steer.Policy-1]; {
	case steer.Uplink == config.NoUplink:
	case c.Has(steer.Uplink):
		members = []Member{{steer.Uplink, 1}}
	case policy.Sticky != config.StickyNone:
		members = substitute(policy, c, steer.Uplink)
	}
	hops := memberHops(paths, Selection{Family: f, Members: members})
	if len(hops) == 0 {
		hops = memberHops(paths, Selection{Family: f, Members: c.Members})
	}
	return hops
}

// substitute takes the place of a line that is not chosen, for connections that belong together. Of a line that is
// lost it is one line, so that connections which begin in one moment stay together. Which one follows from the place
// of the lost line alone, so that several lost lines do not all burden the same. Where a better order carries again
// it is all lines of that: whoever was elsewhere meanwhile is to be shared by weight as before.
func substitute(policy *config.Policy, c Choice, lost int) []Member {
	if len(c.Members) == 0 {
		return nil
	}
	place := slices.IndexFunc(policy.Ways, func(w config.Way) bool { return w.Uplink == lost })
	if policy.Ways[place].Tier > c.Tier {
		return c.Members
	}
	return []Member{c.Members[place%len(c.Members)]}
}

// mainHops are the next hops of main's own default route that the kernel would take.
func mainHops(obs *Observation, f config.Family) []NextHop {
	var best *Route
	for i, r := range obs.Defaults {
		if r.Family == f && r.IsDefault() && r.Type == Unicast && len(r.NextHops) > 0 && (best == nil || r.Metric < best.Metric) {
			best = &obs.Defaults[i]
		}
	}
	if best == nil {
		return nil
	}
	return best.NextHops
}

// DealChoices returns the shares in which each policy deals connections of the selection's family to its
// lines in turn: all lines of the order that carries, or of the first one if none does, those of them too
// that are down now, as Deal does.
func DealChoices(cfg *config.Config, paths []Path, reports []health.Report, s Selection) []Choice {
	var all []Choice
	for i := range cfg.Policies {
		policy := &cfg.Policies[i]
		if policy.PerLine() && policy.Balance == config.BalanceRoundRobin {
			all = append(all, dealChoice(policy, paths, reports, s))
		}
	}
	return all
}

func dealChoice(policy *config.Policy, paths []Path, reports []health.Report, s Selection) Choice {
	dealt := Choice{Policy: policy.Number, Tier: policy.Ways[0].Tier}
	if c := s.Choice(policy.Number); len(c.Members) > 0 {
		dealt.Tier = c.Tier
	}
	var percents []int
	for _, w := range policy.Ways {
		i := pathOf(paths, w.Uplink, s.Family)
		if i >= 0 && w.Tier == dealt.Tier {
			dealt.Members, percents = append(dealt.Members, Member{w.Uplink, w.Weight}), append(percents, reports[i].WeightPercent)
		}
	}
	reduce(dealt.Members, percents)
	return dealt
}

// adoptChoices reads from the tables of the steers what the policies used in a previous run.
func adoptChoices(cfg *config.Config, f config.Family, have State) []Choice {
	var all []Choice
	for _, policy := range cfg.Policies {
		steer, ok := cfg.Steer(policy.Number, config.NoUplink)
		i := slices.IndexFunc(have.Routes, func(r Route) bool {
			return ok && r.Family == f && r.Table == steer.Table && r.IsDefault() && r.Type == Unicast && r.Protocol == RouteProtocol
		})
		if i < 0 {
			continue
		}
		choice := Choice{Policy: policy.Number}
		for _, w := range policy.Ways {
			used := slices.ContainsFunc(have.Routes[i].NextHops, func(h NextHop) bool { return h.Interface == cfg.Uplinks[w.Uplink].Interface })
			if used && (len(choice.Members) == 0 || choice.Tier == w.Tier) {
				choice.Tier, choice.Members = w.Tier, append(choice.Members, Member{w.Uplink, w.Weight})
			}
		}
		all = append(all, choice)
	}
	return all
}

// transferChoices finds policies again by their name, and uplinks by their interface.
func transferChoices(s Selection, from, to *config.Config) []Choice {
	var all []Choice
	for _, policy := range to.Policies {
		i := slices.IndexFunc(from.Policies, func(p config.Policy) bool { return p.Name == policy.Name })
		if i < 0 {
			continue
		}
		before, choice := s.Choice(from.Policies[i].Number), Choice{Policy: policy.Number}
		for _, w := range policy.Ways {
			used := slices.ContainsFunc(before.Members, func(m Member) bool { return from.Uplinks[m.Uplink].Interface == to.Uplinks[w.Uplink].Interface })
			if used && (len(choice.Members) == 0 || choice.Tier == w.Tier) {
				choice.Tier, choice.Members = w.Tier, append(choice.Members, Member{w.Uplink, w.Weight})
			}
		}
		all = append(all, choice)
	}
	return all
}
