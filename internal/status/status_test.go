package status_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
)

func two() *config.Config {
	return &config.Config{Uplinks: []config.Uplink{
		{Index: 0, Name: "Provider 1", Interface: "eth1", Grouped: true, Group: 1, Weight: 2},
		{Index: 1, Name: "Provider 2", Interface: "ppp0", Grouped: true, Group: 1, Weight: 1},
	}}
}

// line is the state of one uplink in a test's cycle.
type line struct {
	address, gateway string
	state            health.State
	reason           string
	routing          bool
}

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func take(previous *status.Snapshot, kept bool, lines ...line) *status.Snapshot {
	cfg := two()
	selection := routing.Selection{Family: config.IPv4, Kept: kept}
	var paths []routing.Path
	var reports []health.Report
	for i, l := range lines {
		paths = append(paths, routing.Path{
			Uplink: i, Family: config.IPv4, Interface: cfg.Uplinks[i].Interface,
			Source: addr(l.address), Gateway: addr(l.gateway),
		})
		reports = append(reports, health.Report{State: l.state, Reason: l.reason})
		if l.routing {
			selection.Members = append(selection.Members, routing.Member{Uplink: i, Weight: cfg.Uplinks[i].Weight})
		}
	}
	return status.Take(time.Unix(0, 0), cfg, paths, reports, []routing.Selection{selection}, nil, previous)
}

var (
	well1    = line{"192.0.2.2", "192.0.2.1", health.Up, "6 of 6 targets answer", true}
	dead1    = line{"192.0.2.2", "192.0.2.1", health.Down, "6 of 6 targets silent for 0.3 s", false}
	unknown1 = line{"192.0.2.2", "192.0.2.1", health.Unknown, "not asked yet", true}
	well2    = line{"10.0.0.2", "10.0.0.1", health.Up, "6 of 6 targets answer", true}
	absent2  = line{"", "", health.Down, "no address", false}
	moved2   = line{"10.9.9.9", "10.9.9.1", health.Up, "6 of 6 targets answer", true}
	dead2    = line{"10.0.0.2", "10.0.0.1", health.Down, "no carrier", true}
)

func TestMessage(t *testing.T) {
	for _, tt := range []struct {
		name         string
		before       []line
		after        []line
		kept         bool
		message      string
		changes      int
		healthReason string
	}{
		{
			name: "nothing", before: []line{well1, well2}, after: []line{well1, well2},
			message: "Uplink Provider 1 (eth1): ip 192.0.2.2, gateway 192.0.2.1, up, routing\n" +
				"Uplink Provider 2 (ppp0): ip 10.0.0.2, gateway 10.0.0.1, up, routing\n",
		},
		{
			name: "silent failure", before: []line{well1, well2}, after: []line{dead1, well2}, changes: 2,
			healthReason: "6 of 6 targets silent for 0.3 s",
			message: "Uplink Provider 1 (eth1): ip 192.0.2.2, gateway 192.0.2.1, up --> down, routing --> standby (6 of 6 targets silent for 0.3 s)\n" +
				"Uplink Provider 2 (ppp0): ip 10.0.0.2, gateway 10.0.0.1, up, routing\n",
		},
		{
			name: "still down keeps its reason", before: []line{dead1, well2}, after: []line{dead1, moved2}, changes: 2,
			message: "Uplink Provider 1 (eth1): ip 192.0.2.2, gateway 192.0.2.1, down, standby (6 of 6 targets silent for 0.3 s)\n" +
				"Uplink Provider 2 (ppp0): ip 10.0.0.2 --> 10.9.9.9, gateway 10.0.0.1 --> 10.9.9.1, up, routing\n",
		},
		{
			name: "address comes", before: []line{well1, absent2}, after: []line{well1, well2}, changes: 4,
			healthReason: "6 of 6 targets answer",
			message: "Uplink Provider 1 (eth1): ip 192.0.2.2, gateway 192.0.2.1, up, routing\n" +
				"Uplink Provider 2 (ppp0): ip none --> 10.0.0.2, gateway none --> 10.0.0.1, down --> up, standby --> routing (6 of 6 targets answer)\n",
		},
		{
			name: "all dead", before: []line{dead1, well2}, after: []line{dead1, dead2}, kept: true, changes: 1,
			healthReason: "no carrier",
			message: "Uplink Provider 1 (eth1): ip 192.0.2.2, gateway 192.0.2.1, down, standby (6 of 6 targets silent for 0.3 s)\n" +
				"Uplink Provider 2 (ppp0): ip 10.0.0.2, gateway 10.0.0.1, up --> down, routing (no carrier)\n" +
				"No uplink is well: the last default route stays until one is.\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := take(nil, false, tt.before...)
			after := take(before, tt.kept, tt.after...)
			if diff := cmp.Diff(tt.message, status.Message(before, after)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			changes := status.Changes(before, after)
			if len(changes) != tt.changes {
				t.Errorf("%d changes, want %d: %+v", len(changes), tt.changes, changes)
			}
			for _, c := range changes {
				if c.Old == c.New {
					t.Errorf("a change that is none: %+v", c)
				}
				if c.Kind == status.HealthChanged && c.Reason != tt.healthReason {
					t.Errorf("reason %q, want %q", c.Reason, tt.healthReason)
				}
			}
		})
	}
}

