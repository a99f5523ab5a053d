package notify

import (
	"slices"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"ftr/internal/config"
)

// authenticate logs in, if configured. It never chooses a mechanism by itself: the server's offer
// is not to be trusted before TLS.
func (s *session) authenticate() error {
	cfg := s.cfg.SMTP
	if cfg.Auth == config.AuthNone {
		return nil
	}
	name := mechanism(cfg.Auth)
	refuse := func(reason, cure string) error {
		return &SendError{Step: StepAuth, Object: name, Reason: reason, Cure: cure}
	}
	_, encrypted := s.client.TLSConnectionState()
	if !encrypted && !s.local && cfg.STARTTLS && cfg.Auth != config.AuthCRAMMD5 {
		return refuse("the server offers no STARTTLS, so the password would travel in clear",
			"use port 465 or 587 of a server with TLS, or allow it with enable_starttls_auto: false")
	}
	_, offered := s.client.Extension("AUTH")
	if !slices.Contains(strings.Fields(strings.ToUpper(offered)), name) {
		offered = s.redact.clean(offered)
		if offered == "" {
			return refuse("the server offers no authentication"+map[bool]string{true: "", false: " without TLS"}[encrypted],
				"remove authentication from email.smtp_parameters, or check port and enable_starttls_auto")
		}
		return refuse("the server offers only "+offered, "set email.smtp_parameters.authentication to one of these")
	}
	if err := s.client.Auth(s.mechanism()); err != nil {
		return s.fail(StepAuth, name, err)
	}
	return nil
}

func mechanism(auth config.Auth) string {
	return map[config.Auth]string{
		config.AuthPlain: "PLAIN", config.AuthLogin: "LOGIN", config.AuthCRAMMD5: "CRAM-MD5",
	}[auth]
}

// mechanism may send in clear: whether that is right was decided before.
func (s *session) mechanism() smtp.Auth {
	cfg, secret := s.cfg.SMTP, s.redact.secret.Reveal()
	switch cfg.Auth {
	case config.AuthLogin:
		return smtp.LoginAuth(cfg.User, secret, cfg.Host, true)
	case config.AuthCRAMMD5:
		return smtp.CRAMMD5Auth(cfg.User, secret)
	default:
		return smtp.PlainAuth("", cfg.User, secret, cfg.Host, true)
	}
}
