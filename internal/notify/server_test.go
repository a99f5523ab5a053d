package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"mime"
	"mime/quotedprintable"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"ftr/internal/config"
)

// The account that the test server knows. Quoting changes the password.
const testUser, testPassword = "router", `s3c"ret\Pa55+/=word`

// received is a mail as a server got it.
type received struct {
	from    string
	to      []string
	hello   string
	user    string
	tls     bool
	raw     string
	id      string
	subject string
	body    string
	header  mail.Header
}

// server is a mail server (emersion/go-smtp) that keeps what it gets.
type server struct {
	*gosmtp.Server
	port       int
	mechanisms []string
	onSender   func() error
	onRcpt     func(to string) error
	onData     func() error // before the mail is accepted
	onAccepted func(received)

	mu    sync.Mutex
	mails []received
	news  chan struct{}
}

func newServer(mechanisms ...string) *server {
	s := &server{mechanisms: mechanisms, news: make(chan struct{}, 1)}
	s.Server = gosmtp.NewServer(gosmtp.BackendFunc(func(c *gosmtp.Conn) (gosmtp.Session, error) {
		return &peer{server: s, conn: c}, nil
	}))
	s.Domain = "mail.test"
	s.AllowInsecureAuth = true
	s.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

// start listens at address; port 0 takes a free one.
func (s *server) start(t *testing.T, address string, port int) *server {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, listener)
	return s
}

func (s *server) serve(t *testing.T, listener net.Listener) {
	s.port = listener.Addr().(*net.TCPAddr).Port
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(listener) })
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
}

func (s *server) got() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

// wait returns the mails once there are n.
func (s *server) wait(t *testing.T, n int) []received {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		if mails := s.got(); len(mails) >= n {
			return mails
		}
		select {
		case <-s.news:
		case <-limit:
			t.Fatalf("%d mails arrived, want %d", len(s.got()), n)
		}
	}
}

// peer is one session.
type peer struct {
	server *server
	conn   *gosmtp.Conn
	mail   received
}

func (p *peer) AuthMechanisms() []string { return p.server.mechanisms }

func (p *peer) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != testUser || password != testPassword {
			return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8},
				Message: "wrong password " + password + " for " + user}
		}
		p.mail.user = user
		return nil
	}
	switch mechanism {
	case "PLAIN":
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case "LOGIN":
		return &loginServer{check: check}, nil
	case "CRAM-MD5":
		return &cramServer{check: check}, nil
	}
	return nil, gosmtp.ErrAuthUnknownMechanism
}

// loginServer is the server of LOGIN (draft-murchison-sasl-login).
type loginServer struct {
	check func(user, password string) error
	user  *string
	asked bool
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil && !l.asked:
		l.asked = true
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.check(*l.user, string(response))
	}
}

// cramServer is the server of CRAM-MD5 (RFC 2195).
type cramServer struct {
	check     func(user, password string) error
	challenge string
}

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	if c.challenge == "" {
		c.challenge = fmt.Sprintf("<%d@mail.test>", time.Now().UnixNano())
		return []byte(c.challenge), false, nil
	}
	user, digest, _ := strings.Cut(string(response), " ")
	mac := hmac.New(md5.New, []byte(testPassword))
	mac.Write([]byte(c.challenge))
	if digest != fmt.Sprintf("%x", mac.Sum(nil)) {
		return nil, true, c.check(user, "")
	}
	return nil, true, c.check(user, testPassword)
}

func (p *peer) Mail(from string, _ *gosmtp.MailOptions) error {
	p.mail.from = from
	if p.server.onSender != nil {
		return p.server.onSender()
	}
	return nil
}

func (p *peer) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if p.server.onRcpt != nil {
		if err := p.server.onRcpt(to); err != nil {
			return err
		}
	}
	p.mail.to = append(p.mail.to, to)
	return nil
}

func (p *peer) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if p.server.onData != nil {
		if err := p.server.onData(); err != nil {
			return err
		}
	}
	m := p.mail
	_, m.tls = p.conn.TLSConnectionState()
	m.hello = p.conn.Hostname()
	m.raw = string(raw)
	if err := m.parse(raw); err != nil {
		return err
	}
	p.server.mu.Lock()
	p.server.mails = append(p.server.mails, m)
	p.server.mu.Unlock()
	signal(p.server.news)
	if p.server.onAccepted != nil {
		p.server.onAccepted(m)
	}
	return nil
}

func (m *received) parse(raw []byte) error {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	if err != nil {
		return err
	}
	m.header = parsed.Header
	m.id = parsed.Header.Get("Message-ID")
	m.body = strings.ReplaceAll(string(body), "\r\n", "\n")
	m.subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	return err
}

func (p *peer) Reset()        { p.mail.from, p.mail.to = "", nil }
func (p *peer) Logout() error { return nil }

// emailTo is a configuration for the server.
func emailTo(host string, port int) config.Email {
	return config.Email{
		Enabled: true, Sender: "router@example.com", Recipients: []string{"admin@example.com"},
		MaxAge: 72 * time.Hour,
		SMTP:   config.SMTP{Host: host, Port: port, HELO: "router.example.com", STARTTLS: true},
	}
}

var errBusy = &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "try again later"}

func asSendError(t *testing.T, err error) *SendError {
	t.Helper()
	var e *SendError
	if !errors.As(err, &e) {
		t.Fatalf("no SendError: %v", err)
	}
	return e
}
