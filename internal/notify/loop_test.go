package notify

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFirstAtOnceThenGathered(t *testing.T) {
	s := &script{}
	run(t, s, func(m *Mailer) {
		for n := range 4 {
			m.Notify(change(n))
			pass(time.Second)
		}
		pass(10 * time.Minute)
		m.Notify(change(4))
	})
	want := []string{"0s Uplinks status change", "30s Uplinks status change (3 changes)", "10m4s Uplinks status change"}
	if diff := cmp.Diff(want, s.sent()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	body := s.attempts[1].Mail.Body
	wantBody := "2000-01-01 00:00:01 +0000  Uplinks status change\n\nchange 1\n\n" +
		"2000-01-01 00:00:02 +0000  Uplinks status change\n\nchange 2\n\n" +
		"2000-01-01 00:00:03 +0000  Uplinks status change\n\nchange 3\n"
	if diff := cmp.Diff(wantBody, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !s.attempts[1].Mail.Time.Equal(start.Add(3 * time.Second)) {
		t.Errorf("date is that of the latest change, got %v", s.attempts[1].Mail.Time)
	}
}

// Two changes a minute for a day: a few mails, and no change is lost.
func TestFlappingAllDay(t *testing.T) {
	s := &script{}
	const changes = 2 * 60 * 24
	run(t, s, func(m *Mailer) {
		for n := range changes {
			m.Notify(change(n))
			pass(30 * time.Second)
		}
		pass(time.Hour)
	})
	if n := len(s.sent()); n > 60 {
		t.Errorf("%d mails", n)
	}
	n := 0
	for _, a := range s.attempts {
		for line := range strings.Lines(a.Mail.Body) {
			if strings.HasPrefix(line, "change ") {
				if line != fmt.Sprintf("change %d\n", n) {
					t.Fatalf("got %q, want %d", line, n)
				}
				n++
			}
		}
	}
	if n != changes {
		t.Errorf("%d changes of %d", n, changes)
	}
}

var refusedConnection = &SendError{Step: StepConnect, Object: "mail.test:25", Reason: "connection refused"}

func TestServerDownThenUp(t *testing.T) {
	s := &script{answer: func(n int) ([]*SendError, error) {
		if n <= 8 {
			return nil, refusedConnection
		}
		return nil, nil
	}}
	log, dir := run(t, s, func(m *Mailer) {
		for n := range 5 {
			m.Notify(change(n))
			pass(2 * time.Second)
		}
		pass(30 * time.Minute)
	})
	if got := s.sent(); len(got) != 1 || !strings.HasSuffix(got[0], "(5 changes)") {
		t.Errorf("all that waited must go as one: %v", got)
	}
	at := s.times()
	for i := 1; i < len(at); i++ {
		wait, full := at[i]-at[i-1], min(lastRetry, firstRetry<<(i-1))
		if wait > full || wait < full*3/4 {
			t.Errorf("attempt %d came %v after the one before, want %v or up to a quarter less", i+1, wait, full)
		}
	}
	if strings.Count(log, "cannot be sent") != 1 || strings.Count(log, "mail sent") != 1 {
		t.Errorf("one line for the failure, one for the success:\n%s", log)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

func TestKick(t *testing.T) {
	up := false
	s := &script{}
	s.answer = func(int) ([]*SendError, error) {
		if up {
			return nil, nil
		}
		return nil, refusedConnection
	}
	run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(time.Hour)
		before := len(s.times())
		for range 100 { // a flapping line: kicks do not hammer the server
			m.Kick()
			pass(100 * time.Millisecond)
		}
		if n := len(s.times()) - before; n < 5 || n > 11 {
			t.Errorf("%d attempts for 100 kicks in 10 s", n)
		}
		pass(time.Hour)
		up = true
		m.Kick()
		synctest.Wait()
		if len(s.sent()) != 1 {
			t.Error("not sent at once")
		}
	})
}

func TestErrorsAreLoggedWhenTheyChange(t *testing.T) {
	s := &script{answer: func(n int) ([]*SendError, error) {
		switch {
		case n < 5:
			return nil, refusedConnection
		case n < 9: // the words differ each time
			return nil, &SendError{Step: StepAuth, Object: "PLAIN", Code: 535, Reason: fmt.Sprintf("no, session %d", n)}
		}
		return nil, nil
	}}
	log, _ := run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(3 * time.Hour)
	})
	if n := strings.Count(log, "cannot be sent"); n != 2 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

func TestGivenUpAfterMaxAge(t *testing.T) {
	s := &script{answer: func(int) ([]*SendError, error) { return nil, refusedConnection }}
	log, dir := run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		m.Notify(change(1))
		pass(48 * time.Hour)
		m.Notify(change(2))
		pass(25 * time.Hour)
	})
	if !strings.Contains(log, `level=ERROR msg="mail given up: it could not be sent for too long" messages=2`) ||
		!strings.Contains(log, "connection refused") || strings.Count(log, "level=ERROR") != 1 {
		t.Errorf("log:\n%s", log)
	}
	last := s.attempts[len(s.attempts)-1].Mail
	if last.Subject != "Uplinks status change" || last.Body != "change 2\n" {
		t.Errorf("the young one stays: %+v", last)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("queue: %v", left)
	}
}

