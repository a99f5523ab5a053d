package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
)

// hanging is a transport that never gets an answer.
type hanging struct{ started chan struct{} }

func (h hanging) Send(ctx context.Context, _ *config.Email, _ Mail) ([]*SendError, error) {
	close(h.started)
	<-ctx.Done()
	return nil, &SendError{Step: StepContent, Reason: "interrupted", cause: context.Canceled}
}

// While the server hangs, messages are stored and callers go on; the end of the context interrupts.
func TestStoppedWhileSending(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		h := hanging{make(chan struct{})}
		m := newMailer(emailTo("mail.test", 25), dir, slog.New(slog.NewTextHandler(&log, nil)), h)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { m.Run(ctx) })
		m.Notify(change(0))
		<-h.started
		m.Notify(change(1))
		synctest.Wait()
		if got := names(t, dir); len(got) != 2 {
			t.Errorf("stored while sending: %v", got)
		}
		m.Notify(change(2)) // together with the end: stored all the same
		cancel()
		wg.Wait()
	})
	if log.Len() != 0 {
		t.Errorf("being stopped is no news: %s", log.String())
	}
	q := openQueue(dir, slog.New(slog.DiscardHandler))
	if diff := cmp.Diff([]string{"change 0\n", "change 1\n", "change 2\n"}, bodies(q)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nobody reads: Notify keeps the newest and never waits.
func TestInboxIsBounded(t *testing.T) {
	m := newMailer(emailTo("mail.test", 25), t.TempDir(), slog.New(slog.DiscardHandler), &script{})
	for n := range maxMessages + 10 {
		m.Notify(change(n))
	}
	messages, omitted, _ := m.take()
	if len(messages) != maxMessages || omitted != 10 || messages[0].Body != "change 10\n" {
		t.Errorf("%d messages, %d omitted", len(messages), omitted)
	}
}

func TestContextEndedBeforeRun(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := newMailer(emailTo("mail.test", 25), dir, slog.New(slog.DiscardHandler), &script{})
	m.Notify(change(0))
	if err := m.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("stored: %v", got)
	}
}
