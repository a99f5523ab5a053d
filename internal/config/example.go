package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Found is an uplink that was found on this machine, for Generate.
type Found struct {
	Interface        string
	Type             Type
	Address, Gateway netip.Addr // invalid: not known
	Description      string
	// Address6 and Gateway6 are what it has over IPv6; invalid: nothing, or not known.
	Address6, Gateway6 netip.Addr
	Guess              string // why it is taken for an uplink, a sentence; example "guessed: has the default route"
}

// Example returns the fixed example file: commented, valid, with one uplink of each type.
func Example() string { return write(exampleUplinks(), []string{"eth0"}, false) }

func exampleUplinks() []Found {
	return []Found{
		{Interface: "eth1", Type: Static, Address: netip.MustParseAddr("192.0.2.2"), Gateway: netip.MustParseAddr("192.0.2.1"), Description: "Fibre", Guess: "A line with fixed addresses."},
		{Interface: "ppp0", Type: PPP, Description: "DSL", Guess: "A line that is dialled: addresses come and go with the interface."},
		{Interface: "eth2", Type: DHCP, Description: "Cable", Guess: "A line whose modem gives the address by DHCP."},
	}
}

// Generate returns the example file with the uplinks and inside interfaces that were found on this
// machine. Where none were found, the places are left blank with the example as comment, and Parse
// says that they are to be filled in.
func Generate(found []Found, lan []string) string {
	if len(found) == 0 {
		return write(exampleUplinks(), lan, true)
	}
	return write(found, lan, false)
}

// write renders the file from the table of keys.
func write(found []Found, lan []string, commented bool) string {
	d := new(draft)
	keys := table(d)
	for _, name := range lan {
		d.lan.set(append(d.lan.value, field[string]{value: name, state: good}))
	}
	p := &printer{}
	p.line("", "# Configuration of Fault Tolerant Router. What begins with # is a comment.")
	p.line("", "# After a change, \"ftr check\" says whether all is well.")
	for _, k := range keys {
		p.line("", "")
		if k.name == keys[0].name {
			p.uplinks(k, found, commented)
			continue
		}
		p.key(k, "")
	}
	return p.String()
}

// printer writes a file line by line.
type printer struct{ strings.Builder }

func (p *printer) line(indent, text string) {
	p.WriteString(strings.TrimRight(indent+text, " ") + "\n")
}

// comment writes sentences as a comment, wrapped to 100 columns; the entry of a list is indented.
func (p *printer) comment(indent, text string) {
	const width = 98
	line, hang := "", ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > width {
			p.line(indent, "# "+line)
			line = hang
		}
		if line == hang {
			line += word
		} else {
			line += " " + word
		}
		if line == "-" {
			hang = "  "
		}
	}
	p.line(indent, "# "+line)
}

// about is the comment of a key: its documentation, form and default.
func (k key) about() string {
	text := k.doc
	if _, isSection := k.inner(); isSection {
		return text
	}
	switch {
	case k.fallback != "":
		text += " Default: " + k.fallback + "."
	case k.otherwise != "":
		text += " Without it: " + k.otherwise + "."
	}
	return text
}

// key writes a key with its comment, and the keys below it. What the field holds comes before the
// table's example; without both the key is written as a comment.
func (p *printer) key(k key, indent string) {
	inner, ok := k.inner()
	if ok && k.sample != "" {
		p.meanings(k, indent, inner)
		p.line(indent, "# "+k.name+": "+k.sample)
		return
	}
	p.comment(indent, k.about())
	if ok {
		p.line(indent, k.name+":")
		for _, below := range inner {
			p.key(below, indent+"  ")
		}
		return
	}
	switch held := k.form.held(); {
	case held != "":
		p.line(indent, k.name+": "+held)
	case k.example != "":
		p.line(indent, k.name+": "+k.example)
	case k.required:
		p.line(indent, k.name+": # to be filled in, for example "+k.sample)
	default:
		p.line(indent, "# "+k.name+": "+cmp.Or(k.sample, k.fallback))
	}
}

// meanings writes what a list is and what the keys of its entries mean.
func (p *printer) meanings(k key, indent string, inner []key) {
	p.comment(indent, k.doc+" The keys of an entry:")
	for _, below := range inner {
		if below.era != since15 {
			p.comment(indent, "- "+below.name+": "+below.about())
		}
		if below.name == "ipv6" {
			for _, k := range inet6Keys(new(inet6Draft)) {
				p.comment("  ", "- "+k.name+": "+k.about())
			}
		}
	}
}

// uplinks writes the list of uplinks: first what the keys mean, then the entries.
func (p *printer) uplinks(k key, found []Found, commented bool) {
	inner, _ := k.inner()
	p.meanings(k, "", inner)
	p.line("", k.name+":")
	mark := ""
	if commented {
		p.line("  ", "# None was found on this machine. Fill in yours, for example:")
		mark = "# "
	}
	for _, f := range found {
		if f.Guess != "" {
			p.comment("  ", clean(f.Guess))
		}
		dash := "- "
		for _, below := range f.keys() {
			p.line("  ", mark+dash+below)
			dash = "  "
		}
		p.inet6(f)
	}
}

// inet6 proposes IPv6 for an uplink that has it: what the hosts inside need for it is not known here.
func (p *printer) inet6(f Found) {
	if !f.Address6.IsValid() {
		return
	}
	has := "address " + f.Address6.String()
	if f.Gateway6.IsValid() {
		has += ", router " + f.Gateway6.String()
	}
	p.comment("    ", "It has IPv6 too ("+has+"). To use that, add IPv6 addresses to ips of tests, such as 2606:4700:4700::1111 and 2001:4860:4860::8888, and write:")
	p.line("    ", "# ipv6: auto")
}

// keys returns the lines of one entry.
func (f Found) keys() []string {
	u := new(uplinkDraft)
	u.iface.set(f.Interface)
	u.kind.set(f.Type)
	u.group.set(1)
	u.weight.set(1)
	u.description.set(clean(f.Description))
	if f.Type == Static && f.Address.IsValid() {
		u.address.set(f.Address)
	}
	if f.Type == Static && f.Gateway.IsValid() {
		u.gateway.set(f.Gateway)
	}
	var lines []string
	for _, k := range uplinkKeys(u) {
		if held := k.form.held(); held != "" && k.era != since15 {
			lines = append(lines, k.name+": "+held)
		}
	}
	return lines
}

// clean replaces what may not stand in a description or would end a comment.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !isShowable(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// quote writes text as a YAML scalar: plain where that is surely read back as the same text.
func quote(s string) string {
	plain := regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./@-]*( [A-Za-z0-9_./@-]+)*$`).MatchString(s)
	ambiguous := regexp.MustCompile(`^(?i:yes|no|on|off|true|false|null|y|n)$`).MatchString(s)
	if s == "" || plain && !ambiguous {
		return s
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf("%q", s)
	}
	return string(text)
}

// flowList writes words as YAML does on one line.
func flowList(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return "[" + strings.Join(words, ", ") + "]"
}
