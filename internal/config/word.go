package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// text is free text of some length, without characters that would disturb terminals, logs and mails.
func text(into *field[string], most int) scalar[string] {
	least := 1
	return scalar[string]{
		into: into,
		what: fmt.Sprintf("text of at most %d characters", most),
		parse: func(s string) (string, fault) {
			switch {
			case runeCount(s) > most:
				return "", fault{message: fmt.Sprintf("has %d characters", runeCount(s))}
			case strings.IndexFunc(s, func(r rune) bool { return !isShowable(r) }) >= 0:
				return "", fault{message: "holds a line break, control or invisible character"}
			}
			return s, fault{}
		},
		print: quote,
		// A number or a yes is text too, where text is wanted.
		json: &schema{Type: []string{"string", "number", "boolean", "null"}, MinLength: &least, MaxLength: &most},
	}
}

// isShowable tells whether a character is seen as itself: no control and no formatting characters,
// such as those that reverse the direction of what follows.
func isShowable(r rune) bool { return unicode.IsGraphic(r) }

// choice is one of a few words.
func choice[T comparable](into *field[T], words []string, values []T) scalar[T] {
	return scalar[T]{
		into: into,
		what: sentence(words),
		parse: func(s string) (T, fault) {
			for i, word := range words {
				if strings.EqualFold(strings.TrimSpace(s), word) {
					return values[i], fault{}
				}
			}
			var none T
			return none, fault{"is not known", closest(s, words)}
		},
		print: func(v T) string {
			for i := range words {
				if values[i] == v {
					return words[i]
				}
			}
			return ""
		},
		json: &schema{Enum: append(anyWords(words), nil)},
	}
}

func anyWords(words []string) []any {
	list := make([]any, len(words))
	for i, word := range words {
		list[i] = word
	}
	return list
}

// authentication is a choice that is also accepted as the Ruby symbol of the original's files.
func authentication(into *field[Auth]) scalar[Auth] {
	s := choice(into, []string{"none", "plain", "login", "cram_md5"}, []Auth{AuthNone, AuthPlain, AuthLogin, AuthCRAMMD5})
	plain := s.parse
	s.parse = func(text string) (Auth, fault) {
		word := strings.TrimPrefix(strings.TrimSpace(text), ":")
		return plain(strings.ReplaceAll(word, "-", "_"))
	}
	s.json = &schema{Type: []string{"string", "null"}, Pattern: `^\s*:?([Nn][Oo][Nn][Ee]|[Pp][Ll][Aa][Ii][Nn]|[Ll][Oo][Gg][Ii][Nn]|[Cc][Rr][Aa][Mm][-_][Mm][Dd]5)\s*$`}
	return s
}

// address is an IPv4 unicast address in dotted form.
func address(into *field[netip.Addr]) scalar[netip.Addr] {
	return scalar[netip.Addr]{
		into:  into,
		what:  "an IPv4 unicast address such as 192.0.2.1",
		parse: parseAddress,
		print: netip.Addr.String,
		json:  &schema{Type: []string{"string", "null"}, Format: "ipv4", Pattern: `^\s*[0-9]{1,3}(\.[0-9]{1,3}){3}\s*$`},
	}
}

func parseAddress(s string) (netip.Addr, fault) {
	word := strings.TrimSpace(s)
	a, err := netip.ParseAddr(word)
	if prefix, perr := netip.ParsePrefix(word); err != nil && perr == nil {
		return netip.Addr{}, fault{"has a prefix length, which does not belong here", prefix.Addr().String()}
	}
	switch {
	case err != nil:
		return netip.Addr{}, fault{message: "is not an address"}
	case !a.Is4():
		return netip.Addr{}, fault{message: "is an IPv6 address"}
	case a.IsUnspecified() || a.As4()[0] == 0:
		return netip.Addr{}, fault{message: "is in 0.0.0.0/8, which is no host (RFC 1122)"}
	case a.IsLoopback():
		return netip.Addr{}, fault{message: "is a loopback address"}
	case a.IsMulticast():
		return netip.Addr{}, fault{message: "is a multicast address"}
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, fault{message: "is the broadcast address"}
	}
	return a, fault{}
}

// interfacePattern is narrower than the kernel's rule (dev_valid_name: 1 to 15 bytes, no slash, colon
// or white space, not "." or ".."): names go into generated firewall rules and shown command
// lines, where quotes, a final plus or a leading dash would mean something else.
const interfacePattern = `^[A-Za-z0-9_=.][A-Za-z0-9_=.-]{0,14}$`

