package notify

import (
	"log/slog"
	"slices"
	"time"
)

// queue holds the mails that wait, in order, in memory and on disk. Where the disk fails, memory goes
// on alone, and the disk is tried again with each change.
type queue struct {
	disk    disk
	log     *slog.Logger
	entries []*entry
	next    uint64 // place
	trouble bool   // the disk failed last time, and that was said
}

// openQueue reads what an earlier process left.
func openQueue(dir string, log *slog.Logger) *queue {
	q := &queue{disk: disk{dir: dir}, log: log, next: 1}
	entries, errs := q.disk.load()
	for _, err := range errs {
		log.Warn("mail queue is damaged", "error", err)
	}
	q.entries = entries
	if len(entries) > 0 {
		// Only the first can have been with the server when that process ended.
		entries[0].maybeSent = true
		q.next = entries[len(entries)-1].Last + 1
	}
	return q
}

// add appends messages and stores them. omitted counts those lost before they came here.
func (q *queue) add(messages []Message, omitted int, now time.Time) {
	for _, m := range messages {
		e := &entry{
			Version: formatVersion, ID: newID(), First: q.next, Last: q.next,
			Messages: []waiting{{Message: m, Queued: now}}, Omitted: omitted,
		}
		omitted = 0
		q.next++
		q.entries = append(q.entries, e)
	}
	q.trim()
	q.sync()
	for _, m := range messages {
		q.log.Debug("mail queued", "subject", m.Subject, "time", m.Time, "stored", !q.trouble)
	}
}

// trim keeps the number of messages bounded. Half is thrown out at once, since that rewrites a file.
func (q *queue) trim() {
	if q.count() > maxMessages {
		q.gather(maxMessages/2, maxBytes/2)
	}
}

func (q *queue) count() int {
	n := 0
	for _, e := range q.entries {
		n += len(e.Messages)
	}
	return n
}

// gather makes one of all entries that may be changed, which are the last ones.
func (q *queue) gather(count, bytes int) {
	from := slices.IndexFunc(q.entries, (*entry).mutable)
	if from < 0 || from == len(q.entries)-1 {
		return
	}
	q.entries = append(q.entries[:from:from], merge(q.entries[from:], count, bytes))
}

// take returns the mail to be sent next, nil if there is none. It is on disk as it will be sent, so
// that after a crash the same one is sent again, under the same ID.
func (q *queue) take() *entry {
	if len(q.entries) == 0 {
		return nil
	}
	if q.entries[0].mutable() {
		q.gather(maxMessages, maxBytes)
		q.sync()
	}
	q.entries[0].sending = true
	return q.entries[0]
}

// drop removes the first mail: it was sent, or given up.
func (q *queue) drop() {
	e := q.entries[0]
	q.entries = q.entries[1:]
	q.remove(e)
}

func (q *queue) remove(e *entry) {
	if q.disk.has(e) {
		q.said(q.disk.remove(e))
	}
}

// expire removes messages older than maxAge and returns how many these were.
func (q *queue) expire(now time.Time, maxAge time.Duration) int {
	expired := 0
	for _, e := range q.entries {
		expired += e.expire(now, maxAge)
	}
	if expired == 0 {
		return 0
	}
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if len(e.Messages) == 0 {
			q.remove(e)
			return true
		}
		return false
	})
	q.sync()
	return expired
}

// sync stores what is not stored yet.
func (q *queue) sync() {
	for _, e := range q.entries {
		if e.stored {
			continue
		}
		if err := q.disk.store(e); err != nil {
			q.said(err)
			return
		}
		q.said(nil)
	}
}

// said logs when the disk begins to fail and when it works again.
func (q *queue) said(err error) {
	switch {
	case err != nil && !q.trouble:
		q.log.Warn("mail queue cannot be written: waiting mails are kept in memory, and lost if the program ends",
			"directory", q.disk.dir, "error", err)
	case err == nil && q.trouble:
		q.log.Info("mail queue can be written again", "directory", q.disk.dir)
	}
	q.trouble = err != nil
}
