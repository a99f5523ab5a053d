package status

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Overall is the state of all uplinks together, in one word.
type Overall string

// The overall states.
const (
	OK       Overall = "ok"       // all that is wanted of the uplinks holds
	Degraded Overall = "degraded" // something needs attention, new connections work
	Failed   Overall = "down"     // no uplink is known to work
)

// View is a snapshot as programs read it, in JSON. Fields are added in later versions, and neither
// renamed nor removed. Times are RFC 3339 in UTC, durations are seconds. Lists are never null.
type View struct {
	Version string    `json:"version"` // of the program
	Started time.Time `json:"started"` // the daemon's start
	Time    time.Time `json:"time"`    // of the snapshot
	State   Overall   `json:"state"`
	Summary string    `json:"summary"` // the reason of State in a sentence
	// Problems are what keeps State from being "ok", each in a few words.
	Problems      []string          `json:"problems"`
	Configuration ConfigurationView `json:"configuration"`
	Uplinks       []UplinkView      `json:"uplinks"`    // one per uplink and family, as configured
	Selections    []SelectionView   `json:"selections"` // one per family
	Warnings      []WarningView     `json:"warnings"`
}

// ConfigurationView is Configuration in JSON.
type ConfigurationView struct {
	File   string     `json:"file"`
	Loaded *time.Time `json:"loaded"` // null: unknown
	Error  *LoadView  `json:"error"`  // null: the file was put in force
	// Restart says, each in a sentence, what of it is not in force before the daemon is started again.
	Restart []string `json:"needs_restart"`
}

// LoadView is a LoadError in JSON.
type LoadView struct {
	Time     *time.Time    `json:"time"`
	Message  string        `json:"message"`
	Problems []ProblemView `json:"problems"`
}

// ProblemView is a config.Problem in JSON. It never holds a secret.
type ProblemView struct {
	Severity string `json:"severity"` // "error" or "warning"
	Line     int    `json:"line"`     // from 1; 0: the file as a whole
	Column   int    `json:"column"`   // from 1; 0: the file as a whole
	Key      string `json:"key"`      // example "uplinks[1].weight"
	Text     string `json:"text"`     // all of it in one line
	Shown    string `json:"shown"`    // for a terminal: with the line of the file and a caret
}

// UplinkView is an uplink in one family, in JSON.
type UplinkView struct {
	Name      string      `json:"name"`
	Interface string      `json:"interface"`
	Family    string      `json:"family"` // "IPv4" or "IPv6"
	Mode      Mode        `json:"mode"`
	State     string      `json:"state"` // "up", "down" or "unknown"
	Since     *time.Time  `json:"since"`
	Reason    string      `json:"reason"`
	InDoubt   bool        `json:"in_doubt"`       // an answer is missing, all targets are being asked
	Degraded  string      `json:"degraded"`       // which limit of quality is exceeded; empty: none
	Flapping  bool        `json:"flapping"`       // goes down and up again and again
	Flaps     int         `json:"flaps"`          // times down, as far as not forgotten; each lengthens the hold-down
	HeldUntil *time.Time  `json:"held_until"`     // well again, but not up before; null: not so
	RTT       *float64    `json:"rtt_seconds"`    // null: not measured
	Jitter    *float64    `json:"jitter_seconds"` // null: not measured
	Loss      *float64    `json:"loss"`           // 0 to 1; null: not measured
	Group     *int        `json:"priority_group"` // null: never used for new outgoing connections
	Weight    int         `json:"weight"`         // as configured
	Percent   int         `json:"weight_percent"` // what the quality leaves of the weight
	Metered   bool        `json:"metered"`
	Carries   bool        `json:"carries"` // takes new outgoing connections
	Share     float64     `json:"share"`   // of the new outgoing connections of its family, 0 to 1
	Address   *netip.Addr `json:"address"`
	Gateway   *netip.Addr `json:"gateway"` // null: none known, or a point-to-point link that needs none
	Last      *EventView  `json:"last_change"`
}

// EventView is an Event in JSON.
type EventView struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// SelectionView says which uplinks take the new outgoing connections of a family.
type SelectionView struct {
	Family string `json:"family"`
	// Kept: no uplink is well, these are the last ones that were.
	Kept    bool         `json:"kept"`
	Members []MemberView `json:"uplinks"`
	// Own carry what the router itself sends, where some lines are tunnels; empty: the same as all else.
	Own  []MemberView `json:"own"`
	Text string       `json:"text"` // in a sentence
}

// MemberView is an uplink with its part in a selection.
type MemberView struct {
	Name      string  `json:"name"`
	Interface string  `json:"interface"`
	Share     float64 `json:"share"` // 0 to 1
}

