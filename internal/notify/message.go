// Package notify brings messages to the administrator, by mail.
//
// The lines that are worth a message are the lines that the mail would leave by. So a message goes
// into a queue on disk first, and from there to the mail server when one can be reached: in order,
// at least once, several waiting ones as one mail. Nothing here ever delays the caller.
//
// The queue and its loop know messages and a transport, not mail: other ways to notify need only
// another transport and a directory of their own.
package notify

import (
	"fmt"
	"strings"
	"time"
)

// Message is one thing to tell the administrator.
type Message struct {
	Time    time.Time `json:"time"`    // of the event
	Subject string    `json:"subject"` // one line; example "Uplinks status change"
	Body    string    `json:"body"`    // plain text, any number of lines
}

// Mail is one or more messages on their way, as the transport gets it.
type Mail struct {
	ID      string    // the same each time the mail is tried, and no other mail's
	Time    time.Time // of the latest event
	Subject string
	Body    string
	// Partial asks for delivery to those recipients that the server accepts now. Without it a
	// recipient that is refused for the moment (greylisting) holds back the whole mail, so that all
	// get it once.
	Partial bool
}

// compose makes the mail of an entry: a single message as it is, several in order, each under its
// time and subject.
func compose(e *entry) Mail {
	latest := e.Messages[len(e.Messages)-1]
	m := Mail{ID: e.ID, Time: latest.Time, Subject: latest.Subject, Body: latest.Body}
	count := len(e.Messages) + e.Omitted
	if count == 1 {
		return m
	}
	m.Subject = fmt.Sprintf("%s (%d changes)", latest.Subject, count)
	var b strings.Builder
	if e.Omitted > 0 {
		fmt.Fprintf(&b, "%d earlier changes are left out here, the log has them.\n\n", e.Omitted)
	}
	for i, message := range e.Messages {
		if i > 0 {
			b.WriteString("\n\n")
		}
		fmt.Fprintf(&b, "%s  %s\n\n%s", message.Time.Format("2006-01-02 15:04:05 -0700"), message.Subject,
			strings.TrimRight(message.Body, "\n"))
	}
	b.WriteByte('\n')
	m.Body = b.String()
	return m
}
