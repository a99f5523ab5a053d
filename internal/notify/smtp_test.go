package notify

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
)

var sample = Mail{
	ID: "ABCDEF", Time: time.Date(2026, 3, 1, 14, 5, 6, 0, time.FixedZone("", 3600)),
	Subject: "Uplinks status change: Büro ↯\r\nBcc: evil@example.com",
	Body: "Uplink: Büro ✓\n.\n..leading dots\nFrom here\n\ttab = equals\n" + strings.Repeat("long ünï ", 300) +
		"\nends without newline\x1b",
}

func TestMessageOnTheWire(t *testing.T) {
	s := newServer().start(t, "127.0.0.1", 0)
	cfg := emailTo("127.0.0.1", s.port)
	cfg.Sender = "Füße Router <router@example.com>"
	cfg.Recipients = []string{"Admin <admin@example.com>", "second@example.org"}
	missed, err := smtpTransport{}.Send(t.Context(), &cfg, sample)
	if err != nil || len(missed) != 0 {
		t.Fatal(err, missed)
	}
	m := s.wait(t, 1)[0]
	if m.from != "router@example.com" || cmp.Diff([]string{"admin@example.com", "second@example.org"}, m.to) != "" {
		t.Errorf("envelope from %s to %v", m.from, m.to)
	}
	if diff := cmp.Diff(strings.ReplaceAll(sample.Subject, "\r\n", "  "), m.subject); diff != "" {
		t.Errorf("subject (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(strings.ReplaceAll(sample.Body, "\x1b", "?"), strings.TrimSuffix(m.body, "\n")); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	want := map[string]string{
		"Date": "Sun, 01 Mar 2026 14:05:06 +0100", "Message-Id": "<ABCDEF@example.com>",
		"Auto-Submitted": "auto-generated", "Bcc": "", "X-Mailer": "Fault Tolerant Router",
		"To": `"Admin" <admin@example.com>, <second@example.org>`,
	}
	for name, value := range want {
		if got := m.header.Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	for line := range strings.Lines(m.raw) {
		if len(line) > 1000 || strings.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
			t.Errorf("not fit for any server: %q", line)
		}
	}
}

func TestSecurity(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	stranger, err := newAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		address  string
		port     int
		ca       *authority // nil: the server has no TLS
		certName string     // default: address
		expired  bool
		offer    []string
		auth     config.Auth
		starttls bool
		want     string // part of the error; "" if the mail must arrive
		wantTLS  bool
	}{
		{name: "clear", address: remote, starttls: true},
		{name: "STARTTLS", address: remote, ca: trusted, starttls: true, wantTLS: true},
		{name: "STARTTLS switched off", address: remote, ca: trusted, starttls: false},
		{name: "PLAIN after STARTTLS", address: remote, ca: trusted, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true, wantTLS: true},
		{name: "LOGIN after STARTTLS", address: remote, ca: trusted, offer: []string{"PLAIN", "LOGIN"}, auth: config.AuthLogin, starttls: true, wantTLS: true},
		{name: "CRAM-MD5 after STARTTLS", address: remote, ca: trusted, offer: []string{"CRAM-MD5"}, auth: config.AuthCRAMMD5, starttls: true, wantTLS: true},
		{name: "CRAM-MD5 in clear", address: remote, offer: []string{"CRAM-MD5"}, auth: config.AuthCRAMMD5, starttls: true},
		{name: "implicit TLS", address: remote, port: 465, ca: trusted, offer: []string{"LOGIN"}, auth: config.AuthLogin, wantTLS: true},
		{name: "password in clear is refused", address: remote, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true,
			want: "send mail: AUTH PLAIN: the server offers no STARTTLS, so the password would travel in clear; use port 465 or 587 of a server with TLS, or allow it with enable_starttls_auto: false"},
		{name: "password in clear, allowed", address: remote, offer: []string{"PLAIN"}, auth: config.AuthPlain},
		{name: "password in clear over loopback", address: "127.0.0.1", offer: []string{"LOGIN"}, auth: config.AuthLogin, starttls: true},
		{name: "stranger's certificate before password", address: remote, ca: stranger, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true,
			want: "send mail: STARTTLS 192.0.2.1: tls: failed to verify certificate: x509: certificate signed by unknown authority; if you trust this server, install its CA's certificate"},
		{name: "stranger's certificate, nothing secret", address: remote, ca: stranger, starttls: true, wantTLS: true},
		{name: "own certificate over loopback", address: "127.0.0.1", ca: stranger, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true, wantTLS: true},
		{name: "certificate of another name", address: remote, ca: trusted, certName: otherRemote, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true,
			want: "set email.smtp_parameters.address to a name in the server's certificate"},
		{name: "expired certificate", address: remote, ca: trusted, expired: true, offer: []string{"PLAIN"}, auth: config.AuthPlain, starttls: true,
			want: "the server's certificate is not valid now or not for this use; check this machine's clock, and the server's certificate"},
		{name: "stranger on port 465", address: remote, port: 465, ca: stranger, want: "send mail: TLS 192.0.2.1:465: tls: failed to verify"},
		{name: "no TLS on port 465", address: remote, port: 465, want: "the port does not speak TLS from the start: set email.smtp_parameters.port to 587 or 25"},
		{name: "no authentication offered", address: remote, ca: trusted, auth: config.AuthPlain, starttls: true,
			want: "AUTH PLAIN: the server offers no authentication; remove authentication from email.smtp_parameters"},
		{name: "other mechanism offered", address: remote, ca: trusted, offer: []string{"PLAIN", "LOGIN"}, auth: config.AuthCRAMMD5, starttls: true,
			want: "AUTH CRAM-MD5: the server offers only PLAIN LOGIN; set email.smtp_parameters.authentication to one of these"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(tt.offer...)
			if tt.ca != nil {
				until := hour
				if tt.expired {
					until = time.Now().Add(-time.Minute)
				}
				if tt.certName == "" {
					tt.certName = tt.address
				}
				s.TLSConfig = tt.ca.serve(t, tt.certName, until)
			}
			s.listen(t, tt.address, tt.port)
			cfg := emailTo(tt.address, s.port)
			cfg.SMTP.STARTTLS, cfg.SMTP.Auth = tt.starttls, tt.auth
			cfg.SMTP.User, cfg.SMTP.Password = testUser, config.NewSecret(testPassword)
			err := SendTest(t.Context(), cfg)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := s.wait(t, 1)[0]
			if m.tls != tt.wantTLS || tt.auth != config.AuthNone && m.user != testUser {
				t.Errorf("tls %v, user %q", m.tls, m.user)
			}
		})
	}
}

