package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Severity tells whether a problem forbids using the configuration.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string { return [...]string{"error", "warning"}[s] }

// Redacted stands where the value of a secret would be shown.
const Redacted = "<redacted>"

// Problem is one mistake, or one doubtful thing, in a configuration file. None of its fields, and
// nothing that its methods return, ever holds a password.
type Problem struct {
	Severity   Severity
	File       string // the name given to Parse
	Line       int    // from 1; 0: the file as a whole
	Column     int    // from 1, in characters; 0: the file as a whole
	Path       string // of the key, entries of lists counted from 0; example "uplinks[1].weight"; empty: the file as a whole
	Value      string // as written in the file, shortened and with odd characters escaped; empty: none
	Message    string // what is wrong, a predicate of Value where there is one; example "is out of range"
	Allowed    string // completes "must be ..."; empty: nothing to add
	Suggestion string // completes "did you mean ...?"; empty: no idea

	excerpt string // the source line from which secrets are cut; empty: not to be shown
	caret   int    // characters of excerpt before the caret
}

// String returns the problem as one line, "file:line:column: path: message", the form that editors
// and compilers' users know. It does not tell the severity.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	if p.Value != "" {
		b.WriteString(p.Value + " ")
	}
	b.WriteString(p.Message)
	if p.Allowed != "" {
		b.WriteString("; must be " + p.Allowed)
	}
	if p.Suggestion != "" {
		b.WriteString("; did you mean " + p.Suggestion + "?")
	}
	return b.String()
}

// Render returns the problem for a terminal: the severity and the line of String, then the line of
// the source with a caret under the place. It ends with a newline.
func (p Problem) Render() string {
	head := p.Severity.String() + ": " + p.String() + "\n"
	if p.excerpt == "" {
		return head
	}
	number := strconv.Itoa(p.Line)
	gutter := strings.Repeat(" ", len(number))
	// Tabs are kept in the line of the caret, so that it stands right however wide they are shown.
	lead := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, firstRunes(p.excerpt, p.caret))
	return head + fmt.Sprintf(" %s | %s\n %s | %s^\n", number, p.excerpt, gutter, lead)
}

// hasErrors tells whether any of the problems forbids using the configuration.
func hasErrors(problems []Problem) bool {
	for _, p := range problems {
		if p.Severity == Error {
			return true
		}
	}
	return false
}

// shownLength is the number of characters after which a value is cut in a message.
const shownLength = 60

// show returns a value as messages show it: as it is if it is a simple word, in quotes with odd
// characters escaped if not. What could hold a password, because it speaks of one, is not shown.
func show(value string) string {
	if mentionsSecret(value) {
		return Redacted
	}
	short := firstRunes(value, shownLength)
	if short != value {
		short += "..."
	}
	if short != "" && strings.IndexFunc(short, isOdd) < 0 {
		return short
	}
	return strconv.Quote(short)
}

// isOdd tells whether a character makes a value be shown in quotes.
func isOdd(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsPrint(r) || strings.ContainsRune(" \"'`{}[]", r)
}

// mentionsSecret tells whether a text names a password, so that what stands beside may be one:
// "password", "passwd", "passwort", also with a missing blank or in the wrong place.
func mentionsSecret(text string) bool { return secretWord(text) >= 0 }

// secretWord returns the byte position of such a name, or -1.
func secretWord(text string) int {
	const word = "pass"
	for i := 0; i+len(word) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}

// firstRunes returns the first n characters of s.
func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// runeCount returns the number of characters of s.
func runeCount(s string) int { return utf8.RuneCountInString(s) }
