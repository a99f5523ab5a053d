package firewall

import (
	"fmt"
	"strings"
	"unicode"

	"ftr/internal/config"
)

// Iptables returns IPv4 rules in the format of iptables-save(8), which iptables-restore(8) of the
// nft and of the legacy variant accept. They are commented, to be merged by an administrator into his
// own; examples that change behaviour are comments themselves, each line of which becomes a valid
// rule without its "#". The text depends on cfg alone.
func Iptables(cfg *config.Config) string {
	t := &text{cfg: cfg}
	t.header()
	t.mangle()
	t.nat()
	t.filter()
	return t.String()
}

// text is the output while it is written.
type text struct {
	strings.Builder
	cfg *config.Config
}

// rule writes one line.
func (t *text) rule(format string, args ...any) {
	fmt.Fprintf(t, format+"\n", args...)
}

// note writes a paragraph of comment, after an empty line.
func (t *text) note(paragraph string) {
	t.WriteByte('\n')
	for line := range strings.SplitSeq(strings.TrimSpace(paragraph), "\n") {
		t.rule("%s", strings.TrimRight("# "+line, " "))
	}
}

// table begins a table; built-in chains get their policy, our own ones have "-".
func (t *text) table(name string, chains ...string) {
	t.rule("\n*%s", name)
	for _, c := range chains {
		t.rule(":%s [0:0]", c)
	}
}

func (t *text) commit() { t.rule("\nCOMMIT") }

func (t *text) header() {
	t.rule("# Fault Tolerant Router: firewall rules for IPv4, format of iptables-save(8)")
	t.note(`
Read them before you use them. The mangle and nat tables are what the program relies on; the
filter table is a modest example. Try the file, which changes nothing:

  iptables-restore --test FILE

iptables-restore FILE replaces whole tables: if you have rules of your own, merge these into
them. On a machine that you reach over the network, load with a way back: iptables-apply(8)
undoes the change unless you confirm it in time. None of this is about IPv6: where the router
forwards it, it needs rules of its own (generate_iptables --ipv6).

Lines that begin with "#-A" are examples. Remove the "#" and put your own addresses and ports in.

Each uplink has a mark, which its connections carry in the kernel's connection tracking, and a
routing table of its own. Only the bits of the mask are read and written, so that other software
may use the others:`)
	t.rule("#")
	for _, u := range t.cfg.Uplinks {
		t.rule("#   mark %s, table %d: %s, %s", mark(t.cfg, u), u.Table, label(u), origin(u))
	}
	t.wildcards()
}

// origin says in words where the address comes from that packets leave with.
func origin(u config.Uplink) string {
	if staticAddress(u) {
		return "static, " + u.Address.String()
	}
	return u.Type.String() + ", address of the interface"
}

// wildcards warns about names that iptables cannot match exactly: it has no way to quote a final "+".
func (t *text) wildcards() {
	names := inside(t.cfg)
	for _, u := range t.cfg.Uplinks {
		names = append(names, u.Interface)
	}
	for _, n := range names {
		if strings.HasSuffix(n, "+") {
			t.note(fmt.Sprintf(`
ATTENTION: to iptables, %s means every interface whose name begins so. Rename the interface if
there is another one.`, printable(n)))
		}
	}
}

// word writes an interface name so that iptables-restore reads exactly it, as one word.
func word(name string) string {
	// Package config refuses them, but white space and control characters in a rule could begin
	// another rule: better one that matches no interface.
	name = strings.ReplaceAll(printable(name), " ", "_")
	if !strings.ContainsFunc(name, unusual) {
		return name
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// unusual tells whether a character of an interface name asks for quotes.
func unusual(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+@", r)
}