// interfaceName is the name of a network interface.
func interfaceName(into *field[string]) scalar[string] {
	return scalar[string]{
		into:  into,
		what:  "an interface name (1 to 15 letters, digits, dots, dashes, underscores)",
		parse: parseInterface,
		print: quote,
		json:  &schema{Type: []string{"string", "number", "null"}, Pattern: interfacePattern},
	}
}

func notInInterface(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_=.-", r)
}

func parseInterface(s string) (string, fault) {
	word := strings.TrimSpace(s)
	base, _, _ := strings.Cut(word, "@")
	label, _, hasColon := strings.Cut(word, ":")
	switch {
	case strings.ContainsAny(word, ", "):
		words := strings.FieldsFunc(word, func(r rune) bool { return r == ',' || r == ' ' })
		return "", fault{"is not one name", flowList(words)}
	case base != word:
		return "", fault{"has the @ with which ip-link(8) shows the lower interface; it is no part of the name", base}
	case hasColon:
		return "", fault{"is the label of an address, not an interface", label}
	case len(word) > 15:
		return "", fault{message: fmt.Sprintf("has %d bytes", len(word))}
	case word == "" || word[0] == '-' || strings.IndexFunc(word, notInInterface) >= 0, word == ".", word == "..":
		return "", fault{message: "is not an interface name"}
	case word == "lo":
		return "", fault{message: "is the loopback interface"}
	case word == "all", word == "default":
		return "", fault{message: "is reserved by the kernel's sysctls"}
	}
	return word, fault{}
}

// mailAddress is an RFC 5322 address, without a display name: it goes into the SMTP envelope.
func mailAddress(into *field[string]) scalar[string] {
	return scalar[string]{
		into:  into,
		what:  "a mail address such as admin@example.com",
		parse: parseMail,
		print: quote,
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^[^@\s]+@[^@\s]+$`},
	}
}

func parseMail(s string) (string, fault) {
	word := strings.TrimSpace(s)
	parsed, err := mail.ParseAddress(word)
	if err == nil && parsed.Address != word {
		return "", fault{"is more than an address", parsed.Address}
	}
	if many, listErr := mail.ParseAddressList(word); err != nil && listErr == nil {
		words := make([]string, len(many))
		for i, one := range many {
			words[i] = one.Address
		}
		return "", fault{"is not one address", flowList(words)}
	}
	if err != nil || strings.IndexFunc(word, func(r rune) bool { return !isShowable(r) || r == ' ' }) >= 0 || len(word) > 254 {
		return "", fault{message: "is not a mail address"}
	}
	return word, fault{}
}

// host is a host name or an address.
func host(into *field[string]) scalar[string] {
	const pattern = `^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?$`
	return scalar[string]{
		into: into,
		what: "a host name or an address",
		parse: func(s string) (string, fault) {
			word := strings.TrimSpace(s)
			if _, err := netip.ParseAddr(word); err == nil {
				return word, fault{}
			}
			if len(word) > 253 || !regexp.MustCompile(pattern).MatchString(word) {
				return "", fault{message: "is not a host name"}
			}
			return word, fault{}
		},
		print: quote,
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*[0-9A-Za-z_:.%-]{1,253}\s*$`},
	}
}

// filePath is the absolute path of a file or directory.
func filePath(into *field[string]) scalar[string] {
	s := text(into, 4095)
	plain := s.parse
	s.what = "an absolute path"
	s.parse = func(text string) (string, fault) {
		if value, f := plain(text); !f.none() {
			return value, f
		}
		if !path.IsAbs(text) {
			return "", fault{message: "is a relative path"}
		}
		return path.Clean(text), fault{}
	}
	s.json = &schema{Type: []string{"string", "null"}, Pattern: `^/`}
	return s
}

// credential is the name of a systemd credential (systemd.exec(5), LoadCredential=).
func credential(into *field[string]) scalar[string] {
	const pattern = `^[A-Za-z0-9_.-]{1,255}$`
	return scalar[string]{
		into: into,
		what: "the name of a systemd credential (letters, digits, dots, dashes, underscores)",
		parse: func(s string) (string, fault) {
			if !regexp.MustCompile(pattern).MatchString(s) || s == "." || s == ".." {
				return "", fault{message: "is not a credential name"}
			}
			return s, fault{}
		},
		print: quote,
		json:  &schema{Type: []string{"string", "null"}, Pattern: pattern},
	}
}
