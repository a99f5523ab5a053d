package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const targetWords = "icmp://ADDRESS, tcp://ADDRESS:PORT, dns://ADDRESS[:PORT]/NAME, http[s]://ADDRESS[:PORT]/PATH or gateway"

// targetList is a list of targets, each a URL or a section {url, host, status}. A single one is accepted
// as a list of one.
type targetList struct{ into *field[[]field[Target]] }

// targetDraft is a target written as a section.
type targetDraft struct {
	section field[struct{}]
	url     field[Target]
	host    field[string]
	status  field[int64]
}

func targetKeys(d *targetDraft) []key {
	return []key{
		{name: "url", required: true, form: targetURL(&d.url)},
		{name: "host", form: host(&d.host)},
		{name: "status", form: integer(&d.status, 100, 599)},
	}
}

func (l targetList) read(w *walker, n *yaml.Node, at place) {
	l.into.at, l.into.path, l.into.state = positionOf(n), at.path, good
	eachEntry(w, n, at, l.entry)
}

// eachEntry reads the entries of a list of sections or words, of which a single one needs no list. It tells
// whether none of them is empty.
func eachEntry(w *walker, n *yaml.Node, at place, read func(*walker, *yaml.Node, place)) (whole bool) {
	if n.Kind != yaml.SequenceNode {
		read(w, n, at)
		return true
	}
	whole = true
	for i, entry := range n.Content {
		inner := place{path: fmt.Sprintf("%s[%d]", at.path, i), key: positionOf(entry), end: endOf(n, i, at.end)}
		if isNull(entry) {
			w.report(positionOf(entry), Problem{Path: inner.path, Message: "the entry of the list is empty; remove it"})
			whole = false
			continue
		}
		read(w, entry, inner)
	}
	return whole
}

func (l targetList) entry(w *walker, n *yaml.Node, at place) {
	one := field[Target]{at: positionOf(n), path: at.path}
	if n.Kind == yaml.MappingNode {
		var d targetDraft
		keys := targetKeys(&d)
		keys[0].secret = slices.ContainsFunc(n.Content, holdsPassword)
		section{&d.section, keys}.read(w, n, at)
		one.value, one.state = d.url.value, w.checkTargetDraft(&d)
		one.value.Status = int(d.status.value)
		if d.host.given() {
			one.value.Name = d.host.value
		}
	} else {
		if at.secret = holdsPassword(n); at.secret {
			w.source.hide(positionOf(n), at.end)
		}
		targetURL(&one).read(w, n, at)
	}
	l.into.value = append(l.into.value, one)
	if one.state == bad {
		l.into.state = bad
	}
}

// holdsPassword tells whether a URL may hold a password. It is refused, and not shown.
func holdsPassword(n *yaml.Node) bool { return strings.Contains(n.Value, "@") }

// checkTargetDraft: host and status mean something for HTTP alone.
func (w *walker) checkTargetDraft(d *targetDraft) fieldState {
	if !d.url.given() || !d.host.usable() || !d.status.usable() {
		return bad
	}
	if m := d.url.value.Method; m == HTTP || m == HTTPS {
		return good
	}
	state := good
	for _, f := range []struct {
		given bool
		at    position
		path  string
	}{{d.host.given(), d.host.at, d.host.path}, {d.status.given(), d.status.at, d.status.path}} {
		if f.given {
			w.report(f.at, Problem{Path: f.path, Message: "means nothing for " + d.url.value.Method.String() + "; only http and https have it"})
			state = bad
		}
	}
	return state
}

func (l targetList) asDefault(at position) { l.into.state, l.into.at = absent, at }

func (l targetList) held() string {
	var words []string
	for _, f := range l.into.value {
		words = append(words, spellTarget(f.value))
	}
	return flowList(words)
}

// spellTarget writes a target as in the file.
func spellTarget(t Target) string {
	plain := t
	plain.Status = 0
	if t.Method == HTTP || t.Method == HTTPS {
		plain.Name = ""
	}
	text := strconv.Quote(plain.String())
	if plain == t {
		return text
	}
	text = "{url: " + text
	if t.Name != "" {
		text += ", host: " + quote(t.Name)
	}
	if t.Status != 0 {
		text += ", status: " + strconv.Itoa(t.Status)
	}
	return text + "}"
}

func (l targetList) words() string {
	return targetWords + ", or a section {url: ..., host: NAME, status: CODE}, or a list of these"
}

