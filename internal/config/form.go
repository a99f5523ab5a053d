package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// field is where the value of one key goes, with what later checks need to know of it.
type field[T any] struct {
	value T
	state fieldState
	at    position // of the value; of the key if there is none
	path  string
}

// fieldState tells absent from bad from good: absent is never an empty or zero value, and checks
// that compare values stay silent about those that were refused already.
type fieldState uint8

const (
	absent fieldState = iota // not in the file, or null; a default may have been filled in
	bad                      // in the file and refused
	good                     // in the file and accepted
)

func (f *field[T]) given() bool { return f.state == good }

// set gives the field a value as if it stood in a file.
func (f *field[T]) set(value T) { f.value, f.state = value, good }

// usable tells whether the value may be compared with others: accepted, or the default.
func (f *field[T]) usable() bool { return f.state != bad }

// form is the form of a key's value: it reads, prints and describes it. Each key of the table in
// keys.go has one, bound to the field that it fills.
type form interface {
	// read takes the value from a node. The walker collects the problems.
	read(w *walker, n *yaml.Node, at place)
	// asDefault marks what was read as not written in the file.
	asDefault(at position)
	// held returns the value of the field as it would be written in a file; "" is none.
	held() string
	// words completes "must be ..." in messages and in the reference.
	words() string
	// schema returns the JSON Schema of the value.
	schema() *schema
}

// place is where a node stands: the path of keys to it, the key's own position, where its value ends
// at the latest, and whether it is a secret.
type place struct {
	path   string
	key    position
	end    position
	secret bool
}

// fault is what a parser of a word finds wrong with it. The zero fault is none.
type fault struct{ message, suggestion string }

func (f fault) none() bool { return f.message == "" }

// scalar is a value written as one word or text.
type scalar[T any] struct {
	into  *field[T]
	what  string // completes "must be ..."
	parse func(text string) (T, fault)
	print func(T) string
	json  *schema
}

func (s scalar[T]) read(w *walker, n *yaml.Node, at place) {
	s.into.at, s.into.path, s.into.state = positionOf(n), at.path, bad
	if n.Kind != yaml.ScalarNode {
		w.misshapen(n, at, s.what)
		return
	}
	if !w.plainTag(n, at) {
		return
	}
	value, fault := s.parse(n.Value)
	if !fault.none() {
		w.refuse(n, at, fault, s.what)
		return
	}
	s.into.value, s.into.state = value, good
}

func (s scalar[T]) asDefault(at position) { s.into.state, s.into.at = absent, at }

func (s scalar[T]) held() string {
	if !s.into.given() {
		return ""
	}
	return s.print(s.into.value)
}

func (s scalar[T]) words() string   { return s.what }
func (s scalar[T]) schema() *schema { return s.json }

// list is a sequence of words. A single word is accepted as a list of one.
type list[T any] struct {
	into *field[[]field[T]]
	of   func(*field[T]) scalar[T]
}

func (l list[T]) read(w *walker, n *yaml.Node, at place) {
	l.into.at, l.into.path, l.into.state = positionOf(n), at.path, good
	if n.Kind == yaml.ScalarNode {
		l.entry(w, n, at)
		return
	}
	if n.Kind != yaml.SequenceNode {
		l.into.state = bad
		w.misshapen(n, at, l.words())
		return
	}
	for i, entry := range n.Content {
		inner := at
		inner.path = fmt.Sprintf("%s[%d]", at.path, i)
		if isNull(entry) {
			w.report(positionOf(entry), Problem{Path: inner.path, Message: "the entry of the list is empty; remove it"})
			continue
		}
		l.entry(w, entry, inner)
	}
}

func (l list[T]) entry(w *walker, n *yaml.Node, at place) {
	var one field[T]
	l.of(&one).read(w, n, at)
	l.into.value = append(l.into.value, one)
	if one.state == bad {
		l.into.state = bad
	}
}

func (l list[T]) asDefault(at position) { l.into.state, l.into.at = absent, at }

func (l list[T]) held() string {
	var words []string
	for i := range l.into.value {
		words = append(words, l.of(&l.into.value[i]).held())
	}
	return flowList(words)
}

func (l list[T]) words() string { return l.of(new(field[T])).words() + ", or a list of these" }

func (l list[T]) schema() *schema {
	one := l.of(new(field[T])).schema()
	one.forbidNull()
	return &schema{AnyOf: []*schema{one, {Type: "array", Items: one}, {Type: "null"}}}
}

// section is a mapping with keys of its own.
type section struct {
	into *field[struct{}]
	keys []key
}

func (s section) read(w *walker, n *yaml.Node, at place) {
	s.into.at, s.into.path, s.into.state = at.key, at.path, bad
	if n.Kind != yaml.MappingNode {
		w.misshapen(n, at, s.words())
		return
	}
	s.into.state = good
	w.mapping(n, at, s.keys)
}

func (s section) asDefault(at position) { s.into.state, s.into.at = absent, at }

func (s section) held() string { return "" }
func (s section) words() string {
	return "a section with the keys: " + strings.Join(names(s.keys), ", ")
}
func (s section) schema() *schema { return objectSchema(s.keys) }

// sections is a list of mappings with the same keys.
type sections[T any] struct {
	into *field[[]T]
	// How many entries there may be.
	least, most int
	keys        func(*T) []key
	at          func(*T) *field[struct{}]
}

func (s sections[T]) read(w *walker, n *yaml.Node, at place) {
	s.into.at, s.into.path, s.into.state = at.key, at.path, bad
	if n.Kind != yaml.SequenceNode {
		w.misshapen(n, at, s.words())
		return
	}
	s.into.state = good
	if len(n.Content) > s.most {
		w.report(positionOf(n.Content[s.most]), Problem{Path: at.path, Message: fmt.Sprintf("the list has %d entries; at most %d are possible", len(n.Content), s.most)})
		s.into.state = bad
	}
	// Those beyond are not read: the file is refused anyway, and it may have a million.
	entries := n.Content[:min(len(n.Content), s.most)]
	s.into.value = make([]T, len(entries))
	for i, entry := range entries {
		inner := place{path: fmt.Sprintf("%s[%d]", at.path, i), key: positionOf(entry), end: endOf(n, i, at.end)}
		one := &s.into.value[i]
		section{into: s.at(one), keys: s.keys(one)}.read(w, entry, inner)
	}
}

func (s sections[T]) asDefault(at position) { s.into.state, s.into.at = absent, at }

func (s sections[T]) held() string  { return "" }
func (s sections[T]) words() string { return "a list whose entries begin with a dash" }

func (s sections[T]) schema() *schema {
	list := &schema{Type: []string{"array", "null"}, MaxItems: &s.most, Items: objectSchema(s.keys(new(T)))}
	if s.least > 0 {
		list.MinItems = &s.least
	}
	return list
}