// listen is start, with TLS from the start on port 465.
func (s *server) listen(t *testing.T, address string, port int) {
	t.Helper()
	if port != implicitTLS || s.TLSConfig == nil {
		s.start(t, address, port)
		return
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "465"))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, tlsListener(listener, s.TLSConfig))
}

func TestWrongPassword(t *testing.T) {
	for auth, name := range map[config.Auth]string{config.AuthPlain: "PLAIN", config.AuthLogin: "LOGIN", config.AuthCRAMMD5: "CRAM-MD5"} {
		s := newServer(name).start(t, "127.0.0.1", 0)
		cfg := emailTo("127.0.0.1", s.port)
		cfg.SMTP.Auth, cfg.SMTP.User, cfg.SMTP.Password = auth, testUser, config.NewSecret("wrong-passphrase")
		_, err := smtpTransport{}.Send(t.Context(), &cfg, sample)
		e := asSendError(t, err)
		if e.Step != StepAuth || e.Object != name || e.Code != 535 || !strings.Contains(e.Cure, "check authentication, user_name and password") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "wrong-passphrase") {
			t.Errorf("the server's reply reveals it: %v", err)
		}
	}
}

func TestRefusedRecipients(t *testing.T) {
	gone := &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	tests := []struct {
		name    string
		refuse  map[string]error
		partial bool
		missed  int
		to      []string
		want    string
	}{
		{"one gone", map[string]error{"a@x.test": gone}, false, 1, []string{"b@x.test"}, ""},
		{"all gone", map[string]error{"a@x.test": gone, "b@x.test": gone}, true, 0, nil, "send mail: RCPT TO a@x.test: server says 550"},
		{"one later", map[string]error{"b@x.test": errBusy}, false, 0, nil, "send mail: RCPT TO b@x.test: server says 451"},
		{"one later, for too long", map[string]error{"b@x.test": errBusy}, true, 1, []string{"a@x.test"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer()
			s.onRcpt = func(to string) error { return tt.refuse[to] }
			s.start(t, "127.0.0.1", 0)
			cfg := emailTo("127.0.0.1", s.port)
			cfg.Recipients = []string{"a@x.test", "b@x.test"}
			mail := sample
			mail.Partial = tt.partial
			missed, err := smtpTransport{}.Send(t.Context(), &cfg, mail)
			if len(missed) != tt.missed || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("missed %v, err %v", missed, err)
			}
			if tt.to == nil {
				if got := s.got(); len(got) != 0 {
					t.Errorf("arrived: %v", got)
				}
			} else if diff := cmp.Diff(tt.to, s.wait(t, 1)[0].to); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPasswordSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := map[string]string{"CREDENTIALS_DIRECTORY": dir}
	tests := []struct {
		name string
		cfg  config.SMTP
		env  map[string]string
		want string
		err  string
	}{
		{"inline", config.SMTP{Password: config.NewSecret("p")}, nil, "p", ""},
		{"file", config.SMTP{PasswordFile: write("nl", "p w \n")}, nil, "p w ", ""},
		{"file of DOS", config.SMTP{PasswordFile: write("crlf", "pw\r\n")}, nil, "pw", ""},
		{"file without newline", config.SMTP{PasswordFile: write("bare", "pw")}, nil, "pw", ""},
		{"empty file", config.SMTP{PasswordFile: write("empty", "\n")}, nil, "", "is empty"},
		{"two lines", config.SMTP{PasswordFile: write("two", "a\nb\n")}, nil, "", "more than one line"},
		{"huge", config.SMTP{PasswordFile: write("huge", strings.Repeat("x", 5000))}, nil, "", "longer than"},
		{"missing file", config.SMTP{PasswordFile: dir + "/none"}, nil, "", "no such file"},
		{"credential", config.SMTP{PasswordCredential: "nl"}, env, "p w ", ""},
		{"no credentials", config.SMTP{PasswordCredential: "nl"}, nil, "", "add LoadCredential=nl:FILE"},
		{"credential elsewhere", config.SMTP{PasswordCredential: "../nl"}, env, "", "not a plain name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := password(tt.cfg, func(k string) string { return tt.env[k] })
			if got.Reveal() != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v", got.Reveal(), err)
			}
		})
	}
}

