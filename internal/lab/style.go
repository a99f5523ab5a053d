package lab

import (
	"strings"
	"unicode/utf8"
)

// style writes colours where the terminal has them.
type style struct{ color bool }

// The colours: the 16 that every terminal has, so that they fit its own theme.
const (
	green, red, yellow, cyan, bold, dim = "32", "31", "33", "36", "1", "2"
)

// paint colours a text.
func (s style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// width returns the columns that a text takes, without its colours. All characters in use here take
// one column.
func width(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case escape:
			escape = r != 'm'
		case r == '\x1b':
			escape = true
		default:
			n++
		}
	}
	return n
}

// clip shortens a text to a number of columns and closes its colours.
func clip(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	var b strings.Builder
	n, escape := 0, false
	for _, r := range text {
		if !escape && r != '\x1b' {
			if n == columns-1 {
				break
			}
			n++
		}
		escape = r == '\x1b' || (escape && r != 'm')
		b.WriteRune(r)
	}
	if strings.ContainsRune(text, '\x1b') {
		return b.String() + "…\x1b[0m"
	}
	return b.String() + "…"
}

// pad fills a text up to a number of columns; a negative number fills at its left.
func pad(text string, columns int) string {
	if columns < 0 {
		return strings.Repeat(" ", max(0, -columns-width(text))) + text
	}
	return text + strings.Repeat(" ", max(0, columns-width(text)))
}

// bar draws a part (0 to 1) as a bar of some columns, in eighths of a column.
func bar(part float64, columns int) string {
	eighths := int(min(max(part, 0), 1)*float64(columns)*8 + 0.5)
	b := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		b += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return b + strings.Repeat("·", columns-utf8.RuneCountInString(b))
}

// wrap breaks a text into lines of some columns, between words.
func wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && width(line)+1+width(word) > columns {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
