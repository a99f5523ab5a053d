package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"

	"ftr/internal/config"
)

// maxAnswer bounds what is read of an HTTP answer's head, informational answers included.
const maxAnswer = 64 << 10

// askHTTP gets a path and compares the status (RFC 9110, section 15). The connection is made for this
// one request, straight to the address: no proxy, no redirection, nothing kept. The body is not read;
// closing the connection resets it.
func askHTTP(ctx context.Context, l line, target config.Target, roots *x509.CertPool) error {
	request, err := newRequest(ctx, target)
	if err != nil {
		return err
	}
	port := target.Port
	if port == 0 {
		port = map[config.Method]uint16{config.HTTP: 80, config.HTTPS: 443}[target.Method]
	}
	conn, err := dial(ctx, "tcp", l, netip.AddrPortFrom(target.Address, port))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer until(ctx, conn.SetDeadline)()
	status, err := get(conn, request, roots)
	if err != nil {
		return err
	}
	return compare(status, target.Status)
}

// newRequest makes the request for a target.
func newRequest(ctx context.Context, target config.Target) (*http.Request, error) {
	named := target.String()
	if target.Name != "" {
		host := target.Name
		if target.Port != 0 {
			host = net.JoinHostPort(host, strconv.Itoa(int(target.Port)))
		}
		named = target.Method.String() + "://" + host + target.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, named, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", named, err)
	}
	request.Close = true
	request.Header.Set("User-Agent", "fault-tolerant-router")
	return request, nil
}

// get sends the request and returns the status of the answer.
func get(conn net.Conn, request *http.Request, roots *x509.CertPool) (int, error) {
	if request.URL.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{
			ServerName: request.URL.Hostname(), RootCAs: roots, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
		})
		if err := secure.HandshakeContext(request.Context()); err != nil {
			return 0, explainTLS(err)
		}
		conn = secure
	}
	if err := request.Write(conn); err != nil {
		return 0, explainHTTP(err)
	}
	end := &ending{Reader: io.LimitReader(conn, maxAnswer)}
	answer := bufio.NewReader(end)
	for {
		response, err := http.ReadResponse(answer, request) //nolint:bodyclose // the body is not read: the connection ends here
		if err != nil {
			return 0, explainHTTP(cmp.Or(end.err, err))
		}
		// Informational answers come before the final one (RFC 9110, section 15.2).
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response.StatusCode, nil
		}
	}
}

// ending keeps why reading ended: ReadResponse takes half a line that a time-out cut for a bad answer.
type ending struct {
	io.Reader
	err error
}

func (e *ending) Read(b []byte) (n int, err error) {
	n, err = e.Reader.Read(b)
	e.err = cmp.Or(e.err, err)
	return n, err
}

// compare tells whether the status is the expected one; 0 expects any from 200 to 399.
func compare(status, expected int) error {
	switch {
	case expected == 0 && (status < 200 || status > 399):
		return fmt.Errorf("status %d, expected 200 to 399", status)
	case expected != 0 && status != expected:
		return fmt.Errorf("status %d, expected %d", status, expected)
	default:
		return nil
	}
}

// explainHTTP says why there is no answer on a connection.
func explainHTTP(err error) error {
	var errno syscall.Errno
	switch {
	case timedOut(err):
		return connected{err}
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return &reason{"connection ended before the answer was complete", err}
	case errors.As(err, &errno):
		return errno
	default:
		return &reason{"the answer is not HTTP", err}
	}
}

// explainTLS says why the TLS handshake failed.
func explainTLS(err error) error {
	var alert *net.OpError // as crypto/tls reports what the peer says
	var bad *tls.CertificateVerificationError
	switch {
	case errors.As(err, &bad):
		return explainCertificate(bad)
	case errors.As(err, &alert) && alert.Op == "remote error":
		return &reason{"the server refuses TLS: " + alert.Err.Error(), err}
	case errors.As(err, new(tls.RecordHeaderError)):
		return &reason{"the answer is not TLS", err}
	case timedOut(err) || errors.Is(err, io.EOF) || errors.As(err, new(syscall.Errno)):
		return explainHTTP(err)
	default:
		return &reason{"TLS handshake failed", err}
	}
}
