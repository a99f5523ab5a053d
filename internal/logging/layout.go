package logging

import (
	"fmt"
	"log/slog"
	"time"
)

// fileTime is RFC 3339 with milliseconds: sorts as text, and the offset tells which clock it was.
const fileTime = "2006-01-02T15:04:05.000Z07:00"

// A layout decides what stands before the text of each line of a record.
type layout interface {
	// head is for a record's first line.
	head(b []byte, t time.Time, level slog.Level) []byte
	// more is for a message's further lines.
	more(b []byte, level slog.Level) []byte
	// key writes the key of an attribute, already escaped.
	key(b []byte, key string) []byte
}

// consoleLayout is for a person who watches: the time of day is enough.
type consoleLayout struct{ color bool }

func (l consoleLayout) head(b []byte, t time.Time, level slog.Level) []byte {
	if !t.IsZero() {
		b = l.paint(b, "2", t.Format("15:04:05.000"))
		b = append(b, ' ')
	}
	return append(l.paint(b, levelColor(level), levelName(level)), ' ')
}

// more aligns with the message of the first line.
func (l consoleLayout) more(b []byte, _ slog.Level) []byte {
	return fmt.Appendf(b, "%*s", len("15:04:05.000 INFO  "), "")
}

func (l consoleLayout) key(b []byte, key string) []byte { return l.paint(b, "2", key+"=") }

// paint wraps text into an SGR sequence (ECMA-48, console_codes(4)).
func (l consoleLayout) paint(b []byte, sgr, text string) []byte {
	if !l.color || sgr == "" {
		return append(b, text...)
	}
	return fmt.Appendf(b, "\x1b[%sm%s\x1b[0m", sgr, text)
}

func levelColor(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "1;31"
	case level >= slog.LevelWarn:
		return "33"
	case level >= slog.LevelInfo:
		return "32"
	default:
		return "2"
	}
}

func levelName(level slog.Level) string { return fmt.Sprintf("%-5s", level) }

// journalLayout is the native form of services' output: "<N>" is the priority of the line
// (sd-daemon(3)); the journal adds the time, and makes an entry of each line.
type journalLayout struct{}

func (journalLayout) head(b []byte, _ time.Time, level slog.Level) []byte {
	return fmt.Appendf(b, "<%d>", priority(level))
}

func (l journalLayout) more(b []byte, level slog.Level) []byte {
	return append(l.head(b, time.Time{}, level), "    "...)
}

func (journalLayout) key(b []byte, key string) []byte { return append(append(b, key...), '=') }

// priority translates to the levels of syslog(3).
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	default:
		return 7
	}
}

// fileLayout starts each record with a date, and so no further line of a message.
type fileLayout struct{}

func (fileLayout) head(b []byte, t time.Time, level slog.Level) []byte {
	if !t.IsZero() {
		b = append(t.AppendFormat(b, fileTime), ' ')
	}
	return append(append(b, levelName(level)...), ' ')
}

func (fileLayout) more(b []byte, _ slog.Level) []byte { return append(b, "    "...) }

func (fileLayout) key(b []byte, key string) []byte { return append(append(b, key...), '=') }
