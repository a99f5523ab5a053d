package status

import (
	"strings"
	"time"
)

// Event is something that happened to an uplink.
type Event struct {
	Time time.Time
	Text string // example "up --> down, routing --> standby"
}

// event returns what changed since previous, or, if nothing did, what was the latest before.
func (u Uplink) event(now time.Time, previous *Snapshot) Event {
	before, ok := previous.find(u)
	if !ok {
		return Event{}
	}
	was, is := before.values(), u.values()
	labels := [...]string{AddressChanged: "ip ", GatewayChanged: "gateway ", HealthChanged: "", RoutingChanged: "", FlappingChanged: "", WeightChanged: "weight "}
	var parts []string
	for kind := range is {
		if differ(was, is, Kind(kind)) {
			parts = append(parts, labels[kind]+was[kind]+" --> "+is[kind])
		}
	}
	if len(parts) == 0 {
		return before.Last
	}
	return Event{Time: now, Text: strings.Join(parts, ", ")}
}
