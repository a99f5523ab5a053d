// Package firewall writes the firewall rules that go with the routing, as text.
//
// The routing of package routing needs three things from the firewall, and they are the same in
// every dialect: connections remember in their conntrack mark which uplink they belong to, packets
// get that mark back before they are routed, and what leaves an uplink carries that uplink's
// address. Of a mark, only the bits under config.Numbers.Mask are read and written.
//
// There is one file per table of iptables (mangle.go, nat.go, filter.go), put together by
// iptables.go. The nftables text of the managed table will live beside them, in nft.go: one function
// from config.Config to the text for "nft -f -", one private table, with verdict maps from interface
// to one small chain per uplink; what it shares with iptables.go (marks, safe words) is here.
package firewall

import (
	"fmt"
	"strings"
	"unicode"

	"ftr/internal/config"
)

// maxLabel is the number of characters kept of an uplink's name. iptables-restore reads lines into a
// buffer of some kilobytes and takes the rest of a longer comment for a rule of its own.
const maxLabel = 60

// mark is the mark of an uplink and the mask under which it is set and matched.
func mark(cfg *config.Config, u config.Uplink) string {
	return fmt.Sprintf("%#x/%#x", u.Mark&cfg.Numbers.Mask, cfg.Numbers.Mask)
}

// unmarked matches connections that belong to no uplink yet.
func unmarked(cfg *config.Config) string {
	return fmt.Sprintf("0x0/%#x", cfg.Numbers.Mask)
}

// inside returns all inside interfaces, those of the LAN first.
func inside(cfg *config.Config) []string {
	return append(append([]string(nil), cfg.LAN...), cfg.DMZ...)
}

// label names an uplink in a comment; whatever the name holds, it stays within that comment.
func label(u config.Uplink) string {
	name, iface := []rune(printable(u.Name)), printable(u.Interface)
	if len(name) > maxLabel {
		name = append(name[:maxLabel], '…')
	}
	if len(name) == 0 || string(name) == iface {
		return iface
	}
	return fmt.Sprintf("%s (%s)", string(name), iface)
}

// printable replaces line breaks, other control characters and invisible ones by single spaces.
func printable(s string) string {
	words := strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r)
	})
	return strings.Join(words, " ")
}