func TestUnusableAddresses(t *testing.T) {
	for want, change := range map[string]func(*config.Email){
		"send mail: make the mail: email.recipients: there is none": func(c *config.Email) { c.Recipients = nil },
		"send mail: make the mail: email.recipients: ":              func(c *config.Email) { c.Recipients = []string{"admin@"} },
		"send mail: make the mail: email.sender: ":                  func(c *config.Email) { c.Sender = "x\r\nRCPT TO:<y@z>" },
	} {
		cfg := emailTo("127.0.0.1", 1)
		change(&cfg)
		if err := SendTest(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestHelloName(t *testing.T) {
	tests := []struct{ configured, hostname, local, want string }{
		{"mx.example.com", "h.example.org", "192.0.2.7", "mx.example.com"},
		{"", "h.example.org", "192.0.2.7", "h.example.org"},
		{"", "router", "192.0.2.7", "[192.0.2.7]"},
		{"", "router.", "2001:db8::7", "[IPv6:2001:db8::7]"},
	}
	for _, tt := range tests {
		local := &net.TCPAddr{IP: net.ParseIP(tt.local), Port: 1}
		if got := helloName(tt.configured, func() (string, error) { return tt.hostname, nil }, local); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

// The whole way: the server is down, then comes up; what changed meanwhile is one mail.
func TestMailerWithRealServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	records := make(chan string, 100)
	m := NewMailer(emailTo("127.0.0.1", port), t.TempDir(), slog.New(&recorder{records: records}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	m.Notify(message("change 1"))
	waitFor(t, records, "mail cannot be sent, will be tried again")
	m.Notify(message("change 2"))
	waitFor(t, records, "mail queued")
	s := newServer().start(t, "127.0.0.1", port)
	m.Kick() // takes effect within the least distance of two attempts
	got := s.wait(t, 1)[0]
	if got.subject != "s (2 changes)" || !strings.Contains(got.body, "change 1") || !strings.Contains(got.body, "change 2") {
		t.Errorf("%s: %s", got.subject, got.body)
	}
	waitFor(t, records, "mail sent")
}

// recorder hands log messages to the test.
type recorder struct {
	slog.Handler
	records chan string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.records <- record.Message
	return nil
}

func waitFor(t *testing.T, records chan string, want string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case got := <-records:
			if got == want {
				return
			}
		case <-limit:
			t.Fatalf("not logged: %s", want)
		}
	}
}
