package status

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Style of text on a terminal: the sixteen colours that every terminal has, so that they fit its theme.
const (
	plain  = ""
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint sets a style where colours are wanted.
func (l Layout) paint(style, text string) string {
	if !l.Color || style == plain || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// clean makes a text harmless for a terminal: descriptions come from a file, reasons may quote what a
// server said.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		// Formatting characters could turn the direction of what follows.
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != zeroWidthJoiner {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

const zeroWidthJoiner = '\u200d'

// wide are the characters that take two columns (Unicode Standard Annex 11), as far as names use them.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1},
		{0x26a1, 0x26a1, 1}, {0x2705, 0x2705, 1}, {0x274c, 0x274c, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1},
		{0x3400, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1}, {0xa960, 0xa97f, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1},
		{0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// columns is how many columns of a terminal a character takes.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	default:
		return 1
	}
}

// width is how many columns of a terminal a text without styles takes.
func width(text string) int {
	n := 0
	for _, r := range text {
		n += columns(r)
	}
	return n
}

// pad fills a text up to a number of columns.
func pad(text string, n int) string { return text + strings.Repeat(" ", max(0, n-width(text))) }

// wrap breaks a text between words into lines of at most n columns; longer words are broken too.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for _, word := range words(text) {
		if line != "" && width(line)+1+width(word) <= n {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for width(word) > n {
			head := cut(word, n)
			lines, word = append(lines, head), word[len(head):]
		}
		line = word
	}
	return append(lines, line)
}

// words parts a text at its blanks, and keeps a number together with its unit.
func words(text string) []string {
	var parts []string
	for _, word := range strings.Fields(text) {
		last := len(parts) - 1
		switch strings.TrimRight(word, ".,;)") {
		case "%", "ms", "s", "min", "h", "days":
			if last >= 0 && strings.ContainsRune("0123456789", rune(parts[last][len(parts[last])-1])) {
				parts[last] += " " + word
				continue
			}
		}
		parts = append(parts, word)
	}
	return parts
}

// cut returns the beginning of a text that fits into n columns, at least one character.
func cut(text string, n int) string {
	taken := 0
	for i, r := range text {
		if taken += columns(r); taken > n && i > 0 {
			return text[:i]
		}
	}
	return text
}

// span formats how long something lasts: "12 s", "3 min", "2 h 5 min", "4 days".
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// clock writes a time as short as it is clear: "13:04:05", "Nov 20 07:00", "2025-11-20".
func (l Layout) clock(t time.Time) string {
	now, t := l.Now.In(l.location()), t.In(l.location())
	switch {
	case now.Format(time.DateOnly) == t.Format(time.DateOnly):
		return t.Format(time.TimeOnly)
	case now.Sub(t).Abs() < 300*24*time.Hour:
		return t.Format("Jan _2 15:04")
	default:
		return t.Format(time.DateOnly)
	}
}

func (l Layout) location() *time.Location {
	if l.Location == nil {
		return time.UTC
	}
	return l.Location
}
