package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
)

// Step is a part of sending a mail (RFC 5321 section 3).
type Step string

// The steps, in order.
const (
	StepPassword  Step = "read the password"
	StepMessage   Step = "make the mail"
	StepConnect   Step = "connect"
	StepTLS       Step = "TLS"
	StepGreeting  Step = "greeting"
	StepHello     Step = "EHLO"
	StepStartTLS  Step = "STARTTLS"
	StepAuth      Step = "AUTH"
	StepSender    Step = "MAIL FROM"
	StepRecipient Step = "RCPT TO"
	StepData      Step = "DATA"
	StepContent   Step = "message" // from here on the server may have accepted it
)

// SendError says at which step sending failed, why, and what to do. It holds no secret: not even
// where the server repeats one.
type SendError struct {
	Step   Step
	Object string // what the step was about; example "mail.example.com:587", "bob@example.com"
	Code   int    // the server's reply code; 0: the server did not refuse, the step broke
	Reason string // the server's words, or the error of the network
	Cure   string // what to do; may be empty
	cause  error  // only what holds no text of the server
}

// Error implements error.
func (e *SendError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "send mail: %s", e.Step)
	if e.Object != "" {
		fmt.Fprintf(&b, " %s", e.Object)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, ": server says %d", e.Code)
		if e.Reason != "" {
			fmt.Fprintf(&b, " %q", e.Reason)
		}
	} else {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if e.Cure != "" {
		fmt.Fprintf(&b, "; %s", e.Cure)
	}
	return b.String()
}

// Unwrap returns the end of the context or the error of the system, if one was the cause.
func (e *SendError) Unwrap() error { return e.cause }

// Temporary tells whether the server refused for the moment only (RFC 5321 section 4.2.1).
func (e *SendError) Temporary() bool { return e.Code >= 400 && e.Code < 500 }

// key is equal for failures that are the same news. Words of a server that refuses often differ each
// time: they carry times and numbers.
func (e *SendError) key() string {
	if e.Code != 0 {
		return fmt.Sprintf("%s %s %d", e.Step, e.Object, e.Code)
	}
	return fmt.Sprintf("%s %s %s", e.Step, e.Object, e.Reason)
}

// explain makes a SendError of what the mail library or the system returned.
func explain(ctx context.Context, step Step, object string, err error, r redactor) *SendError {
	e := &SendError{Step: step, Object: object}
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply):
		e.Code, e.Reason = reply.Code, r.clean(reply.Msg)
		if reply.Code < 400 {
			e.Code, e.Reason = 0, fmt.Sprintf("unexpected answer: %d %s", reply.Code, r.clean(reply.Msg))
		}
	case errors.Is(ctx.Err(), context.Canceled):
		e.Reason, e.cause = "interrupted", context.Canceled
	default:
		e.Reason, e.cause = systemReason(err, r)
	}
	e.Cure = cure(e, err)
	return e
}

// systemReason leaves out what differs each time: local ports, and which server did not answer.
func systemReason(err error, r redactor) (string, error) {
	var operation *net.OpError
	var name *net.DNSError
	var number syscall.Errno
	var timeout interface{ Timeout() bool }
	var certificate x509.CertificateInvalidError // its text holds the time
	var malformed textproto.ProtocolError        // its text quotes the server's, so that a secret hides in there
	switch {                                     // a reason in words is all that is left of most of these
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf("host name %q not found", name.Name), nil
	case errors.As(err, &name):
		return fmt.Sprintf("host name %q cannot be looked up: the name servers do not answer", name.Name), nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", context.DeadlineExceeded
	case errors.As(err, &number):
		return number.Error(), number
	case errors.As(err, &operation) && operation.Err != nil:
		return r.clean(operation.Err.Error()), nil //nolint:nilerr // its text may be the server's
	case errors.As(err, &certificate):
		return "the server's certificate is not valid now or not for this use", nil
	case errors.As(err, &malformed):
		return "the answer is no reply of SMTP", nil
	case isEOF(err):
		return "the server closed the connection", nil
	default:
		return r.clean(err.Error()), nil
	}
}

// cure returns what an administrator can do about the common failures.
func cure(e *SendError, err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "if you trust this server, install its CA's certificate on this machine " +
			"(Debian: in /usr/local/share/ca-certificates, then update-ca-certificates)"
	case errors.As(err, &name):
		return "set email.smtp_parameters.address to a name in the server's certificate"
	case errors.As(err, &invalid):
		return "check this machine's clock, and the server's certificate"
	case errors.As(err, &record):
		return "the port does not speak TLS from the start: set email.smtp_parameters.port to 587 or 25"
	}
	return cureByStep(e)
}

func cureByStep(e *SendError) string {
	needsTLS := e.Code == 530 && strings.Contains(strings.ToUpper(e.Reason), "STARTTLS")
	switch {
	case needsTLS:
		return "set email.smtp_parameters.enable_starttls_auto to true"
	case e.Step == StepConnect:
		return "check email.smtp_parameters.address and port, and that nothing on the way blocks the port " +
			"(many providers block 25, few 587 or 465)"
	case e.Step == StepGreeting && e.Code == 0:
		return "check that this is the port of a mail server; one that expects TLS from the start is used with port 465"
	case e.Step == StepHello && e.Code >= 500:
		return "set email.smtp_parameters.domain to a full host name that the server accepts"
	case e.Step == StepAuth && e.Code >= 500:
		return "check authentication, user_name and password in email.smtp_parameters " +
			"(some providers want a password made for applications)"
	case e.Code == 530, e.Step == StepRecipient && (e.Code == 550 || e.Code == 554):
		return "if the server wants a login, set authentication, user_name and password in email.smtp_parameters; " +
			"else check email.sender and email.recipients"
	case e.Step == StepSender && e.Code >= 500:
		return "check email.sender: it must be an address that the server lets this user send from"
	case e.Step == StepRecipient && e.Code >= 500:
		return "check email.recipients"
	}
	return ""
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
