package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxProblems is the number of problems after which the rest is only counted: nobody reads more,
// and a file made to annoy must not fill the memory.
const maxProblems = 1000

// walker reads a tree of nodes by the table of keys and collects the problems.
type walker struct {
	file     string
	source   *source
	root     []key             // the whole table, to find where a misplaced key belongs
	homes    map[string]string // the same, by the names of the keys
	problems []Problem
	omitted  int
}

// report adds a problem at a place.
func (w *walker) report(at position, p Problem) {
	if len(w.problems) >= maxProblems {
		w.omitted++
		return
	}
	p.File, p.Line, p.Column = w.file, at.line, at.column
	w.problems = append(w.problems, p)
}

// finish returns the problems by their place, with the source lines that they speak of.
func (w *walker) finish() []Problem {
	slices.SortStableFunc(w.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for i := range w.problems {
		p := &w.problems[i]
		p.excerpt, p.caret = w.source.excerpt(position{p.Line, p.Column})
	}
	if w.omitted > 0 {
		w.problems = append(w.problems, Problem{File: w.file, Message: fmt.Sprintf("%d more problems are not listed", w.omitted)})
	}
	return w.problems
}

// mapping reads the keys of a section: the known ones by their forms, with defaults for those that
// are absent; the others become problems.
func (w *walker) mapping(n *yaml.Node, at place, keys []key) {
	seen := make(map[string]position, len(keys))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		inner := place{key: positionOf(name), end: endOf(n, i+1, at.end)}
		k, ok := w.lookUp(name, value, at, inner, keys)
		if !ok {
			continue
		}
		inner.path, inner.secret = join(at.path, k.name), k.secret
		if k.secret {
			w.source.hide(positionOf(value), inner.end)
		}
		if first, twice := seen[k.name]; twice {
			w.report(inner.key, Problem{Path: inner.path, Message: fmt.Sprintf("the key is given twice, first in line %d", first.line)})
			continue
		}
		seen[k.name] = inner.key
		w.value(k, value, inner)
	}
	for _, k := range keys {
		if _, ok := seen[k.name]; !ok {
			w.absent(k, at.key, join(at.path, k.name))
		}
	}
}

// value reads the value of a known key.
func (w *walker) value(k key, n *yaml.Node, at place) {
	switch {
	case n.Kind == yaml.AliasNode:
		w.misshapen(n, at, k.form.words())
	case n.Anchor != "":
		w.report(positionOf(n), Problem{Path: at.path, Message: "the value begins with & and so has a YAML anchor, which is not supported; put it in quotes if it is text"})
	case isNull(n) && k.required:
		w.report(at.key, Problem{Path: at.path, Message: "is empty", Allowed: k.form.words()})
	case isNull(n):
		w.absent(k, at.key, at.path)
	default:
		k.form.read(w, n, at)
	}
}

// absent reports a missing key or fills in its default. Defaults are written in the table as an
// administrator would write them, and read by the same parser.
func (w *walker) absent(k key, at position, path string) {
	switch s, isSection := k.form.(section); {
	case k.required:
		w.report(at, Problem{Path: path, Message: "is missing", Allowed: k.form.words()})
	case isSection:
		s.absent(w, at, path)
	case k.fallback != "":
		k.form.read(w, &yaml.Node{Kind: yaml.ScalarNode, Value: k.fallback}, place{path: path})
	}
	k.form.asDefault(at)
}

// absent fills in the defaults of a section that is not in the file.
func (s section) absent(w *walker, at position, path string) {
	for _, k := range s.keys {
		w.absent(k, at, join(path, k.name))
	}
}

// lookUp finds the key that a node names. What is not a known key is reported, and hidden: a
// mistyped "pasword" must not show what stands beside.
func (w *walker) lookUp(name, value *yaml.Node, at, inner place, keys []key) (key, bool) {
	if name.Kind == yaml.ScalarNode && name.Value != "<<" {
		word := name.Value
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == word || k.symbol && ":"+k.name == word })
		if i >= 0 {
			return keys[i], true
		}
	}
	if len(w.problems) >= maxProblems {
		w.omitted++
		w.source.hide(positionOf(name), inner.end)
		return key{}, false
	}
	if name.Kind == yaml.ScalarNode && w.harmless(name.Value, keys) {
		w.unknown(name, at, keys)
		return key{}, false
	}
	w.source.hide(positionOf(value), inner.end)
	switch {
	case name.Kind == yaml.AliasNode, name.Kind == yaml.ScalarNode && name.Value == "<<" && name.Style == 0:
		w.report(inner.key, Problem{Path: at.path, Message: "YAML merge keys and aliases are not supported; write the values out"})
	case name.Kind != yaml.ScalarNode:
		w.report(inner.key, Problem{Path: at.path, Message: "a key is a list or a section; keys are single words"})
	default:
		// "password:hunter2" without a blank is one word.
		if mentionsSecret(name.Value) && w.homeOf(name.Value) == "" {
			w.source.hide(inner.key, inner.end)
		}
		w.unknown(name, at, keys)
	}
	return key{}, false
}

