package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ftr/internal/config"
)

func tlsListener(l net.Listener, cfg *tls.Config) net.Listener { return tls.NewListener(l, cfg) }

// What a scripted server does instead of its usual answer.
const (
	drop = "drop"
	hang = "hang"
)

// scripted is a server that speaks the usual SMTP, except for one verb. The verb "220" is the
// greeting, "." the end of the message; the answer "echo" repeats what the client sent.
func scripted(t *testing.T, verb, answer string) (port int) {
	t.Helper()
	return serveScript(t, verb, answer, func() {})
}

// stalled is a scripted server that says nothing any more after one verb, and closes the channel when it has
// come so far.
func stalled(t *testing.T, verb string) (port int, hangs <-chan struct{}) {
	t.Helper()
	reached := make(chan struct{})
	return serveScript(t, verb, hang, sync.OnceFunc(func() { close(reached) })), reached
}

func serveScript(t *testing.T, verb, answer string, hangs func()) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				converse(ctx, conn, verb, answer, hangs)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().(*net.TCPAddr).Port
}

func converse(ctx context.Context, conn net.Conn, verb, answer string, hangs func()) {
	usual := map[string]string{
		"220": "220 mail.test", "EHLO": "250-mail.test\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME", "AUTH": "235 ok",
		"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 accepted", "QUIT": "221 bye", "HELO": "250 hi",
	}
	// reply returns whether to go on.
	reply := func(step, line string) bool {
		text, ok := usual[step]
		if !ok {
			text = "500 what?"
		}
		if step == verb {
			text = answer
		}
		switch text {
		case drop:
			return false
		case hang:
			hangs()
			<-ctx.Done()
			return false
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", strings.ReplaceAll(text, "echo", line))
		return err == nil
	}
	if !reply("220", "") {
		return
	}
	in := bufio.NewScanner(conn)
	data := false
	for in.Scan() {
		line := in.Text()
		step := strings.ToUpper(strings.Fields(line + " -")[0])
		switch {
		case data && line != ".":
			continue
		case data:
			step = "."
		}
		if !reply(step, line) {
			return
		}
		data = step == "DATA" && verb != "DATA"
	}
}

func withPassword(port int) *config.Email {
	cfg := emailTo("127.0.0.1", port)
	cfg.SMTP.Auth, cfg.SMTP.User, cfg.SMTP.Password = config.AuthPlain, testUser, config.NewSecret(testPassword)
	return &cfg
}

func TestEachStepCanFail(t *testing.T) {
	steps := []struct {
		verb string
		step Step
	}{
		{"220", StepGreeting}, {"EHLO", StepHello}, {"AUTH", StepAuth}, {"MAIL", StepSender},
		{"RCPT", StepRecipient}, {"DATA", StepData}, {".", StepContent},
	}
	for _, s := range steps {
		for answer, want := range map[string]struct {
			code   int
			reason string
		}{
			drop:                    {0, "the server closed the connection"},
			"421 4.3.2 closing\x1b": {421, "4.3.2 closing"},
			"554 5.7.1 never":       {554, "5.7.1 never"},
			"hello?":                {0, "the answer is no reply of SMTP"},
			"555-one\r\n555 two":    {555, "one two"},
		} {
			t.Run(s.verb+" "+answer, func(t *testing.T) {
				step := s.step
				if s.verb == "EHLO" && answer != drop {
					// HELO (RFC 5321 section 3.2) works, but knows no AUTH.
					step, want.code, want.reason = StepAuth, 0, "the server offers no authentication without TLS"
				}
				_, err := smtpTransport{}.Send(t.Context(), withPassword(scripted(t, s.verb, answer)), sample)
				e := asSendError(t, err)
				if e.Step != step || e.Code != want.code || e.Reason != want.reason {
					t.Errorf("got %s %d %q: %v", e.Step, e.Code, e.Reason, err)
				}
				if strings.ContainsAny(err.Error(), "\r\n\x1b") {
					t.Errorf("not on one line: %q", err)
				}
			})
		}
	}
}

// lapse is a context whose time is over when the channel is closed.
type lapse struct {
	context.Context
	over <-chan struct{}
}

func (l lapse) Done() <-chan struct{} { return l.over }

func (l lapse) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestHangingServer(t *testing.T) {
	for _, verb := range []string{"220", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."} {
		t.Run(verb, func(t *testing.T) {
			port, hangs := stalled(t, verb)
			_, err := smtpTransport{}.Send(lapse{t.Context(), hangs}, withPassword(port), sample)
			if e := asSendError(t, err); e.Code != 0 || e.Reason != "no answer in time" {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("QUIT", func(t *testing.T) { // the mail was accepted: no error
		port, hangs := stalled(t, "QUIT")
		if _, err := (smtpTransport{}).Send(lapse{t.Context(), hangs}, withPassword(port), sample); err != nil {
			t.Error(err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		port, hangs := stalled(t, "MAIL")
		go func() { <-hangs; cancel() }()
		_, err := smtpTransport{}.Send(ctx, withPassword(port), sample)
		if e := asSendError(t, err); e.Reason != "interrupted" || e.Unwrap() != context.Canceled {
			t.Errorf("%v", err)
		}
	})
}

func TestConnectErrors(t *testing.T) {
	tests := []struct{ host, want string }{
		{"127.0.0.1", "send mail: connect 127.0.0.1:1: connection refused; check email.smtp_parameters.address and port"},
		{"203.0.113.1", "send mail: connect 203.0.113.1:1: network is unreachable; check email.smtp_parameters.address and port"},
		{"no-such-host.invalid", `send mail: connect no-such-host.invalid:1: host name "no-such-host.invalid"`},
	}
	for _, tt := range tests {
		cfg := emailTo(tt.host, 1)
		if err := SendTest(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

// The server repeats what it was sent, as it is and in base64, at each step that can.
func TestSecretNeverShows(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00" + testUser + "\x00" + testPassword))
	bare := base64.StdEncoding.EncodeToString([]byte(testPassword))
	for _, tt := range []struct{ verb, answer string }{
		{"AUTH", "535 5.7.8 bad: echo"}, {"AUTH", "454 you said " + testPassword + " and " + bare},
		{"AUTH", "garbage echo"}, {"AUTH", "235-echo\r\n999 " + testPassword}, {"AUTH", "334 " + encoded},
		{"AUTH", "334 " + bare}, {"AUTH", "535 cut:" + encoded[3:]}, {"MAIL", "550 not for " + testPassword},
		{"RCPT", "550-" + testPassword + "\r\n550 " + encoded}, {"DATA", "554 " + bare}, {".", "554 " + encoded},
		{"EHLO", "250-mail.test\r\n250 AUTH " + strings.ToUpper(bare) + " " + testPassword},
		{"220", "554 " + testPassword},
	} {
		for _, auth := range []config.Auth{config.AuthPlain, config.AuthLogin} {
			cfg := withPassword(scripted(t, tt.verb, tt.answer))
			cfg.SMTP.Auth = auth
			var out bytes.Buffer
			log := slog.New(slog.NewMultiHandler(
				slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}),
				slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
			m := NewMailer(*cfg, t.TempDir(), log)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // an unfinished reply hangs
			_, err := smtpTransport{}.Send(ctx, cfg, sample)
			cancel()
			if err == nil {
				t.Fatalf("%v: the mail went through", tt)
			}
			q := openQueue(m.dir, log)
			q.add([]Message{message("x")}, 0, time.Now())
			l := &loop{Mailer: m, queue: q, cfg: cfg}
			l.failed(q.take(), err, time.Now())
			fmt.Fprintf(&out, "%v %+v %#v %v %+v", err, err, err, m, m)
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				fmt.Fprintf(&out, "%v %#v", cause, cause)
			}
			for _, secret := range []string{testPassword, strconv.Quote(testPassword)[1:10], bare, encoded, strings.TrimRight(bare, "=")[:12], encoded[8:20]} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%v reveals %q:\n%s", tt, secret, out.String())
				}
			}
		}
	}
}

func TestClean(t *testing.T) {
	r := redactor{config.NewSecret("hunter2")}
	for text, want := range map[string]string{
		"plain words":                           "plain words",
		"a hunter2 b":                           "a <redacted> b",
		"x " + b64("hunter2") + " y":            "x <redacted> y",
		"x " + b64("\x00u\x00hunter2")[1:]:      "x <redacted>",
		"x " + b64("zz hunter2 zz")[2:]:         "x <redacted>",
		"two\r\nlines\x00\x1b[31m":              "two  lines[31m",
		"bad \xff byte":                         "bad ? byte",
		strings.Repeat("y z ", maxReply):        strings.Repeat("y z ", maxReply/4) + "...",
		"Base64LikeButHarmless/AndLongEnough==": "Base64LikeButHarmless/AndLongEnough==",
	} {
		if got := r.clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func FuzzSecretNeverShows(f *testing.F) {
	f.Add("535 ", " bad", "hunter2!")
	f.Add("0000\a00", "0", "000000") // apart, until the control is taken out
	f.Fuzz(func(t *testing.T, before, after, secret string) {
		if len(secret) < 6 || strings.ContainsAny(secret, "\r\n\x00") {
			return
		}
		// The placeholder's own letters are no leak.
		if strings.Contains(config.NewSecret("x").String(), secret) {
			return
		}
		for _, form := range []string{secret, b64(secret), b64("\x00user\x00" + secret)} {
			got := redactor{config.NewSecret(secret)}.clean(before + " " + form + " " + after)
			if strings.Contains(got, secret) {
				t.Errorf("reveals it: %q", got)
			}
		}
	})
}
