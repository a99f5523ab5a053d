package firewall

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ftr/internal/config"
)

// lead sends first packets of what the router itself connects to, to the policies for that. The kernel looks
// for their way anew when a chain of type route has changed their mark. Who has chosen a line by its mark, or
// wants to be left alone, is.
func (m *managed) lead() []string {
	if !m.leadsOwn() {
		return nil
	}
	var marks []string
	for _, u := range m.cfg.Uplinks {
		marks = append(marks, fmt.Sprintf("%#x", u.Mark))
	}
	n := m.cfg.Numbers
	return []string{
		"ct state != new accept",
		`oifname "lo" accept`,
		"udp sport { 68, 546 } accept", // a lease is renewed where it is from (RFC 2131, RFC 8415)
		fmt.Sprintf("meta mark & %#x == %#x accept", n.SteerMask, n.Unsteered()),
		fmt.Sprintf("meta mark & %#x %s accept", n.Mask, anyOf(marks)),
		"goto own",
	}
}

func (m *managed) leadsOwn() bool {
	return slices.ContainsFunc(m.cfg.Policies, func(p config.Policy) bool { return p.Match.Own })
}

// own is the chain of the policies for the router's own connections.
func (m *managed) own() {
	if m.leadsOwn() {
		m.chain("own", "", m.choose(true)...)
	}
}

// owner is a match of those who send, and a comment for the end of the rule.
type owner struct{ text, comment string }

// owners writes what a match says of those who send, as alternatives. A control group that is not there cannot
// be named in a rule. The number of one that is stands in a comment, so that the rule is made anew for another
// group that takes its place.
func owners(match *config.Match) []owner {
	var users []string
	for _, u := range match.Users {
		users = append(users, strconv.FormatUint(uint64(u.ID), 10))
	}
	var by string
	if len(users) > 0 {
		by = "meta skuid " + anyOf(distinct(users))
	}
	if len(match.Cgroups) == 0 {
		return []owner{{text: by}}
	}
	var all []owner
	for _, g := range match.Cgroups {
		if g.ID != 0 {
			level := strings.Count(g.Path, "/") + 1
			all = append(all, owner{words(by, fmt.Sprintf("socket cgroupv2 level %d %q", level, g.Path)), fmt.Sprintf("comment \"control group %d\"", g.ID)})
		}
	}
	return all
}

// distinct sorts words and takes each once.
func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