func TestRefusedContent(t *testing.T) {
	s := &script{answer: func(n int) ([]*SendError, error) {
		if n <= maxRefusals {
			return nil, &SendError{Step: StepContent, Code: 554, Reason: "looks like spam"}
		}
		return nil, nil
	}}
	log, _ := run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(time.Second)
		m.Notify(change(1))
		pass(time.Hour)
	})
	if !strings.Contains(log, "mail given up: the server refuses its content") || !strings.Contains(log, "looks like spam") {
		t.Errorf("log:\n%s", log)
	}
	for i, a := range s.attempts {
		want := "change 0\n"
		if i >= maxRefusals {
			want = "change 1\n"
		}
		if a.Mail.Body != want {
			t.Errorf("attempt %d: %q, the refused one must not spoil others", i+1, a.Mail.Body)
		}
	}
	if len(s.attempts) != maxRefusals+1 {
		t.Errorf("%d attempts", len(s.attempts))
	}
}

// The answer to the mail was lost: the server may have it. So the same mail goes again, alone.
func TestLostAnswer(t *testing.T) {
	s := &script{answer: func(n int) ([]*SendError, error) {
		if n == 1 {
			return nil, &SendError{Step: StepContent, Reason: "the server closed the connection"}
		}
		return nil, nil
	}}
	run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(time.Second)
		m.Notify(change(1))
		pass(time.Minute)
	})
	if len(s.attempts) != 3 {
		t.Fatalf("%d attempts", len(s.attempts))
	}
	if diff := cmp.Diff(s.attempts[0].Mail, s.attempts[1].Mail); diff != "" {
		t.Errorf("a resend must be the same mail (-first +second):\n%s", diff)
	}
	if s.attempts[2].Mail.ID == s.attempts[0].Mail.ID || s.attempts[2].Mail.Body != "change 1\n" {
		t.Errorf("third: %+v", s.attempts[2].Mail)
	}
}

// A recipient that is put off holds back the others for a while, not for ever.
func TestPatience(t *testing.T) {
	later := &SendError{Step: StepRecipient, Object: "full@example.com", Code: 452, Reason: "mailbox full"}
	s := &script{}
	s.answer = func(int) ([]*SendError, error) {
		if time.Since(start) < patience {
			return nil, later
		}
		return []*SendError{later}, nil
	}
	log, _ := run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(time.Hour)
		m.Notify(change(1))
		pass(time.Hour)
	})
	for _, a := range s.attempts[:len(s.attempts)-1] {
		if want := a.at >= patience; a.Mail.Partial != want {
			t.Errorf("at %v partial %v", a.at, a.Mail.Partial)
		}
	}
	if strings.Count(log, "mail does not reach a recipient") != 1 || len(s.sent()) != 2 {
		t.Errorf("said once: %v\n%s", s.sent(), log)
	}
}

func TestDisabledAndUpdate(t *testing.T) {
	s := &script{}
	run(t, s, func(m *Mailer) {
		off := emailTo("mail.test", 25)
		off.Enabled = false
		m.Update(off)
		m.Notify(change(0))
		pass(time.Hour)
		if len(s.times()) != 0 {
			t.Error("sent though switched off")
		}
		m.Update(emailTo("mail.test", 25))
		m.Notify(change(1))
		synctest.Wait()
	})
	if len(s.attempts) != 1 || s.attempts[0].Mail.Body != "change 1\n" {
		t.Errorf("%+v", s.attempts)
	}
}

func TestUpdateRetriesNow(t *testing.T) {
	fixed := false
	s := &script{}
	s.answer = func(int) ([]*SendError, error) {
		if fixed {
			return nil, nil
		}
		return nil, refusedConnection
	}
	run(t, s, func(m *Mailer) {
		m.Notify(change(0))
		pass(5 * time.Hour)
		fixed = true
		m.Update(emailTo("other.test", 25))
		synctest.Wait()
		if len(s.sent()) != 1 {
			t.Error("a new configuration must be tried at once")
		}
	})
}
