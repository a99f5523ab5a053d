package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxSize is the size in bytes over which a file is refused unread. The largest useful
// configuration, 250 uplinks with comments, has about 100 KB.
const MaxSize = 1 << 20

// position is a place in the source; line and column from 1, column in characters.
type position struct{ line, column int }

// endOfFile is after every position.
func endOfFile() position { return position{line: 1 << 30} }

func (p position) before(o position) bool {
	return p.line < o.line || p.line == o.line && p.column < o.column
}

// source is the text of a file by lines, and where in it secrets stand.
type source struct {
	lines  []string
	hidden []span // by position
	shaky  bool   // the YAML could not be read, so nobody knows where a value ends
}

// span is a part of the source, without its end.
type span struct{ from, to position }

// newSource splits a text into lines as YAML 1.2 section 5.4 does: at LF, CR LF and CR.
func newSource(data []byte) *source {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	return &source{lines: strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")}
}

// hide keeps a part of the source from ever being shown.
func (s *source) hide(from, to position) {
	if from.before(to) {
		s.hidden = append(s.hidden, span{from, to})
	}
}

// Widths of an excerpt, in characters: one terminal line, the place in its middle at the latest.
const (
	excerptWidth = 100
	longestLine  = 4096 // lines longer than that are nothing that a person wants to see
)

// excerpt returns the line of a place, without secrets, and the number of characters in it that
// stand before the place; "" if nothing of it may or should be shown.
func (s *source) excerpt(at position) (string, int) {
	if at.line < 1 || at.line > len(s.lines) || len(s.lines[at.line-1]) > longestLine {
		return "", 0
	}
	line := []rune(s.redact(at.line))
	before := min(at.column-1, len(line))
	from := max(0, before-excerptWidth/2)
	to := min(len(line), from+excerptWidth)
	for i := from; i < to; i++ {
		if line[i] != '\t' && !isShowable(line[i]) {
			line[i] = '?'
		}
	}
	return strings.TrimRight(string(line[from:to]), " \t"), before - from
}

// redact returns a line with secrets replaced: those known by their place, and whatever follows a
// word like password. What the second rule hides too much harms nobody.
func (s *source) redact(number int) string {
	if s.shaky && s.insideSecret(number) {
		return ""
	}
	runes := []rune(s.lines[number-1])
	for _, h := range s.hidden {
		from, to := max(h.from.column-1, 0), h.to.column-1
		if h.from.line > number || h.to.line < number {
			continue
		}
		if h.from.line < number {
			from = 0
		}
		if h.from.line < number && h.to.line == number && strings.Trim(string(runes[:min(to, len(runes))]), " -") == "" {
			continue // the indentation of what follows the secret
		}
		if h.to.line > number || to >= len(runes) {
			runes = append(runes[:min(from, len(runes))], []rune(Redacted)...)
			continue
		}
		// Of the same length, so that the columns of what follows stay right.
		for i := from; i < to; i++ {
			runes[i] = '*'
		}
	}
	if i := secretWord(string(runes)); i >= 0 {
		return cutSecret(string(runes), i)
	}
	return string(runes)
}

// cutSecret cuts a line after the name of a secret that starts at byte i.
func cutSecret(line string, i int) string {
	name := line[i:]
	end := strings.IndexFunc(name, func(r rune) bool { return r != '_' && (r < 'A' || r > 'z') })
	switch {
	case end < 0:
		return line
	case name[end] == ':':
		end++
	}
	return line[:i+end] + " " + Redacted
}

// insideSecret tells, for a file that is not YAML, whether a line could continue a password that
// began on an earlier line: it could unless a key as little indented as the password's has ended it, and the password opened no quote or bracket that is still open.
func (s *source) insideSecret(number int) bool {
	for n := number - 1; n >= 1; n-- {
		line := s.lines[n-1]
		i := secretWord(line)
		if i < 0 {
			continue
		}
		if strings.ContainsAny(line[i:], "\"'{[") {
			return true
		}
		for _, later := range s.lines[n:number] {
			rest := strings.TrimLeft(later, " ")
			// A dash or a colon may go on with the value without more indentation.
			if rest != "" && unicode.IsLetter(rune(rest[0])) && indentation(later) <= indentation(line) {
				return false
			}
		}
		return true
	}
	return false
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// unreadable returns what is wrong with a file before anybody looks at its structure: size,
// encoding, control characters. A nil problem means nothing.
func unreadable(data []byte) *Problem {
	switch {
	case len(data) > MaxSize:
		return &Problem{Message: fmt.Sprintf("the file has more than the %d bytes that a configuration may have", MaxSize)}
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return &Problem{Message: "the file is in UTF-16; save it as UTF-8"}
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if message := badCharacter(r, size, data[i]); message != "" {
			at := placeOf(data[:i])
			return &Problem{Line: at.line, Column: at.column, Message: message}
		}
		i += size
	}
	return nil
}

// badCharacter says what is wrong with one character of a file, or "".
func badCharacter(r rune, size int, first byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8 (iconv -f LATIN1 -t UTF-8)", first)
	case r == 0:
		return "the file holds a NUL byte; is it a text file?"
	case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufffe', r == '\uffff':
		return fmt.Sprintf("the file holds the control character U+%04X; remove it", r)
	}
	return ""
}

// placeOf returns the position after a text.
func placeOf(data []byte) position {
	lines := newSource(data).lines
	return position{line: len(lines), column: runeCount(lines[len(lines)-1]) + 1}
}