// WarningView is a routing.Warning in JSON.
type WarningView struct {
	Code    string `json:"code"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Cure    string `json:"cure"`
	Error   bool   `json:"error"` // the configuration cannot work so
}

// NewView makes the view of a snapshot. version and started are the daemon's.
func NewView(s *Snapshot, version string, started time.Time) View {
	v := View{
		Version: version, Started: instant(started), Time: instant(s.Time),
		Configuration: s.Configuration.view(),
		Uplinks:       []UplinkView{}, Selections: []SelectionView{}, Warnings: []WarningView{},
	}
	var families []config.Family
	for _, u := range s.Uplinks {
		if !slices.Contains(families, u.Family) {
			families = append(families, u.Family)
		}
	}
	for _, u := range s.Uplinks {
		v.Uplinks = append(v.Uplinks, u.view(s.total(u.Family)))
	}
	for _, f := range families {
		v.Selections = append(v.Selections, selection(v.Uplinks, f.String(), slices.Contains(s.Kept, f)))
		v.Selections[len(v.Selections)-1].Own = s.own(f)
	}
	for _, w := range s.Warnings {
		v.Warnings = append(v.Warnings, warning(w))
	}
	v.judge(s)
	for i := range v.Selections {
		v.Selections[i].Text = v.Selections[i].sentence(len(families) > 1)
	}
	return v
}

func warning(w routing.Warning) WarningView {
	return WarningView{Code: w.Code, Subject: w.Subject, Text: w.Text, Cure: w.Cure, Error: w.Error}
}

// view makes the view of an uplink among others whose weights are total.
func (u Uplink) view(total int) UplinkView {
	h := u.Health
	v := UplinkView{
		Name: u.Name, Interface: u.Interface, Family: u.Family.String(), Mode: u.Mode,
		State: h.State.String(), Since: moment(h.Since), Reason: h.Reason, InDoubt: h.Doubt,
		Degraded: h.Degraded, Flapping: h.Flapping, HeldUntil: moment(h.HeldUntil), Flaps: h.Flaps,
		Weight: u.Configured, Percent: u.percent(), Metered: u.Metered,
		Carries: u.Routing, Address: address(u.Address), Gateway: address(u.Gateway),
	}
	if h.HasRTT {
		v.RTT, v.Jitter = seconds(h.RTT), seconds(h.Jitter)
	}
	if !math.IsNaN(h.Loss) && !math.IsInf(h.Loss, 0) {
		loss := round(h.Loss)
		v.Loss = &loss
	}
	if h.Admin && u.Mode == Auto {
		v.Mode = ForcedDown
	}
	if u.Grouped {
		v.Group = &u.Group
	}
	if u.Routing && total > 0 {
		v.Share = round(float64(u.Weight) / float64(total))
	}
	if !u.Last.Time.IsZero() {
		v.Last = &EventView{Time: instant(u.Last.Time), Text: u.Last.Text}
	}
	return v
}

func selection(uplinks []UplinkView, family string, kept bool) SelectionView {
	s := SelectionView{Family: family, Kept: kept, Members: []MemberView{}}
	for _, u := range uplinks {
		if u.Family == family && u.Carries {
			s.Members = append(s.Members, MemberView{Name: u.Name, Interface: u.Interface, Share: u.Share})
		}
	}
	return s
}

// own are the uplinks that carry what the router itself sends in a family, if these are others.
func (s *Snapshot) own(f config.Family) []MemberView {
	members, total := []MemberView{}, 0
	for _, u := range s.Uplinks {
		if u.Family == f {
			total += u.Own
		}
	}
	for _, u := range s.Uplinks {
		if u.Family == f && u.Own > 0 {
			members = append(members, MemberView{Name: u.Name, Interface: u.Interface, Share: round(float64(u.Own) / float64(total))})
		}
	}
	return members
}

func (c Configuration) view() ConfigurationView {
	v := ConfigurationView{File: c.File, Loaded: moment(c.Loaded), Restart: slices.Clone(c.Restart)}
	if v.Restart == nil {
		v.Restart = []string{}
	}
	if c.Refused != nil {
		refused := NewLoadView(c.Refused)
		v.Error = &refused
	}
	return v
}

// NewLoadView makes the view of a configuration that was not put in force.
func NewLoadView(e *LoadError) LoadView {
	v := LoadView{Time: moment(e.Time), Message: e.Error(), Problems: []ProblemView{}}
	for _, p := range e.Problems {
		v.Problems = append(v.Problems, ProblemView{
			Severity: p.Severity.String(), Line: p.Line, Column: p.Column, Key: p.Path, Text: p.String(), Shown: p.Render(),
		})
	}
	return v
}

// instant returns a time as it is shown: in UTC, to the millisecond, without the monotonic clock.
func instant(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Millisecond) }

// moment is instant, with nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = instant(t)
	return &t
}

func address(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return &a
}

// seconds returns a duration to the microsecond.
func seconds(d time.Duration) *float64 {
	s := math.Round(d.Seconds()*1e6) / 1e6
	return &s
}

// round keeps four digits of a share: more would be noise.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }
