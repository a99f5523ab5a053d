package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// wayList is a policy's list of lines: words, or sections {uplink or group, order, weight}. A single one is
// accepted as a list of one.
type wayList struct{ into *field[[]wayDraft] }

func (l wayList) read(w *walker, n *yaml.Node, at place) {
	l.into.at, l.into.path, l.into.state = positionOf(n), at.path, good
	if !eachEntry(w, n, at, l.entry) {
		l.into.state = bad
	}
}

func (l wayList) entry(w *walker, n *yaml.Node, at place) {
	one := wayDraft{at: positionOf(n), path: at.path}
	keys := wayKeys(&one)
	if n.Kind == yaml.MappingNode {
		section{&one.section, keys}.read(w, n, at)
	} else {
		lineName(&one.uplink).read(w, n, at)
		section{&one.section, keys[2:]}.absent(w, at.key, at.path)
		one.groupWord()
	}
	if !one.uplink.usable() || !one.group.usable() || !one.order.usable() || !one.weight.usable() {
		l.into.state = bad
	} else if one.uplink.given() == one.group.given() {
		w.report(one.at, Problem{Path: at.path, Message: "names both an uplink and a group, or none", Allowed: "one of the two"})
		l.into.state = bad
	}
	l.into.value = append(l.into.value, one)
}

// groupWord takes the word group:NUMBER for a group.
func (d *wayDraft) groupWord() {
	word, isGroup := strings.CutPrefix(d.uplink.value, "group:")
	number, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
	if isGroup && err == nil {
		d.uplink.state = absent
		d.group = field[int64]{value: number, state: good, at: d.uplink.at, path: d.uplink.path}
	}
}

func (l wayList) asDefault(at position) { l.into.state, l.into.at = absent, at }

func (l wayList) held() string {
	var words []string
	for _, d := range l.into.value {
		word := quote(d.uplink.value)
		if d.group.given() {
			word = fmt.Sprintf(`"group:%d"`, d.group.value)
		}
		if d.order.given() || d.weight.given() {
			word = "{" + d.keys() + "}"
		}
		words = append(words, word)
	}
	return flowList(words)
}

// keys writes the entry as the keys of a section.
func (d *wayDraft) keys() string {
	words := []string{"uplink: " + quote(d.uplink.value)}
	if d.group.given() {
		words[0] = fmt.Sprintf("group: %d", d.group.value)
	}
	if d.order.given() {
		words = append(words, fmt.Sprintf("order: %d", d.order.value))
	}
	if d.weight.given() {
		words = append(words, fmt.Sprintf("weight: %d", d.weight.value))
	}
	return strings.Join(words, ", ")
}

func (l wayList) words() string {
	return "the interface or the name of an uplink, group:NUMBER, or a section {uplink: NAME or group: NUMBER, order: NUMBER, weight: NUMBER}, or a list of these"
}

func (l wayList) schema() *schema {
	word := lineName(new(field[string])).schema()
	word.forbidNull()
	full := objectSchema(nil)
	full.Type = "object"
	for _, k := range wayKeys(new(wayDraft)) {
		full.Properties[k.name] = k.form.schema()
	}
	one := &schema{AnyOf: []*schema{word, full}}
	return &schema{AnyOf: []*schema{word, full, {Type: "array", Items: one}, {Type: "null"}}}
}
