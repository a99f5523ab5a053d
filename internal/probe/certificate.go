package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// explainCertificate says what is wrong with a server's certificate. Of what the certificate says, only
// dates are shown: the rest is the words of a stranger.
func explainCertificate(err *tls.CertificateVerificationError) error {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	text := "certificate is not valid"
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = validity(invalid.Cert, time.Now())
	case errors.As(err, &host):
		text = "certificate is not for " + host.Host
	case errors.As(err, new(x509.UnknownAuthorityError)):
		text = "certificate is signed by an unknown authority"
	case errors.As(err, new(x509.SystemRootsError)):
		text = "certificate cannot be verified: this host has no certificates of authorities (package ca-certificates)"
	}
	return &reason{text, err}
}

// validity says why a certificate is not valid now. A router without a battery for its clock starts in
// the past: then the clock is wrong, not the certificate.
func validity(c *x509.Certificate, now time.Time) string {
	date := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
	if now.Before(c.NotBefore) {
		return "certificate is valid only from " + date(c.NotBefore) + "; the clock here says " + date(now)
	}
	return "certificate expired on " + date(c.NotAfter) + "; the clock here says " + date(now)
}
