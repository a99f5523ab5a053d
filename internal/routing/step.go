package routing

import (
	"fmt"
	"strings"

	"ftr/internal/config"
)

// Op is what a step does.
type Op uint8

// The operations. "Already there" and "already gone" are success for whoever applies them.
const (
	Add     Op = iota // create
	Replace           // create, or change in place what has the same table, destination and metric
	Delete            // remove exactly this
	Set               // write a sysctl
)

// Step is one change of the kernel's state. Exactly one of Route, Rule and Sysctl is set.
type Step struct {
	Op     Op
	Route  *Route
	Rule   *Rule
	Sysctl *Sysctl
	Old    string // Set: the value found, for saving and for people
}

// String returns the step as a command line of ip(8) or sysctl(8) that does the same.
func (s Step) String() string {
	switch {
	case s.Route != nil:
		return ipCommand(s.Route.Family) + "route " + s.Op.String() + " " + s.Route.String()
	case s.Rule != nil:
		return ipCommand(s.Rule.Family) + "rule " + s.Op.String() + " " + s.Rule.String()
	case s.Sysctl != nil:
		return "sysctl -w " + s.Sysctl.Key + "=" + s.Sysctl.Value
	default:
		return ""
	}
}

// String returns the verb of ip(8).
func (o Op) String() string { return [...]string{"add", "replace", "delete", "set"}[o] }

func ipCommand(f config.Family) string {
	if f == config.IPv6 {
		return "ip -6 "
	}
	return "ip "
}

// String returns the route in the words of ip-route(8); " ..." follows where it has more (Other).
func (r Route) String() string {
	var b strings.Builder
	b.WriteString(r.Type.words())
	if r.IsDefault() {
		b.WriteString("default")
	} else {
		b.WriteString(r.Destination.String())
	}
	if len(r.NextHops) == 1 {
		b.WriteString(r.NextHops[0].words())
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Source)
	}
	fmt.Fprintf(&b, " table %d", r.Table)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.Protocol != 0 {
		fmt.Fprintf(&b, " protocol %d", r.Protocol)
	}
	if len(r.NextHops) > 1 {
		for _, h := range r.NextHops {
			fmt.Fprintf(&b, " nexthop%s weight %d", h.words(), h.Weight)
		}
	}
	b.WriteString(more(r.Other))
	return b.String()
}

// words are those of ip-route(8) before the destination, with the number of a type that has no use here.
func (t RouteType) words() string {
	switch t {
	case Unicast:
		return ""
	case 6:
		return "blackhole "
	case Unreachable:
		return "unreachable "
	case 8:
		return "prohibit "
	case 9:
		return "throw "
	default:
		return fmt.Sprintf("type %d ", t)
	}
}

func (h NextHop) words() string {
	var b strings.Builder
	if h.Gateway.IsValid() {
		fmt.Fprintf(&b, " via %s", h.Gateway)
	}
	fmt.Fprintf(&b, " dev %s", h.Interface)
	if h.OnLink {
		b.WriteString(" onlink")
	}
	return b.String()
}

// String returns the rule in the words of ip-rule(8); " ..." follows where it has more (Other).
func (r Rule) String() string {
	var b strings.Builder
	if r.From.IsValid() {
		from := r.From.String()
		if r.From.IsSingleIP() {
			from = r.From.Addr().String()
		}
		fmt.Fprintf(&b, "from %s", from)
	} else {
		b.WriteString("from all")
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark 0x%x/0x%x", r.Mark, r.Mask)
	}
	b.WriteString(r.selectors())
	fmt.Fprintf(&b, " lookup %d", r.Table)
	if r.SuppressPrefixLength != NoSuppress {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.SuppressPrefixLength)
	}
	fmt.Fprintf(&b, " priority %d", r.Priority)
	if r.Protocol != 0 {
		fmt.Fprintf(&b, " protocol %d", r.Protocol)
	}
	b.WriteString(more(r.Other))
	return b.String()
}

// selectors are the words for what narrow rules match.
func (r Rule) selectors() string {
	var b strings.Builder
	if r.Local {
		b.WriteString(" iif lo")
	}
	if r.Output != "" {
		fmt.Fprintf(&b, " oif %s", r.Output)
	}
	switch r.Transport {
	case 0:
	case udp:
		b.WriteString(" ipproto udp")
	default:
		fmt.Fprintf(&b, " ipproto %d", r.Transport)
	}
	if r.SourcePort != 0 {
		fmt.Fprintf(&b, " sport %d", r.SourcePort)
	}
	return b.String()
}

// more ends the text of a rule or route of somebody else that says less than there is.
func more(other bool) string {
	if other {
		return " ..."
	}
	return ""
}
