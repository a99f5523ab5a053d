package notify

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What may wait at most: more is thinned out, the oldest first.
const (
	maxMessages = 1000
	maxBytes    = 2 << 20 // of bodies in one mail; servers commonly take 10 MiB, encoded
)

// formatVersion is of the files in the queue.
const formatVersion = 1

// entry is one mail in the queue: the content of one file, and what only this process knows of it.
type entry struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	First    uint64    `json:"first"`    // its place in the queue: it stands for all
	Last     uint64    `json:"last"`     // entries from First to Last
	Messages []waiting `json:"messages"` // in order, at least one
	Omitted  int       `json:"omitted"`  // older messages that there was no room for

	stored    bool      // the file holds what the entry holds
	sending   bool      // a copy is with the transport now
	maybeSent bool      // the server may have it already: a resend must be the same mail
	refusals  int       // how often the server refused the content for good
	deferred  time.Time // first time that the server refused some recipient for the moment
}

// waiting is a message with the time since when it waits. Within one process this is immune against
// steps of the clock: it carries the monotonic reading.
type waiting struct {
	Message
	Queued time.Time `json:"queued"`
}

// newID returns what no other mail was or will be called.
func newID() string { return rand.Text() }

// mutable tells whether messages may still be added or taken away.
func (e *entry) mutable() bool { return !e.sending && !e.maybeSent }

// merge makes one entry of neighbours in the queue; it keeps the newest messages that fit.
func merge(entries []*entry, count, bytes int) *entry {
	first, last := entries[0], entries[len(entries)-1]
	merged := &entry{Version: formatVersion, ID: first.ID, First: first.First, Last: last.Last, deferred: first.deferred}
	for _, e := range entries {
		merged.Messages = append(merged.Messages, e.Messages...)
		merged.Omitted += e.Omitted
	}
	room, keep := bytes, 0
	for keep < min(count, len(merged.Messages)) {
		room -= len(merged.Messages[len(merged.Messages)-1-keep].Body)
		if room < 0 && keep > 0 {
			break
		}
		keep++
	}
	drop := len(merged.Messages) - keep
	merged.Messages = merged.Messages[drop:]
	merged.Omitted += drop
	return merged
}

// age returns for how long a message has waited. A message from before the clock was set (a router
// without battery starts in 1970) counts from now.
func (w *waiting) age(now time.Time) time.Duration {
	if w.Queued.UTC().Year() < 2000 || w.Queued.After(now) {
		w.Queued = now
	}
	return now.Sub(w.Queued)
}

// expire takes the messages out that have waited for longer than maxAge and returns how many these
// were, those omitted before included. What is left is another mail.
func (e *entry) expire(now time.Time, maxAge time.Duration) int {
	young := []waiting{}
	for i := range e.Messages {
		if e.Messages[i].age(now) <= maxAge {
			young = append(young, e.Messages[i])
		}
	}
	expired := len(e.Messages) - len(young)
	if expired == 0 {
		return 0
	}
	expired += e.Omitted
	e.Messages, e.Omitted, e.ID = young, 0, newID()
	e.stored, e.maybeSent, e.refusals = false, false, 0
	return expired
}

func (e *entry) encode() ([]byte, error) { return json.MarshalIndent(e, "", "\t") }

// decode reads a file of the queue; place is the number in its name.
func decode(data []byte, place uint64) (*entry, error) {
	e := &entry{stored: true}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, err
	}
	switch {
	case e.Version != formatVersion:
		return nil, fmt.Errorf("format version %d, this program knows %d", e.Version, formatVersion)
	case e.ID == "" || len(e.Messages) == 0 || e.Omitted < 0:
		return nil, errors.New("incomplete")
	case e.First != place || e.Last < e.First:
		return nil, fmt.Errorf("is for places %d to %d", e.First, e.Last)
	}
	return e, nil
}
