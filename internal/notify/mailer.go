package notify

import (
	"context"
	"log/slog"
	"sync"

	"ftr/internal/config"
)

// transport brings one mail to its recipients.
type transport interface {
	// Send returns when the mail was accepted, for at least one recipient; missed then tells of those
	// whom the server refused. An error means that nobody got it, or that this is not known.
	Send(ctx context.Context, cfg *config.Email, mail Mail) (missed []*SendError, err error)
}

// Mailer mails messages, at least once each, in order. A mail that is sent again because the
// server's answer was lost or the program was killed has the same Message-ID and content, so that
// mail systems can tell. The goroutine that calls Run owns the queue.
type Mailer struct {
	dir       string
	log       *slog.Logger
	transport transport
	wake      chan struct{} // there is news in what mu protects
	kick      chan struct{}

	mu      sync.Mutex
	cfg     *config.Email // behind a pointer: fmt prints it as an address, never a password
	inbox   []Message     // not yet taken by Run
	omitted int           // older messages that the inbox had no room for
}

// NewMailer returns a mailer for cfg, whose queue is in dir (made if missing, for the owner only).
// Run must be called for anything to happen.
func NewMailer(cfg config.Email, dir string, log *slog.Logger) *Mailer {
	return newMailer(cfg, dir, log, smtpTransport{})
}

func newMailer(cfg config.Email, dir string, log *slog.Logger, t transport) *Mailer {
	return &Mailer{
		dir: dir, log: log, transport: t, cfg: &cfg,
		wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
	}
}

// Notify hands a message over. It never waits and touches no file: that is for Run. While mail is
// switched off the message is dropped.
func (m *Mailer) Notify(message Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.cfg.Enabled {
		return
	}
	if len(m.inbox) == maxMessages {
		// Only if the disk hangs for a thousand changes: the newest matter most.
		m.inbox = m.inbox[1:]
		m.omitted++
	}
	m.inbox = append(m.inbox, message)
	signal(m.wake)
}

// Kick says that sending has a better chance now, since a line came up: a waiting retry is brought
// forward. It never waits.
func (m *Mailer) Kick() { signal(m.kick) }

// Update replaces the configuration, from the next attempt on. It never waits.
func (m *Mailer) Update(cfg config.Email) {
	m.mu.Lock()
	m.cfg = &cfg
	m.mu.Unlock()
	signal(m.wake)
	signal(m.kick)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the same news is waiting already
	}
}

// take empties the inbox.
func (m *Mailer) take() (messages []Message, omitted int, cfg *config.Email) {
	m.mu.Lock()
	defer m.mu.Unlock()
	messages, omitted = m.inbox, m.omitted
	m.inbox, m.omitted = nil, 0
	return messages, omitted, m.cfg
}
