package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/netns"
)

// remote is an address of this machine that is not loopback, for what is decided by that.
const remote, otherRemote = "192.0.2.1", "192.0.2.2"

func TestMain(m *testing.M) {
	if os.Getenv(writerEnv) != "" {
		os.Exit(writer())
	}
	// The processes of go test -fuzz talk over inherited files, and need no network.
	if slices.ContainsFunc(os.Args, func(arg string) bool {
		return strings.HasPrefix(arg, "-test.fuzz=") || arg == "-test.fuzzworker"
	}) {
		os.Exit(m.Run())
	}
	os.Exit(netns.Private(func() int {
		// On the tmpfs of the private namespaces fsync costs nothing.
		os.Setenv("TMPDIR", "/run")
		dir, err := os.MkdirTemp("", "notify")
		if err == nil {
			defer os.RemoveAll(dir)
			err = prepare(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "prepare tests:", err)
			return 1
		}
		return m.Run()
	}))
}

// prepare makes the addresses, and a CA that this process takes for one of the system's.
func prepare(dir string) error {
	for _, address := range []string{remote, otherRemote} {
		if err := netns.Run("ip", "address", "add", address+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	ca, err := newAuthority("test CA")
	if err != nil {
		return err
	}
	trusted = ca
	path := filepath.Join(dir, "ca.pem")
	os.Setenv("SSL_CERT_FILE", path)
	os.Setenv("SSL_CERT_DIR", dir)
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw}), 0o600)
}

// trusted is the CA that the system trusts; written once, before any test.
var trusted *authority

// authority is a CA.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

// serve returns a server's TLS configuration for an address.
func (a *authority) serve(t *testing.T, address string, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: address},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IPAddresses: []net.IP{net.ParseIP(address)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
