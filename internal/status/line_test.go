package status_test

import (
	"fmt"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/status"
)

func TestLine(t *testing.T) {
	u := func(name string, state health.State, reason string, mode status.Mode) status.Uplink {
		return status.Uplink{Name: name, Mode: mode, Health: health.Report{State: state, Reason: reason}}
	}
	var many []status.Uplink
	for i := range 250 {
		many = append(many, u(fmt.Sprintf("line %d", i+1), health.Up, "", status.Auto))
	}
	for _, tt := range []struct {
		want string
		s    status.Snapshot
	}{
		{"2 of 2 uplinks up: a, b", status.Snapshot{Uplinks: []status.Uplink{u("a", health.Up, "", status.Auto), u("b", health.Up, "", status.Auto)}}},
		{"1 of 3 uplinks up: a (by hand); down: b (no carrier), c (by hand)", status.Snapshot{Uplinks: []status.Uplink{
			u("a", health.Up, "", status.ForcedUp), u("b", health.Down, "no carrier", status.Auto), u("c", health.Down, "taken out", status.ForcedDown),
		}}},
		{"0 of 1 uplink up; not judged yet: a", status.Snapshot{Uplinks: []status.Uplink{u("a", health.Unknown, "", status.Auto)}}},
		// What a server said must not become a message of its own.
		{"0 of 1 uplink up; down: a b (says  READY=1); the last default route stays", status.Snapshot{
			Uplinks: []status.Uplink{u("a\nb", health.Down, "says \nREADY=1", status.Auto)}, Kept: []config.Family{config.IPv4},
		}},
		{"250 of 250 uplinks up: line 1, line 2, line 3, line 4, line 5, line 6, line 7, line 8 and 242 more", status.Snapshot{Uplinks: many}},
	} {
		if got := status.Line(&tt.s); got != tt.want || strings.ContainsRune(got, '\n') {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
