package notify

import (
	"fmt"
	"net"
	"net/mail"
	"strings"
)

// envelope returns an address in the form of MAIL and RCPT: without the name of the person.
func envelope(address string) string {
	if parsed, err := mail.ParseAddress(address); err == nil {
		return (&mail.Address{Address: parsed.Address}).String()
	}
	return "<" + address + ">"
}

// helloName returns what to greet with: the configured name, the host name if it is a full one, else
// the address literal that RFC 5321 section 4.1.4 has for that case. Many servers refuse short names.
func helloName(configured string, hostname func() (string, error), local net.Addr) string {
	if configured != "" {
		return configured
	}
	if name, err := hostname(); err == nil && strings.Contains(strings.Trim(name, "."), ".") {
		return name
	}
	address, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case address.IP.To4() != nil:
		return fmt.Sprintf("[%s]", address.IP)
	default:
		return fmt.Sprintf("[IPv6:%s]", address.IP)
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}
