package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"ftr/internal/config"
)

const (
	// connectTimeout is short: the next attempt may leave by another line.
	connectTimeout = 15 * time.Second
	// attemptTimeout is for all steps together; some servers greet late to keep spammers off.
	attemptTimeout = 2 * time.Minute
	quitTimeout    = 5 * time.Second
	// implicitTLS is the port where TLS comes first (RFC 8314 section 3.3).
	implicitTLS = 465
)

// smtpTransport sends by SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the start, and AUTH
// (RFC 4954).
//
// STARTTLS is used where the server offers it. Certificates are verified wherever a password follows,
// and on port 465; a password in clear is sent only over loopback, or if the administrator switched
// STARTTLS off. Without a password an encrypted connection to an unknown peer is better than the
// clear text that would be sent otherwise (RFC 7435).
type smtpTransport struct{}

// Send implements transport.
func (smtpTransport) Send(ctx context.Context, cfg *config.Email, m Mail) ([]*SendError, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	s := &session{ctx: ctx, cfg: cfg}
	defer s.close()
	secret, err := password(cfg.SMTP, os.Getenv)
	if err != nil && cfg.SMTP.Auth != config.AuthNone {
		return nil, s.fail(StepPassword, "", err)
	}
	s.redact = redactor{secret}
	content, err := render(cfg, m)
	if err != nil {
		return nil, s.fail(StepMessage, "", err)
	}
	for _, step := range []func() error{s.connect, s.startTLS, s.authenticate} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	missed, err := s.transfer(content, m.Partial)
	s.quit(err)
	return missed, err
}

// session is one connection to the server.
type session struct {
	ctx    context.Context
	cfg    *config.Email
	redact redactor
	conn   net.Conn
	local  bool // the server is this machine
	client *smtp.Client
	stop   func() bool
}

func (s *session) fail(step Step, object string, err error) error {
	return explain(s.ctx, step, object, err, s.redact)
}

func (s *session) close() {
	if s.conn != nil {
		s.stop()
		s.conn.Close() // the mail was accepted or not, nothing depends on this
	}
}

// connect goes up to the server's answer to EHLO.
func (s *session) connect() error {
	cfg := s.cfg.SMTP
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(s.ctx, "tcp", address)
	if err != nil {
		return s.fail(StepConnect, address, err)
	}
	s.conn = conn
	// The library reads without a context; a deadline in the past wakes it up.
	s.stop = context.AfterFunc(s.ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		s.local = remote.IP.IsLoopback()
	}
	if cfg.Port == implicitTLS {
		secure := tls.Client(conn, s.tlsConfig())
		if err := secure.HandshakeContext(s.ctx); err != nil {
			return s.fail(StepTLS, address, err)
		}
		conn = secure
	}
	if s.client, err = smtp.NewClient(conn, cfg.Host); err != nil {
		return s.fail(StepGreeting, address, err)
	}
	// Asking for SMTPUTF8 where it is not needed makes relays bounce that do not know it.
	s.client.SkipSMTPUTF8(isASCII(s.cfg.Sender + strings.Join(s.cfg.Recipients, "")))
	name := helloName(cfg.HELO, os.Hostname, conn.LocalAddr())
	if err := s.client.Hello(name); err != nil {
		return s.fail(StepHello, name, err)
	}
	return nil
}

func (s *session) tlsConfig() *tls.Config {
	verify := s.cfg.SMTP.Auth != config.AuthNone || s.cfg.SMTP.Port == implicitTLS
	return &tls.Config{
		ServerName: s.cfg.SMTP.Host,
		MinVersion: tls.VersionTLS12,
		// A mail server on this machine mostly has a certificate that it made itself.
		InsecureSkipVerify: !verify || s.local,
	}
}

func (s *session) startTLS() error {
	if !s.cfg.SMTP.STARTTLS || s.cfg.SMTP.Port == implicitTLS {
		return nil
	}
	if offered, _ := s.client.Extension("STARTTLS"); !offered {
		return nil
	}
	if err := s.client.StartTLS(s.tlsConfig()); err != nil {
		return s.fail(StepStartTLS, s.cfg.SMTP.Host, err)
	}
	return nil
}

// transfer hands the mail over. Recipients that the server refuses do not keep it from the others.
func (s *session) transfer(content []byte, partial bool) (missed []*SendError, err error) {
	if err := s.client.Mail(envelope(s.cfg.Sender)); err != nil {
		return nil, s.fail(StepSender, s.cfg.Sender, err)
	}
	for _, recipient := range s.cfg.Recipients {
		err := s.client.Rcpt(envelope(recipient))
		if err == nil {
			continue
		}
		refused := explain(s.ctx, StepRecipient, recipient, err, s.redact)
		if refused.Code == 0 || refused.Temporary() && !partial {
			return nil, refused
		}
		missed = append(missed, refused)
	}
	if len(missed) == len(s.cfg.Recipients) {
		return nil, missed[0]
	}
	w, err := s.client.Data()
	if err != nil {
		return nil, s.fail(StepData, "", err)
	}
	if _, err = w.Write(content); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, s.fail(StepContent, "", err)
	}
	return missed, nil
}

// quit is a courtesy, to a server that answered so far. Whatever comes of it changes nothing.
func (s *session) quit(err error) {
	var refused *SendError
	if err == nil || errors.As(err, &refused) && refused.Code != 0 {
		_ = s.conn.SetDeadline(time.Now().Add(quitTimeout))
		_ = s.client.Quit()
	}
}