// Nobody is told that a line is not judged yet, neither at the start nor after it moved.
func TestUnknownIsNoChange(t *testing.T) {
	start := take(nil, false, unknown1, well2)
	if got, want := status.Initial(start), "Initial default route uplinks: Provider 1, Provider 2"; got != want {
		t.Errorf("initial line %q, want %q", got, want)
	}
	if changes := status.Changes(start, take(start, false, well1, well2)); len(changes) != 0 {
		t.Errorf("judged up for the first time: %+v", changes)
	}
	dead := take(start, false, dead1, well2)
	again := take(dead, false, line{"192.0.2.2", "192.0.2.1", health.Unknown, "not asked yet", false}, well2)
	if changes := status.Changes(dead, again); len(changes) != 0 {
		t.Errorf("a dead line that is not judged anew: %+v", changes)
	}
	if changes := status.Changes(again, take(again, false, well1, well2)); len(changes) != 2 {
		t.Errorf("up after all gives %+v, want health and routing", changes)
	}
}

// A line of bad quality is told with what remains of its weight, and its share.
func TestDegradedIsTold(t *testing.T) {
	const limit = "round trips take 412 ms, the limit is 400 ms"
	degraded := func(previous *status.Snapshot, l line, percent, weight int) *status.Snapshot {
		s := take(previous, false, l, well2)
		if s.Uplinks[0].Health.WeightPercent = percent; percent != 100 {
			s.Uplinks[0].Health.Degraded = limit
		}
		if s.Uplinks[0].Routing {
			s.Uplinks[0].Weight = weight
		}
		return s
	}
	well := degraded(nil, well1, 100, 2)
	bad := degraded(well, well1, 25, 1)
	want := []status.Change{{Uplink: "Provider 1", Family: config.IPv4, Kind: status.WeightChanged, Old: "100 %", New: "25 %", Reason: limit}}
	if diff := cmp.Diff(want, status.Changes(well, bad)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name         string
		before, next *status.Snapshot
		line         string
		changes      int
	}{
		{"begins", well, bad, "up, routing, weight 100 % --> 25 %: 50 % of the new connections (" + limit + ")", 1},
		{"stays", bad, bad, "up, routing, weight 25 %: 50 % of the new connections (" + limit + ")", 0},
		{"ends", bad, well, "up, routing, weight 25 % --> 100 %: 67 % of the new connections\n", 1},
		{"goes down", bad, degraded(bad, dead1, 100, 0), "up --> down, routing --> standby (6 of 6 targets silent for 0.3 s)", 2},
	} {
		if n := len(status.Changes(tt.before, tt.next)); n != tt.changes {
			t.Errorf("%s: %d changes, want %d", tt.name, n, tt.changes)
		}
		if text := status.Message(tt.before, tt.next); !strings.Contains(text, tt.line) {
			t.Errorf("%s: %s", tt.name, text)
		}
	}
}

func TestInitialWithoutUplink(t *testing.T) {
	none := take(nil, false, dead1, absent2)
	if got, want := status.Initial(none), "Initial default route uplinks: none can be used now"; got != want {
		t.Errorf("initial line %q, want %q", got, want)
	}
}

// An uplink that a new configuration brings or takes away is no change of a line.
func TestOtherUplinksAreNoChange(t *testing.T) {
	one, both := take(nil, false, well1), take(nil, false, well1, well2)
	if changes := append(status.Changes(one, both), status.Changes(both, one)...); len(changes) != 0 {
		t.Errorf("changes %+v, want none", changes)
	}
	if changes := status.Changes(nil, both); len(changes) != 0 {
		t.Errorf("changes since nothing: %+v", changes)
	}
}

func TestWeightAndWords(t *testing.T) {
	s := take(nil, false, well1, absent2)
	if s.Uplinks[0].Weight != 2 || s.Uplinks[1].Weight != 0 || s.Uplinks[1].Routing {
		t.Errorf("weights %d and %d, want 2 and 0", s.Uplinks[0].Weight, s.Uplinks[1].Weight)
	}
	if kept := take(nil, true, well1, absent2).Kept; len(kept) != 1 || len(s.Kept) != 0 {
		t.Errorf("kept selections: %v and %v", kept, s.Kept)
	}
}

// What a flapping line does is told at the beginning and at the end.
func TestFlappingIsToldOnce(t *testing.T) {
	flapping := func(previous *status.Snapshot, l line, flaps bool) *status.Snapshot {
		s := take(previous, false, l, well2)
		s.Uplinks[0].Health.Flapping, s.Uplinks[0].Health.Flaps = flaps, 5
		s.Uplinks[0].Health.FirstFlap = s.Time.Add(-2 * time.Minute)
		return s
	}
	steady := flapping(nil, well1, false)
	begins := flapping(steady, dead1, true)
	if n := len(status.Changes(steady, begins)); n != 3 {
		t.Errorf("%d changes at the beginning, want health, routing and that it flaps", n)
	}
	if text := status.Message(steady, begins); !strings.Contains(text, "up --> down, routing --> standby (flapping: 5 times down in 2 min)") {
		t.Errorf("message: %s", text)
	}
	again := flapping(begins, well1, true)
	if changes := status.Changes(begins, again); len(changes) != 0 {
		t.Errorf("while it flaps: %+v", changes)
	}
	over := flapping(again, well1, false)
	if n := len(status.Changes(again, over)); n != 1 {
		t.Errorf("%d changes at the end, want one", n)
	}
	if text := status.Message(again, over); !strings.Contains(text, "up, routing (it flaps no longer)") {
		t.Errorf("message: %s", text)
	}
}
