package logging

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendText appends one line of a message. What does not print is escaped as in Go: controls, bytes
// that are not UTF-8, and the invisible characters that reorder what people see (U+202E and its
// like). Tabs stay.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case r == '\t' || strconv.IsPrint(r):
			b = append(b, s[i:i+size]...)
		default:
			quoted := strconv.QuoteRune(r)
			b = append(b, quoted[1:len(quoted)-1]...)
		}
		i += size
	}
	return b
}

// appendValue appends a key or value: as it is where that is unambiguous, else quoted as in Go.
func appendValue(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// plain tells whether s can be read back without quotes.
func plain(s string) bool {
	if s == "" || !utf8.ValidString(s) || strings.ContainsAny(s, ` ="`) {
		return false
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