func (l targetList) schema() *schema {
	one := targetURL(new(field[Target])).schema()
	keys := targetKeys(new(targetDraft))
	full := objectSchema(nil)
	full.Type = "object"
	for _, k := range keys {
		full.Properties[k.name] = k.form.schema()
	}
	full.Required = []string{"url"}
	one.forbidNull()
	return &schema{AnyOf: []*schema{one, full, {Type: "array", Items: &schema{AnyOf: []*schema{one, full}}}, {Type: "null"}}}
}

// targetURL is a target in one word.
func targetURL(into *field[Target]) scalar[Target] {
	return scalar[Target]{
		into:  into,
		what:  targetWords,
		parse: parseTarget,
		print: spellTarget,
		json:  &schema{Type: []string{"string", "null"}, Pattern: `^\s*(gateway|[0-9.]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|(icmp|tcp|dns|http|https)://\S+)\s*$`},
	}
}

// parseTarget reads a target. A bare address is asked by ICMP, as in tests.ips.
func parseTarget(s string) (Target, fault) {
	word := strings.TrimSpace(s)
	if word == "gateway" {
		return Target{Method: Gateway}, fault{}
	}
	if a, err := netip.ParseAddr(word); err == nil {
		_, f := parseHost(a.String())
		return Echo(a), f
	}
	u, err := url.Parse(word)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return Target{}, fault{"is not a target", closest(word, []string{"gateway"})}
	}
	methods := []string{"icmp", "tcp", "dns", "http", "https"}
	method := slices.Index(methods, u.Scheme)
	switch {
	case method < 0:
		return Target{}, fault{"has the unknown method " + show(u.Scheme), suggestScheme(word, u.Scheme, methods)}
	case u.User != nil:
		return Target{}, fault{message: "has a user name, which is not supported"}
	case u.Fragment != "" || strings.HasSuffix(word, "#"):
		return Target{}, fault{message: "has a fragment (#), which servers never see"}
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		return Target{}, fault{message: "has a host name in place of an address; names are not resolved for probes"}
	}
	t := Target{Method: Method(method)}
	var f fault
	if t.Address, f = parseHost(u.Hostname()); !f.none() {
		return Target{}, f
	}
	if t.Port, f = t.portOf(u); !f.none() {
		return Target{}, f
	}
	return t.withPath(u)
}

func suggestScheme(word, scheme string, methods []string) string {
	better := closest(scheme, methods)
	if better == "" {
		return ""
	}
	return better + strings.TrimPrefix(word, scheme)
}

// portOf returns the port of a URL, or the method's own.
func (t Target) portOf(u *url.URL) (uint16, fault) {
	usual := map[Method]uint16{DNS: 53, HTTP: 80, HTTPS: 443}[t.Method]
	text := u.Port()
	switch {
	case t.Method == ICMP && (text != "" || strings.HasSuffix(u.Host, ":")):
		return 0, fault{"has a port, which ICMP does not know", "icmp://" + t.authority(0)}
	case text == "" && t.Method == TCP:
		return 0, fault{"has no port", "tcp://" + netip.AddrPortFrom(t.Address, 443).String()}
	case text == "":
		return usual, fault{}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fault{message: "has a port that is not from 1 to 65535"}
	}
	return uint16(port), fault{}
}

// withPath takes what stands after the address: the path of HTTP, the name of DNS.
func (t Target) withPath(u *url.URL) (Target, fault) {
	rest := strings.TrimPrefix(u.EscapedPath(), "/")
	switch t.Method {
	case HTTP, HTTPS:
		t.Path = "/" + rest
		if u.RawQuery != "" {
			t.Path += "?" + u.RawQuery
		}
		if strings.ContainsFunc(t.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return Target{}, fault{message: "has characters in its path that must be written with % (RFC 3986)"}
		}
		return t, fault{}
	case DNS:
		if !regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?|\.)$`).MatchString(rest) || len(rest) > 253 || u.RawQuery != "" {
			return Target{}, fault{message: "has no name to ask for, such as dns://" + t.authority(53) + "/example.com"}
		}
		t.Name = rest
		return t, fault{}
	default:
		if rest != "" || u.RawQuery != "" {
			return Target{}, fault{"has a path, which " + t.Method.String() + " does not know", ""}
		}
		return t, fault{}
	}
}
