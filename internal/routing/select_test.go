package routing_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

const (
	unknown = health.Unknown
	up      = health.Up
	down    = health.Down
)

// grouped is an uplink with a group (0: none) and a weight.
func grouped(group, weight int) config.Uplink {
	return config.Uplink{Interface: "any", Grouped: group != 0, Group: group, Weight: weight}
}

// judged are reports of paths of full quality.
func judged(states []health.State) []health.Report {
	reports := make([]health.Report, len(states))
	for i, s := range states {
		reports[i] = health.Report{State: s, WeightPercent: 100}
	}
	return reports
}

func selection(members ...routing.Member) routing.Selection {
	return routing.Selection{Family: config.IPv4, Members: members}
}

func kept(members ...routing.Member) routing.Selection {
	s := selection(members...)
	s.Kept = true
	return s
}

func TestSelect(t *testing.T) {
	// Two in group 1, one in group 2, one without.
	uplinks := []config.Uplink{grouped(1, 1), grouped(2, 5), grouped(1, 3), grouped(0, 1)}
	fast, spare := []routing.Member{{Uplink: 0, Weight: 1}, {Uplink: 2, Weight: 3}}, routing.Member{Uplink: 1, Weight: 5}
	ptr := func(s routing.Selection) *routing.Selection { return &s }
	tests := []struct {
		name     string
		states   []health.State
		unusable map[int]bool
		previous *routing.Selection
		want     routing.Selection
	}{
		{"all up: the best group with its weights", []health.State{up, up, up, up}, nil, nil, selection(fast...)},
		{"one of the group down", []health.State{down, up, up, up}, nil, ptr(selection(fast...)), selection(fast[1])},
		{"one of the group unusable", []health.State{up, up, up, up}, map[int]bool{2: true}, ptr(selection(fast...)), selection(fast[0])},
		{"group down: the next", []health.State{down, up, down, up}, nil, ptr(selection(fast...)), selection(spare)},
		{"group back: back", []health.State{up, up, down, up}, nil, ptr(selection(spare)), selection(fast[0])},
		{"never the one without group", []health.State{down, down, down, up}, nil, ptr(selection(spare)), kept(spare)},
		{"all down: the last stays", []health.State{down, down, down, down}, nil, ptr(selection(fast...)), kept(fast...)},
		{"all down again", []health.State{down, down, down, down}, nil, ptr(kept(fast...)), kept(fast...)},
		{"one back after all were down", []health.State{down, down, up, down}, nil, ptr(kept(fast...)), selection(fast[1])},
		{"start: unknown counts as well", []health.State{unknown, unknown, unknown, unknown}, nil, nil, selection(fast...)},
		{"start: unknown of a better group before up", []health.State{unknown, up, down, up}, nil, nil, selection(fast[0])},
		{"after adoption: unknown keeps its place", []health.State{unknown, unknown, unknown, unknown}, nil, ptr(selection(fast[1])), selection(fast[1])},
		{"after adoption: up joins", []health.State{up, unknown, unknown, unknown}, nil, ptr(selection(fast[1])), selection(fast...)},
		{"after adoption: up of a better group takes over", []health.State{up, unknown, unknown, unknown}, nil, ptr(selection(spare)), selection(fast[0])},
		{"first start, nothing usable", []health.State{unknown, unknown, unknown, unknown}, map[int]bool{0: true, 1: true, 2: true, 3: true}, nil, selection()},
		{"still nothing usable", []health.State{unknown, unknown, unknown, unknown}, map[int]bool{0: true, 1: true, 2: true, 3: true}, ptr(selection()), selection()},
		{"first usable one, not judged yet", []health.State{unknown, unknown, unknown, unknown}, map[int]bool{0: true, 2: true}, ptr(selection()), selection(spare)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configure(modern, uplinks...)
			paths := make([]routing.Path, len(uplinks))
			for i := range paths {
				paths[i] = routing.Path{Uplink: i, Family: config.IPv4}
				if tt.unusable[i] {
					paths[i].Problem = "no carrier"
				}
			}
			got := routing.Select(cfg, config.IPv4, paths, judged(tt.states), tt.previous)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Select (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelectJudgesOneFamily(t *testing.T) {
	cfg := configure(modern, grouped(1, 1))
	paths := []routing.Path{{Family: config.IPv4}, {Family: config.IPv6}}
	got := routing.Select(cfg, config.IPv6, paths, judged([]health.State{up, down}), nil)
	if diff := cmp.Diff(routing.Selection{Family: config.IPv6}, got); diff != "" {
		t.Errorf("Select (-want +got):\n%s", diff)
	}
}

// What bad quality leaves of the weights is in proportion to the others, in whole numbers that the kernel
// can keep.
func TestSelectReducesWeights(t *testing.T) {
	for _, tt := range []struct {
		name              string
		weights, percents []int
		want              []int
	}{
		{"nobody", []int{3, 6}, []int{100, 100}, []int{3, 6}},
		{"0 says nothing", []int{3, 6}, []int{0, 100}, []int{3, 6}},
		{"one of two equal ones", []int{1, 1}, []int{25, 100}, []int{1, 4}},
		{"the heavier one", []int{1, 2}, []int{100, 25}, []int{2, 1}},
		{"one in a hundred", []int{1, 1}, []int{1, 100}, []int{1, 100}},
		{"all alike: no share changes", []int{2, 6}, []int{25, 25}, []int{2, 6}},
		{"all, but not alike", []int{1, 1, 1}, []int{50, 25, 100}, []int{2, 1, 4}},
		{"exact at the limit", []int{256, 64}, []int{100, 25}, []int{16, 1}},
		{"one alone", []int{7}, []int{25}, []int{7}},
		{"rounded", []int{256, 3}, []int{100, 33}, []int{256, 1}},
		{"rounded, at least 1", []int{256, 1}, []int{100, 1}, []int{256, 1}},
		{"rounded to the nearest", []int{255, 254}, []int{100, 77}, []int{256, 196}},
		{"greatest weights", []int{256, 256, 256}, []int{100, 99, 98}, []int{100, 99, 98}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var uplinks []config.Uplink
			var paths []routing.Path
			var reports []health.Report
			var want []routing.Member
			for i, w := range tt.weights {
				uplinks = append(uplinks, grouped(1, w))
				paths = append(paths, routing.Path{Uplink: i, Family: config.IPv4})
				reports = append(reports, health.Report{State: up, WeightPercent: tt.percents[i]})
				want = append(want, routing.Member{Uplink: i, Weight: tt.want[i]})
			}
			// What is degraded in a group that does not carry is of no weight.
			uplinks, paths = append(uplinks, grouped(2, 1)), append(paths, routing.Path{Uplink: len(paths), Family: config.IPv4})
			reports = append(reports, health.Report{State: up, WeightPercent: 10})
			got := routing.Select(configure(modern, uplinks...), config.IPv4, paths, reports, nil)
			if diff := cmp.Diff(want, got.Members); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelectionEqual(t *testing.T) {
	a := selection(routing.Member{Uplink: 0, Weight: 1})
	b := kept(routing.Member{Uplink: 0, Weight: 1})
	if !a.Equal(b) {
		t.Error("kept is the same selection")
	}
	if a.Equal(selection(routing.Member{Uplink: 0, Weight: 2})) || a.Equal(selection()) || a.Equal(routing.Selection{Family: config.IPv6, Members: a.Members}) {
		t.Error("another share, member or family is another selection")
	}
}

func TestAdopt(t *testing.T) {
	one := static("wan0", "192.0.2.2", "192.0.2.1")
	two := static("wan1", "198.51.100.2", "198.51.100.1")
	two.Weight = 4
	loose := static("wan2", "203.0.113.2", "203.0.113.1")
	loose.Grouped = false
	cfg := configure(modern, one, two, loose) // the default table is 4
	m1 := routing.Member{Uplink: 1, Weight: 4}
	tests := []struct {
		name   string
		routes []routing.Route
		want   *routing.Selection
	}{
		{"nothing", nil, nil},
		{"multipath, in the order of the configuration and with the weights of the kernel", []routing.Route{via(4, 117, 0, weighted("wan1", "198.51.100.1", 3), weighted("wan0", "192.0.2.1", 7))}, &routing.Selection{Family: config.IPv4, Members: []routing.Member{{Uplink: 0, Weight: 7}, {Uplink: 1, Weight: 3}}}},
		{"the original's plain default", []routing.Route{via(4, 3, 0, hop("wan1", "198.51.100.1"))}, &routing.Selection{Family: config.IPv4, Members: []routing.Member{m1}}},
		{"somebody else's default", []routing.Route{via(4, 4, 1, hop("wan1", "198.51.100.1")), via(4, 16, 0, hop("wan0", "192.0.2.1"))}, nil},
		{"another table", []routing.Route{via(1, 117, 0, hop("wan0", "192.0.2.1"))}, nil},
		{"a line's route in a table that was once the line's", []routing.Route{withSource(via(4, 117, 0, hop("wan0", "192.0.2.1")), "192.0.2.2"), deadEnd(4)}, nil},
		{"interfaces of others, and one without group", []routing.Route{via(4, 117, 0, hop("eth7", "192.0.2.1"), hop("wan2", "203.0.113.1"))}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, routing.Adopt(cfg, config.IPv4, routing.State{Routes: tt.routes})); diff != "" {
				t.Errorf("Adopt (-want +got):\n%s", diff)
			}
		})
	}
}
