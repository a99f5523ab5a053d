package config

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const (
	referenceFile = "../../docs/configuration.md"
	schemaFile    = "../../docs/ftr.schema.json"
)

// TestReference: the grammar and the key tables of the reference are those of the key table, no key
// missing, none too much, with the same limits and defaults.
func TestReference(t *testing.T) {
	keys := table(new(draft))
	text := string(mustRead(t, referenceFile))
	for _, part := range []struct{ name, want string }{
		{"grammar", "```yaml\n" + grammar(keys, "", "") + "```\n"},
		{"keys", tables(keys)},
	} {
		place := regexp.MustCompile(`(?s)(<!-- ` + part.name + `: made from the key table -->\n).*?(<!-- end -->\n)`)
		if !place.MatchString(text) {
			t.Fatalf("%s has no place for the %s", referenceFile, part.name)
		}
		text = place.ReplaceAllStringFunc(text, func(old string) string {
			m := place.FindStringSubmatch(old)
			return m[1] + part.want + m[2]
		})
	}
	golden(t, referenceFile, text)
}

// grammar writes the keys as a YAML file with [optional] parts and defaults.
func grammar(keys []key, indent, dash string) string {
	var b strings.Builder
	for _, k := range keys {
		open, closing := "", ""
		if !k.required {
			open, closing = "[ ", " ]"
		}
		inner, isSection := k.inner()
		line := k.name + ":"
		if !isSection {
			line += " <" + k.form.words() + ">"
		}
		if k.fallback != "" {
			line += " | default = " + k.fallback
		}
		b.WriteString(indent + dash + open + line + closing + "\n")
		if dash != "" {
			indent, dash = indent+"  ", ""
		}
		if isList(k) {
			b.WriteString(grammar(inner, indent+"  ", "- "))
		} else {
			b.WriteString(grammar(inner, indent+"  ", ""))
		}
	}
	return b.String()
}

// isList tells whether a key is a list of sections.
func isList(k key) bool {
	return k.form.schema().Items != nil && k.form.schema().Items.Properties != nil
}

// tables writes a table for each section.
func tables(keys []key) string {
	var b, below strings.Builder
	head := "| key | value | default | meaning |\n|---|---|---|---|\n"
	b.WriteString("\n### The file\n\n" + head)
	var section func(path string, keys []key)
	section = func(path string, keys []key) {
		below.WriteString("\n### `" + path + "`\n\n" + head)
		for _, k := range keys {
			below.WriteString(tableRow(k))
		}
		for _, k := range keys {
			if inner, ok := k.inner(); ok {
				section(join(path, k.name), inner)
			}
		}
	}
	for _, k := range keys {
		b.WriteString(tableRow(k))
		if inner, ok := k.inner(); ok {
			path := k.name
			if isList(k) {
				path += "[]"
			}
			section(path, inner)
		}
	}
	return b.String() + below.String() + "\n"
}

func tableRow(k key) string {
	value := k.form.words()
	if _, isSection := k.inner(); isSection {
		value, _, _ = strings.Cut(value, " with the keys")
	}
	fallback := k.otherwise
	switch {
	case k.required:
		fallback = "**required**"
	case k.fallback != "":
		fallback = "`" + k.fallback + "`"
	}
	note := ""
	switch {
	case k.era == sinceGo:
		note = "*New.* "
	case k.era == since15:
		note = "*2015.* "
	}
	if k.secret {
		note += "*Never shown.* "
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s%s |\n", k.name, value, fallback, note, k.doc)
}

// TestReferenceExamples: every YAML example of the reference that is a whole file is a valid one.
func TestReferenceExamples(t *testing.T) {
	text := string(mustRead(t, referenceFile))
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	whole := 0
	for _, block := range blocks {
		if strings.Contains(block[1], "<") {
			continue
		}
		whole++
		mustParse(t, referenceFile, []byte(block[1]))
	}
	if whole == 0 {
		t.Errorf("%s has no example", referenceFile)
	}
}
