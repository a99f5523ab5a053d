package main

import (
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// explanationView is an explanation as programs read it. Lists are never null.
type explanationView struct {
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Protocol    string   `json:"protocol"`   // empty: none was given
	Port        uint16   `json:"port"`       // 0: none was given
	Inside      string   `json:"inside"`     // interface; empty: not known, or the router itself
	Basis       string   `json:"basis"`      // where the state of the lines is from
	Main        []string `json:"main"`       // interfaces by which table main leads there, before all policies; lo: it is for the router itself
	Forward     string   `json:"forward"`    // name of the forward that leads it inside; empty: none
	ForwardTo   string   `json:"forward_to"` // address and port that this leads it to
	verdictView
	IfDown  []lossView `json:"if_down"`
	Kernel  []string   `json:"kernel"`  // its own answers
	Differs []string   `json:"differs"` // how these are not as explained
	Notes   []string   `json:"notes"`
}

type verdictView struct {
	Policy     string     `json:"policy"`      // empty: none matches
	Number     int        `json:"number"`      // of the policy; 0: none
	Fate       string     `json:"fate"`        // "carried", "refused", "bypassed" or "stranded"
	Bound      string     `json:"bound"`       // what has chosen the line, whatever its health: "mark", its own, or "source", an address of it; empty: nothing
	Down       bool       `json:"down"`        // the line that it is bound to is down
	LastResort string     `json:"last_resort"` // that holds since no line of the policy is well; empty: it does not
	Kept       bool       `json:"kept"`        // no line is well, these were the last ones
	Sticky     string     `json:"sticky"`
	Tier       int        `json:"order"` // of the policy, or priority_group
	Lines      []lineView `json:"lines"`
	Reasons    []string   `json:"reasons"`
}

type lineView struct {
	Name      string  `json:"name"`
	Interface string  `json:"interface"`
	Share     float64 `json:"share"` // 0 to 1
}

type lossView struct {
	Line string `json:"line"` // interface
	verdictView
}

func (e *explainer) view() explanationView {
	v := explanationView{
		Source: e.source(), Destination: e.packet.Destination.String(), Port: e.packet.DestinationPort,
		Inside: e.packet.Inside, Basis: e.basis, Main: listOf(e.mainHops), verdictView: e.verdict(e.now.Verdict),
		IfDown: []lossView{}, Kernel: listOf(e.answers), Differs: listOf(e.differs), Notes: listOf(e.notes),
	}
	if e.forward != "" {
		v.Forward, v.ForwardTo = e.forward, e.forwardTo.String()
	}
	if e.packet.Protocol != 0 {
		v.Protocol = config.ProtocolName(e.packet.Protocol)
	}
	for _, l := range e.now.IfDown {
		v.IfDown = append(v.IfDown, lossView{e.cfg.Uplinks[l.Uplink].Interface, e.verdict(l.Verdict)})
	}
	return v
}

func listOf(list []string) []string { return append([]string{}, list...) }

func (e *explainer) verdict(v routing.Verdict) verdictView {
	view := verdictView{Fate: string(v.Fate), Bound: string(v.Bound), Down: v.Down, Kept: v.Kept, Sticky: config.StickyNone.String(), Tier: v.Tier, Lines: []lineView{}, Reasons: listOf(v.Reasons)}
	if v.Policy != nil {
		view.Policy, view.Number, view.Sticky = v.Policy.Name, v.Policy.Number, v.Policy.Sticky.String()
		if v.Default || v.Fate == routing.Refused || v.Fate == routing.Bypassed {
			view.LastResort = v.Policy.LastResort.String()
		}
	}
	total := 0
	for _, m := range v.Lines {
		total += m.Weight
	}
	for _, m := range v.Lines {
		u := e.cfg.Uplinks[m.Uplink]
		view.Lines = append(view.Lines, lineView{u.Name, u.Interface, float64(m.Weight) / float64(total)})
	}
	return view
}

// text is the explanation for people.
func (e *explainer) text() string {
	v := e.view()
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s", v.Source, v.Destination)
	if v.Protocol != "" {
		b.WriteString(", " + v.Protocol)
	}
	if v.Port != 0 {
		fmt.Fprintf(&b, " port %d", v.Port)
	}
	if v.Inside != "" {
		b.WriteString(", comes in on " + v.Inside)
	}
	b.WriteString("\n\n")
	switch {
	case v.Forward != "":
		fmt.Fprintf(&b, "It is forwarded to %s by the forward %s, before all policies.\n", v.ForwardTo, v.Forward)
	case slices.Equal(v.Main, []string{loopback}):
		b.WriteString("It goes to the router itself, before all policies.\n")
	case len(v.Main) > 0:
		fmt.Fprintf(&b, "It goes to %s by the routing table, before all policies.\n", strings.Join(v.Main, ", "))
	default:
		e.body(&b, v)
	}
	section(&b, "The kernel", v.Kernel)
	section(&b, "The kernel does otherwise", v.Differs)
	section(&b, "Note", v.Notes)
	b.WriteString("\nThe state of the lines is that of " + v.Basis + ".\n")
	return b.String()
}

func (e *explainer) body(b *strings.Builder, v explanationView) {
	policy := "no policy matches"
	switch {
	case v.Policy != "":
		policy = fmt.Sprintf("policy %d, %s", v.Number, v.Policy)
	case v.Bound != "":
		policy = "the " + v.Bound + " decides"
	}
	fmt.Fprintf(b, "Now: %s: %s\n", policy, v.say())
	for _, l := range v.IfDown {
		fmt.Fprintf(b, "If %s died: %s\n", l.Line, l.say())
	}
	section(b, "Why", v.Reasons)
}

// say is a verdict in a few words.
func (v verdictView) say() string {
	switch routing.Fate(v.Fate) {
	case routing.Carried:
	case routing.Refused:
		if v.Bound != "" {
			return "refused, the line of the " + v.Bound + " is dead"
		}
		return "refused, no line of the policy is well"
	case routing.Bypassed:
		return "by main's own default route, no line of the policy is well"
	case routing.Stranded:
		return "nowhere, no line has been well yet"
	}
	var lines []string
	for _, l := range v.Lines {
		name := l.Name
		if l.Name != l.Interface {
			name += " (" + l.Interface + ")"
		}
		lines = append(lines, fmt.Sprintf("%s %.0f %%", name, 100*l.Share))
	}
	text := strings.Join(lines, ", ")
	if v.Down {
		text += ", though it is down"
	}
	if v.Kept {
		text += ", though no line is well"
	}
	if v.LastResort != "" {
		text += ", as without policy, since no line of it is well"
	}
	return text
}

func section(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		b.WriteString("\n" + title + ":\n")
		for _, line := range lines {
			b.WriteString("  " + line + "\n")
		}
	}
}

// source says who connects.
func (e *explainer) source() string {
	if !e.packet.Source.IsValid() {
		return "router"
	}
	return e.packet.Source.String()
}
