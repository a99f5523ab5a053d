package lab

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"
)

// Entry is one line of the lab's log.
type Entry struct {
	Time time.Time
	Line int    // of the network, from 0; -1: none in particular
	Text string // what the daemon said, or what was done
	// Done: something was done to the network. Otherwise the daemon said it.
	Done bool
}

// Log collects what happens. It may be used by several goroutines.
type Log struct {
	now     func() time.Time
	mu      sync.Mutex
	entries []Entry
	partial []byte
}

func newLog(now func() time.Time) *Log { return &Log{now: now} }

// Event notes something that was done to the network.
func (l *Log) Event(line int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, Entry{Time: l.now(), Line: line, Text: text, Done: true})
}

// Write takes the daemon's output; each full line becomes an entry.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.entries = append(l.entries, Entry{Time: l.now(), Line: -1, Text: strings.TrimRight(string(line), "\r ")})
		l.partial = rest
	}
}

// Entries returns all that happened so far.
func (l *Log) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// Contains tells whether the daemon said something at or after a time.
func (l *Log) Contains(text string, since time.Time) bool {
	return slices.ContainsFunc(l.Entries(), func(e Entry) bool {
		return !e.Done && !e.Time.Before(since) && strings.Contains(e.Text, text)
	})
}

// Tail returns the last lines of the daemon, for messages.
func (l *Log) Tail(n int) string {
	var lines []string
	for _, e := range l.Entries() {
		if !e.Done {
			lines = append(lines, e.Text)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