// harmless tells whether the value of an unknown key may be shown: something is known that the key
// was meant to be, and it is no secret. Among the parameters of the mail server nothing is harmless.
func (w *walker) harmless(word string, keys []key) bool {
	if mentionsSecret(word) || slices.ContainsFunc(keys, func(k key) bool { return k.secret }) {
		return false
	}
	return closest(word, names(keys)) != "" || w.homeOf(word) != ""
}

// unknown reports a key that does not exist here, with what was probably meant.
func (w *walker) unknown(n *yaml.Node, at place, keys []key) {
	// "weight:5" without a blank is one word; only what stands before the colon can be a key.
	word, _, _ := strings.Cut(strings.TrimPrefix(n.Value, ":"), ":")
	home := w.homeOf(word)
	p := Problem{Path: join(at.path, show(n.Value)), Message: "is not a known key here"}
	if home != "" {
		p.Path = join(at.path, word)
	}
	if home != "" && home != at.path {
		p.Message += "; it belongs into " + home
	} else {
		p.Allowed, p.Suggestion = sentence(names(keys)), closest(word, names(keys))
	}
	w.report(positionOf(n), p)
}

// homeOf returns the section that knows a key of that name, or "": the one nearest to the root, since
// uplinks may override what stands there.
func (w *walker) homeOf(word string) string {
	if w.homes == nil {
		w.homes = homes(w.root)
	}
	return w.homes[word]
}

// homes returns the homes of all keys that are in a section.
func homes(root []key) map[string]string {
	type level struct {
		keys []key
		path string
	}
	found := map[string]string{}
	for queue := []level{{root, ""}}; len(queue) > 0; queue = queue[1:] {
		for _, k := range queue[0].keys {
			inner, isSection := k.inner()
			if !isSection {
				continue
			}
			at := join(queue[0].path, k.name)
			for _, below := range inner {
				if _, known := found[below.name]; !known {
					found[below.name] = at
				}
			}
			queue = append(queue, level{inner, at})
		}
	}
	return found
}

// misshapen reports a value that is not of the kind that its key wants.
func (w *walker) misshapen(n *yaml.Node, at place, want string) {
	p := Problem{Path: at.path, Message: "is not the right kind of value", Allowed: want}
	switch n.Kind {
	case yaml.AliasNode:
		p.Message, p.Allowed = "YAML aliases (*name) are not supported; write the value out", ""
	case yaml.SequenceNode:
		p.Message = "is a list"
	case yaml.MappingNode:
		p.Message = "is a section of keys"
	default:
		p.Value = shown(n.Value, at)
		p.Message = "is a single value"
	}
	w.report(positionOf(n), p)
}

// plainTag refuses tags, except those that say what is evident anyway.
func (w *walker) plainTag(n *yaml.Node, at place) bool {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge", "!ruby/symbol", "!ruby/sym":
		return true
	}
	w.report(positionOf(n), Problem{Path: at.path, Message: "the value begins with ! and so has a YAML tag; put it in quotes if it is text"})
	return false
}

// refuse reports a word that its parser did not accept.
func (w *walker) refuse(n *yaml.Node, at place, f fault, want string) {
	p := Problem{Path: at.path, Value: shown(n.Value, at), Message: f.message, Allowed: want}
	if !at.secret && f.suggestion != "" && !mentionsSecret(f.suggestion) {
		p.Suggestion = f.suggestion
	}
	w.report(positionOf(n), p)
}

// shown returns the value as messages may show it.
func shown(value string, at place) string {
	if at.secret {
		return Redacted
	}
	return show(value)
}

func positionOf(n *yaml.Node) position { return position{n.Line, n.Column} }

// endOf returns where the i-th node below n ends at the latest: where the next one begins.
func endOf(n *yaml.Node, i int, end position) position {
	if i+1 < len(n.Content) {
		return positionOf(n.Content[i+1])
	}
	return end
}

// isNull tells whether a value is written as nothing: left out, ~, null or an empty text.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == "" && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
