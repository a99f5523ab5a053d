package notify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"ftr/internal/config"
)

// render returns a mail as it travels (RFC 5322), in plain text, quoted-printable: so any character
// passes any server.
func render(cfg *config.Email, m Mail) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithEncoding(gomail.EncodingQP), gomail.WithNoDefaultUserAgent())
	if err := msg.From(cfg.Sender); err != nil {
		return nil, fmt.Errorf("email.sender: %w", err)
	}
	if err := msg.To(cfg.Recipients...); err != nil {
		return nil, fmt.Errorf("email.recipients: %w", err)
	}
	if len(cfg.Recipients) == 0 {
		return nil, errors.New("email.recipients: there is none")
	}
	from := msg.GetFrom()[0].Address
	msg.SetMessageIDWithValue(m.ID + from[strings.LastIndex(from, "@"):])
	msg.SetDateWithValue(m.Time)
	msg.Subject(header(m.Subject))
	// RFC 3834 section 5: no vacation notice shall come back.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXMailer, "Fault Tolerant Router")
	msg.SetBodyString(gomail.TypeTextPlain, lines(m.Body))
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// header makes text fit for a header field: on one line, so that it cannot add fields.
func header(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// lines ends each line with CRLF (RFC 5322 section 2.3), and takes other controls out.
func lines(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
	return strings.ReplaceAll(text, "\n", "\r\n")
}
