package notify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
)

// script is a transport that does as told.
type script struct {
	answer func(n int) ([]*SendError, error) // for the n-th attempt, from 1; nil: all is accepted

	mu       sync.Mutex
	attempts []attempt
}

type attempt struct {
	at       time.Duration // since the start
	Mail     Mail
	accepted bool
}

var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every synctest bubble

func (s *script) Send(_ context.Context, _ *config.Email, m Mail) ([]*SendError, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missed []*SendError
	var err error
	if s.answer != nil {
		missed, err = s.answer(len(s.attempts) + 1)
	}
	s.attempts = append(s.attempts, attempt{time.Since(start), m, err == nil})
	return missed, err
}

// sent returns the accepted mails as "time subject".
func (s *script) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, a := range s.attempts {
		if a.accepted {
			lines = append(lines, fmt.Sprintf("%v %s", a.at, a.Mail.Subject))
		}
	}
	return lines
}

func (s *script) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []time.Duration
	for _, a := range s.attempts {
		at = append(at, a.at)
	}
	return at
}

// run runs a mailer in a bubble while story happens.
func run(t *testing.T, s *script, story func(m *Mailer)) (log string, dir string) {
	t.Helper()
	dir = t.TempDir()
	var buffer bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		m := newMailer(emailTo("mail.test", 25), dir, slog.New(slog.NewTextHandler(&buffer, nil)), s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		story(m)
		synctest.Wait()
		cancel()
		wg.Wait()
	})
	return buffer.String(), dir
}

func change(n int) Message {
	return Message{Time: time.Now().UTC(), Subject: "Uplinks status change", Body: fmt.Sprintf("change %d\n", n)}
}

func pass(d time.Duration) {
	time.Sleep(d) // in a bubble: the clock steps on when all goroutines wait
	synctest.Wait()
}
