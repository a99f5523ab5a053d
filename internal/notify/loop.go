package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"ftr/internal/config"
)

const (
	// maxRefusals is how often a server may refuse a content for good. More than once, since another
	// line or relay may judge differently.
	maxRefusals = 3
	// patience is for how long the other recipients wait for one whom the server puts off.
	patience = 10 * time.Minute
	// kickSpacing is the least time between two attempts, however often lines come up.
	kickSpacing = time.Second
)

// Run sends what is queued, until ctx ends. What could not be sent is on disk then, for the next run.
func (m *Mailer) Run(ctx context.Context) error {
	l := &loop{Mailer: m, queue: openQueue(m.dir, m.log), results: make(chan result, 1)}
	defer l.stop()
	l.takeInbox()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.attempt(ctx)
		var due <-chan time.Time
		if at, ok := l.due(); ok {
			timer.Reset(time.Until(at))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-m.wake:
			l.takeInbox()
		case <-m.kick:
			l.kicked()
		case r := <-l.results:
			l.finish(r)
		case <-due:
		}
	}
	return nil
}

// loop is the state of Run.
type loop struct {
	*Mailer
	queue   *queue
	pace    pace
	results chan result // of the attempt under way; room for it, so that it never blocks

	cfg      *config.Email
	sending  bool
	tried    time.Time // start of the latest attempt
	retry    time.Time // not before, after a failure
	failures int       // in a row
	said     string    // the failure that was logged last; "" if none or since forgiven
	missed   string    // the same for refused recipients
}

type result struct {
	missed []*SendError
	err    error
}

// stop waits for the attempt under way, which ctx has ended, and stores what came last.
func (l *loop) stop() {
	if l.sending {
		l.finish(<-l.results)
	}
	l.takeInbox()
}

func (l *loop) takeInbox() {
	messages, omitted, cfg := l.take()
	if omitted > 0 {
		l.log.Warn("mail queue could not keep up: messages were left out", "count", omitted)
	}
	l.cfg = cfg
	if len(messages) > 0 {
		l.queue.add(messages, omitted, time.Now())
	}
}

// due returns the time of the next attempt, if one is to come.
func (l *loop) due() (time.Time, bool) {
	if l.sending || !l.cfg.Enabled || len(l.queue.entries) == 0 {
		return time.Time{}, false
	}
	at := l.pace.ready()
	if l.retry.After(at) {
		at = l.retry
	}
	return at, true
}

// kicked forgets the failures of the past, but tries no more often than the first retries come.
func (l *loop) kicked() {
	l.failures = 0
	if soon := l.tried.Add(kickSpacing); soon.Before(l.retry) {
		l.retry = soon
	}
}

// attempt sends the next mail, if its time has come.
func (l *loop) attempt(ctx context.Context) {
	now := time.Now()
	if at, ok := l.due(); !ok || at.After(now) {
		return
	}
	l.expire(now)
	e := l.queue.take()
	if e == nil {
		return
	}
	l.tried, l.sending = now, true
	mail, cfg, results, t := compose(e), l.cfg, l.results, l.transport
	mail.Partial = !e.deferred.IsZero() && now.Sub(e.deferred) >= patience
	go func() {
		missed, err := t.Send(ctx, cfg, mail)
		results <- result{missed, err}
	}()
}

func (l *loop) expire(now time.Time) {
	if l.cfg.MaxAge <= 0 {
		return
	}
	if n := l.queue.expire(now, l.cfg.MaxAge); n > 0 {
		l.log.Error("mail given up: it could not be sent for too long", "messages", n, "max_age", l.cfg.MaxAge,
			"last_error", l.said)
	}
}

// finish judges an attempt.
func (l *loop) finish(r result) {
	l.sending = false
	e := l.queue.entries[0]
	e.sending = false
	now := time.Now()
	if r.err != nil {
		l.failed(e, r.err, now)
		return
	}
	l.log.Info("mail sent", "messages", len(e.Messages)+e.Omitted, "waited", e.Messages[0].age(now).Round(time.Second))
	l.queue.drop()
	l.pace = l.pace.sent(now)
	l.failures, l.retry, l.said = 0, time.Time{}, ""
	l.warnMissed(r.missed)
}

// warnMissed logs whom the server refused, once until that changes.
func (l *loop) warnMissed(missed []*SendError) {
	keys := make([]string, len(missed))
	for i, err := range missed {
		keys[i] = err.key()
	}
	key := strings.Join(keys, "\n")
	if key != l.missed {
		for _, err := range missed {
			l.log.Warn("mail does not reach a recipient", "error", err)
		}
	}
	l.missed = key
}

// failed decides what becomes of a mail that was not sent. Refused logins, senders and recipients
// are tried again: the administrator can put them right, or the next line's relay may accept them.
func (l *loop) failed(e *entry, err error, now time.Time) {
	if errors.Is(err, context.Canceled) {
		e.maybeSent = true
		return
	}
	l.failures++
	l.retry = now.Add(backoff(l.failures, rand.Float64()))
	key := err.Error()
	var failure *SendError
	if errors.As(err, &failure) {
		key = failure.key()
		if l.judge(e, failure, now) {
			return
		}
	}
	if key != l.said {
		l.log.Warn("mail cannot be sent, will be tried again", "error", err, "waiting", l.queue.count())
	}
	l.said = key
}

// judge notes on the entry what the server said about it; it returns whether the mail was given up.
func (l *loop) judge(e *entry, failure *SendError, now time.Time) bool {
	switch {
	case failure.Step == StepContent && failure.Code >= 500:
		// Kept apart from others, which may be acceptable.
		e.maybeSent = true
		e.refusals++
		if e.refusals == maxRefusals {
			l.log.Error("mail given up: the server refuses its content", "error", failure)
			l.queue.drop()
			l.failures, l.retry, l.said = 0, time.Time{}, ""
			return true
		}
	case failure.Step == StepContent && failure.Code == 0:
		e.maybeSent = true
	case failure.Step == StepRecipient && failure.Temporary() && e.deferred.IsZero():
		e.deferred = now
	}
	return false
}
