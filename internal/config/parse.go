package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Parse reads a configuration file. The name is only used in problems. It reports every mistake at
// once, in the order of the file; if any of the problems is an Error, the Config is nil. A file that
// cannot be read as YAML at all gives one problem.
//
// Files of the original program, in their form of 2015 and of 2016, are read with the meaning that
// they had there.
func Parse(name string, data []byte) (*Config, []Problem) {
	w, d := read(name, data)
	problems := w.finish()
	if d == nil || hasErrors(problems) {
		return nil, problems
	}
	c := d.config()
	c.places = w.placesOf(d)
	return c, problems
}

// ReadPaths returns the directories that a configuration file names, also where other keys of it are refused.
// A path is empty if it is not in the file, is refused itself, or if the file cannot be read as YAML.
func ReadPaths(data []byte) Paths {
	if _, d := read("", data); d != nil {
		return d.directories()
	}
	return Paths{}
}

// byteOrderMark is what some editors put first.
const byteOrderMark = "\ufeff"

// read takes the file apart and checks it; the walker has the problems. The draft is nil if there is nothing in it.
func read(name string, data []byte) (*walker, *draft) {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	w := &walker{file: name, source: new(source)}
	if p := unreadable(data); p != nil {
		if len(data) <= MaxSize {
			w.source = newSource(data)
			w.source.shaky = true
		}
		w.report(position{p.Line, p.Column}, *p)
		return w, nil
	}
	w.source = newSource(data)
	tree, p := readTree(data)
	if p != nil {
		w.source.shaky = true
		w.report(position{p.Line, p.Column}, *p)
		return w, nil
	}
	d := new(draft)
	w.root = table(d)
	if !w.readRoot(tree) {
		return w, nil
	}
	w.check(d)
	return w, d
}

// placesOf returns where the file names what only the host can tell: files of sets, and users.
func (w *walker) placesOf(d *draft) map[string]Problem {
	places := make(map[string]Problem)
	add := func(name string, at position, path string) {
		p := Problem{File: w.file, Line: at.line, Column: at.column, Path: path}
		p.excerpt, p.caret = w.source.excerpt(at)
		places[name] = p
	}
	for i := range d.sets.value {
		f := &d.sets.value[i].file
		add(setPlace(i), f.at, f.path)
	}
	for i := range d.policies.value {
		for j, u := range d.policies.value[i].user.value {
			add(userPlace(i, j), u.at, u.path)
		}
	}
	return places
}

func setPlace(set int) string           { return fmt.Sprintf("sets[%d].file", set) }
func userPlace(policy, user int) string { return fmt.Sprintf("policies[%d].user[%d]", policy, user) }

// problem returns a problem with a value that only the host can judge, by its place.
func (c *Config) problem(place, value, message string) Problem {
	p := c.places[place]
	p.Value, p.Message = show(value), message
	return p
}

// readRoot reads the document by the table of keys; false: there is nothing in it to check.
func (w *walker) readRoot(tree *yaml.Node) bool {
	switch {
	case tree == nil || isNull(tree):
		w.report(position{}, Problem{Message: "the file is empty; remove it, and ftr generate_config writes a commented one"})
		return false
	case tree.Kind != yaml.MappingNode:
		w.misshapen(tree, place{}, "sections, beginning with the line uplinks:")
		return false
	}
	w.mapping(tree, place{key: positionOf(tree), end: endOfFile()}, w.root)
	return true
}
