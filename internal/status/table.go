package status

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ftr/internal/health"
)

// Layout is how a view is written for people.
type Layout struct {
	Width    int // columns of the terminal
	Color    bool
	Now      time.Time
	Location *time.Location // of the times that are shown; nil: UTC
}

// The fields of an uplink, in their order.
const (
	nameField = iota
	interfaceField
	familyField
	stateField
	sinceField
	lastingField
	carriesField
	rttField
	jitterField
	lossField
	weightField
	addressField
	gatewayField
	reasonField
	lastField
)

// fields are the columns of an uplink. What has no room stands below its row.
var fields = [...]field{
	nameField:      {head: "UPLINK", least: 12},
	interfaceField: {head: "INTERFACE"},
	familyField:    {head: "FAMILY", label: "family", optional: true},
	stateField:     {head: "STATE", least: 9},
	sinceField:     {head: "SINCE", label: "since", optional: true},
	lastingField:   {head: "FOR"},
	carriesField:   {head: "CARRIES"},
	rttField:       {head: "RTT"},
	jitterField:    {head: "JITTER", label: "jitter", optional: true},
	lossField:      {head: "LOSS"},
	weightField:    {head: "WEIGHT", label: "weight", optional: true},
	addressField:   {head: "ADDRESS", label: "address", optional: true},
	gatewayField:   {head: "GATEWAY", label: "gateway", optional: true},
	reasonField:    {head: "REASON", least: 30, optional: true},
	lastField:      {head: "LAST CHANGE", label: "last change", least: 30, optional: true},
}

