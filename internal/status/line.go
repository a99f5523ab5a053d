package status

import (
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
	"ftr/internal/health"
)

// mostNamed is how many uplinks a line names before it only counts them.
const mostNamed = 8

// Line says in one line which uplinks are up and which are not, for service managers; example
// "2 of 3 uplinks up: Fibre, Cable; down: LTE (no carrier)".
// Where there are several families, each has its part.
func Line(s *Snapshot) string {
	text := lineOf(s, config.IPv4)
	if slices.ContainsFunc(s.Uplinks, func(u Uplink) bool { return u.Family == config.IPv6 }) {
		return "IPv4: " + text + "; IPv6: " + lineOf(s, config.IPv6)
	}
	return text
}

func lineOf(s *Snapshot, f config.Family) string {
	var up, down, open []string
	for _, u := range s.Uplinks {
		if (u.Family == config.IPv6) != (f == config.IPv6) {
			continue
		}
		name := clean(u.Name)
		switch {
		case u.Health.State == health.Up && u.Mode == ForcedUp:
			up = append(up, name+" (by hand)")
		case u.Health.State == health.Up:
			up = append(up, name)
		case u.Health.State == health.Unknown:
			open = append(open, name)
		case u.Mode == ForcedDown:
			down = append(down, name+" (by hand)")
		default:
			down = append(down, name+" ("+clean(u.Health.Reason)+")")
		}
	}
	text := fmt.Sprintf("%d of %s up", len(up), count(len(up)+len(down)+len(open), "uplink"))
	if len(up) > 0 {
		text += ": " + named(up)
	}
	if len(down) > 0 {
		text += "; down: " + named(down)
	}
	if len(open) > 0 {
		text += "; not judged yet: " + named(open)
	}
	if slices.Contains(s.Kept, f) {
		text += "; the last default route stays"
	}
	return text
}

// named lists the first of many.
func named(list []string) string {
	if more := len(list) - mostNamed; more > 0 {
		return strings.Join(list[:mostNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(list, ", ")
}
