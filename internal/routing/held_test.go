package routing_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/routing"
)

// What stands where a route of ours was before is put right, whoever wrote it; before that, and at other
// places, it is left alone.
func TestPlanHeldPlaces(t *testing.T) {
	static := via(1, 4, 0, hop("eth9", "10.0.0.1"))
	blackhole := static
	blackhole.Type, blackhole.NextHops, blackhole.Other = 6, nil, true
	elsewhere := via(1, 4, 100, hop("eth9", "10.0.0.1"))
	const ours = "ip route replace default via 192.0.2.1 dev eth1 src 192.0.2.2 table 1 protocol 117\n"
	for _, tt := range []struct {
		name        string
		there       func(ours routing.Route) []routing.Route // in its place
		held, never string                                   // the plan if ours was there, and if not
		reported    int                                      // warnings where it was
	}{
		{"replaced", func(routing.Route) []routing.Route { return []routing.Route{static} }, ours, "", 0},
		{"replaced by another type", func(routing.Route) []routing.Route { return []routing.Route{blackhole} }, ours, "", 0},
		{"prepended", func(r routing.Route) []routing.Route { return []routing.Route{static, r} },
			"ip route delete default via 10.0.0.1 dev eth9 table 1 protocol 4\n", "", 0},
		{"appended: it is not used", func(r routing.Route) []routing.Route { return []routing.Route{r, static} }, "", "", 1},
		{"at another metric", func(r routing.Route) []routing.Route { return []routing.Route{r, elsewhere} }, "", "", 1},
		{"gone", func(routing.Route) []routing.Route { return nil }, ours, ours, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, obs := settled(modern, routing.State{})
			obs.Links = append(obs.Links, link("lan0"))
			want := desire(cfg, obs)
			held := routing.Places{}
			held.Write(cfg, obs.Have, want)
			i := slices.IndexFunc(obs.Have.Routes, func(r routing.Route) bool { return r.Table == 1 && r.Metric == 0 })
			obs.Have.Routes = slices.Replace(obs.Have.Routes, i, i+1, tt.there(obs.Have.Routes[i])...)

			obs.Have.Held = held
			if diff := cmp.Diff(tt.held, lines(routing.Plan(cfg, obs.Have, want))); diff != "" {
				t.Errorf("Plan where ours was (-want +got):\n%s", diff)
			}
			if ws := routing.Inspect(cfg, obs); len(ws) != tt.reported {
				t.Errorf("%d warnings, want %d: %v", len(ws), tt.reported, ws)
			}

			obs.Have.Held = routing.Places{}
			obs.Have.Held.Write(cfg, obs.Have, want) // a start with this: it is noted what is ours
			if diff := cmp.Diff(tt.never, lines(routing.Plan(cfg, obs.Have, want))); diff != "" {
				t.Errorf("Plan where ours never was (-want +got):\n%s", diff)
			}
		})
	}
}

// A route of others in the table of a line that cannot carry now is not ours to remove, so it is told.
func TestInspectHeldPlaceOfUnusableLine(t *testing.T) {
	cfg, obs := settled(modern, routing.State{})
	held := routing.Places{}
	held.Write(cfg, obs.Have, desire(cfg, obs))
	obs.Have.Held = held
	obs.Links[0].Addresses, obs.Links[0].Up = nil, false
	obs.Have.Routes = slices.DeleteFunc(obs.Have.Routes, func(r routing.Route) bool { return r.Table == 1 && r.Metric == 0 })
	obs.Have.Routes = append(obs.Have.Routes, via(1, 4, 0, hop("eth9", "10.0.0.1")))
	told := slices.ContainsFunc(routing.Inspect(cfg, obs), func(w routing.Warning) bool { return w.Code == "table-taken" })
	if !told {
		t.Error("the route is not reported")
	}
	for _, s := range routing.Plan(cfg, obs.Have, desire(cfg, obs)) {
		if s.Route != nil && s.Route.Table == 1 {
			t.Errorf("the route is touched: %s", s)
		}
	}
}
