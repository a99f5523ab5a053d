package notify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"ftr/internal/config"
)

// maxPassword is in bytes; RFC 4616 allows 255 characters.
const maxPassword = 4096

// password returns the password of cfg, read now from where it is kept: so a changed one is used at
// the next attempt.
func password(cfg config.SMTP, getenv func(string) string) (config.Secret, error) {
	switch {
	case cfg.PasswordFile != "":
		return readPassword(cfg.PasswordFile)
	case cfg.PasswordCredential != "":
		dir := getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return config.Secret{}, fmt.Errorf("credential %s: CREDENTIALS_DIRECTORY is not set; "+
				"add LoadCredential=%[1]s:FILE to the unit of systemd that starts this", cfg.PasswordCredential)
		}
		if cfg.PasswordCredential != filepath.Base(cfg.PasswordCredential) {
			return config.Secret{}, fmt.Errorf("credential %q is not a plain name", cfg.PasswordCredential)
		}
		return readPassword(filepath.Join(dir, cfg.PasswordCredential))
	default:
		return cfg.Password, nil
	}
}

// readPassword returns the content of a file without the newline that editors add.
func readPassword(path string) (config.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return config.Secret{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPassword+2))
	if err != nil {
		return config.Secret{}, err
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) == 0:
		return config.Secret{}, fmt.Errorf("%s is empty", path)
	case len(data) > maxPassword:
		return config.Secret{}, fmt.Errorf("%s is longer than %d bytes", path, maxPassword)
	case bytes.ContainsAny(data, "\x00\r\n"):
		return config.Secret{}, errors.New(path + " holds more than one line")
	}
	return config.NewSecret(string(data)), nil
}

// redactor takes a password out of texts that a server sent: some repeat what they got.
type redactor struct{ secret config.Secret }

// token is what may be base64, as passwords travel (RFC 4954).
var token = regexp.MustCompile(`[A-Za-z0-9+/]{4,}=*`)

// maxReply is in bytes; what a server says beyond that helps nobody.
const maxReply = 500

// clean returns text on one line, printable, of reasonable length, without the password as it is or
// in base64. It looks for it again at the end: what was taken out may have parted it.
func (r redactor) clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(r.hide(text), "?"))
	text = strings.TrimSpace(r.hide(text))
	if len(text) > maxReply {
		text = strings.ToValidUTF8(text[:maxReply], "") + "..."
	}
	return text
}

func (r redactor) hide(text string) string {
	if r.secret.IsZero() {
		return text
	}
	text = strings.ReplaceAll(text, r.secret.Reveal(), r.secret.String())
	return token.ReplaceAllStringFunc(text, func(t string) string {
		if r.hides(t) {
			return r.secret.String()
		}
		return t
	})
}

// hides tells whether t is base64 of something that holds the password, at any of the four offsets
// at which a quotation may begin.
func (r redactor) hides(t string) bool {
	t = strings.TrimRight(t, "=")
	for offset := range min(4, len(t)) {
		part := t[offset:]
		if len(part)%4 == 1 {
			part = part[:len(part)-1] // one digit alone holds no byte
		}
		decoded, err := base64.RawStdEncoding.DecodeString(part)
		if err == nil && bytes.Contains(decoded, []byte(r.secret.Reveal())) {
			return true
		}
	}
	return false
}