// Table writes everything for people: in short, each uplink, what new connections use, what is wrong.
func (v *View) Table(l Layout) string {
	style := map[Overall]string{OK: green, Degraded: yellow, Failed: red}[v.State]
	lines := l.indented(strings.ToUpper(string(v.State))+": "+v.Summary, "", "  ", style)
	if !v.Started.IsZero() {
		text := fmt.Sprintf("Fault Tolerant Router %s, running since %s, for %s", v.Version, l.clock(v.Started), span(l.Now.Sub(v.Started)))
		lines = append(lines, l.indented(text, "", "", faint)...)
	}
	lines = append(lines, "")
	lines = append(lines, l.rows(v.Uplinks)...)
	lines = append(lines, "")
	for _, s := range v.Selections {
		style := plain
		if s.Kept || len(s.Members) == 0 {
			style = red
		}
		lines = append(lines, l.indented(s.Text, "", "  ", style)...)
	}
	lines = append(lines, v.Configuration.lines(l)...)
	if len(v.Warnings) > 0 {
		lines = append(lines, "", l.paint(bold, "Warnings"))
	}
	for _, w := range v.Warnings {
		lines = append(lines, w.lines(l)...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// Uplinks writes some uplinks alone, for people.
func Uplinks(uplinks []UplinkView, l Layout) string {
	return strings.Join(l.rows(uplinks), "\n") + "\n"
}

// rows writes uplinks as a table, or as lists where that has no room.
func (l Layout) rows(uplinks []UplinkView) []string {
	if len(uplinks) == 0 {
		return []string{"No uplinks."}
	}
	several := slices.ContainsFunc(uplinks, func(u UplinkView) bool { return u.Family != uplinks[0].Family })
	g := grid{fields: fields[:], layout: l}
	for _, u := range uplinks {
		row := u.cells(l)
		if !several {
			row[familyField].text = ""
		}
		for i := range row {
			row[i].text = clean(row[i].text)
		}
		g.rows = append(g.rows, row)
	}
	if lines := g.render(); lines != nil {
		return lines
	}
	return g.cards()
}

// cells are the values of an uplink, by field.
func (v UplinkView) cells(l Layout) []cell {
	state, style := v.state(l)
	carries, carriesStyle := "no", plain
	if v.Carries {
		carries, carriesStyle = "yes, "+percent(v.Share), bold
	}
	weight := "none"
	if v.Group != nil {
		weight = strconv.Itoa(v.Weight)
		if v.Percent != 100 {
			weight += fmt.Sprintf(" × %d %%", v.Percent)
		}
	}
	loss := unknown
	if v.Loss != nil {
		loss = percent(*v.Loss)
	}
	cells := []cell{
		nameField: {v.Name, bold}, interfaceField: {text: v.Interface}, familyField: {text: v.Family},
		stateField: {state, style}, carriesField: {carries, carriesStyle},
		rttField: {text: milliseconds(v.RTT)}, jitterField: {text: milliseconds(v.Jitter)}, lossField: {text: loss},
		weightField: {text: weight}, addressField: {text: addressText(v.Address)}, gatewayField: {text: addressText(v.Gateway)},
		reasonField: {text: v.Reason}, sinceField: {text: unknown}, lastingField: {text: unknown}, lastField: {},
	}
	if v.Degraded != "" {
		cells[reasonField].text = "degraded: " + v.Degraded + "; " + v.Reason
	}
	if v.Since != nil {
		cells[sinceField].text, cells[lastingField].text = l.clock(*v.Since), span(l.Now.Sub(*v.Since))
	}
	if v.Last != nil {
		cells[lastField].text = l.clock(v.Last.Time) + ": " + v.Last.Text
	}
	return cells
}

// state says in words what is known of an uplink and what is done with it. The colour says nothing more.
func (v UplinkView) state(l Layout) (text, style string) {
	text, style = v.State, yellow
	switch {
	case v.Mode == ForcedDown:
		return "down, by hand", yellow
	case v.State == health.Down.String():
		style = red
	case v.State == health.Up.String() && v.Mode == Auto && v.Degraded == "":
		style = green
	}
	if v.Mode == ForcedUp {
		text += ", forced"
	}
	if v.Degraded != "" {
		text += ", degraded"
	}
	if v.InDoubt {
		text += ", in doubt"
	}
	if v.Flapping {
		text += fmt.Sprintf(", flapping (%d times down)", v.Flaps)
	}
	if v.HeldUntil != nil {
		text += ", held back until " + l.clock(*v.HeldUntil)
	}
	return text, style
}

// lines tell of a configuration that was not put in force, or not wholly.
func (c ConfigurationView) lines(l Layout) []string {
	var restart []string
	for _, text := range c.Restart {
		restart = append(restart, l.indented("Of the configuration, "+text+".", "", "  ", yellow)...)
	}
	if c.Error == nil {
		return restart
	}
	text := "The configuration on disk was refused"
	if c.Error.Time != nil {
		text += " at " + l.clock(*c.Error.Time)
	}
	running := "running with the one before"
	if c.Loaded != nil {
		running = "running with the configuration of " + l.clock(*c.Loaded)
	}
	lines := slices.Concat(restart, []string{""}, l.indented(text+": "+c.Error.Message+"; "+running+".", "", "  ", red))
	for _, p := range c.Error.Problems {
		lines = append(lines, l.indented(p.Severity+": "+p.Text, "  ", "    ", plain)...)
	}
	return append(lines, l.indented("mend the file and run: ftr reload", "  ", "    ", plain)...)
}

// lines tell a warning and what to do.
func (w WarningView) lines(l Layout) []string {
	text := w.Text
	if w.Subject != "" {
		text = w.Subject + ": " + text
	}
	lines := l.indented(text, "  ", "    ", plain)
	if w.Cure != "" {
		lines = append(lines, l.indented("what to do: "+w.Cure, "    ", "      ", plain)...)
	}
	return lines
}

func addressText(a *netip.Addr) string {
	if a == nil {
		return "none"
	}
	return a.String()
}

// milliseconds formats seconds for people.
func milliseconds(s *float64) string {
	switch {
	case s == nil:
		return unknown
	case *s < 0.01:
		return fmt.Sprintf("%.1f ms", *s*1000)
	default:
		return fmt.Sprintf("%.0f ms", *s*1000)
	}
}
