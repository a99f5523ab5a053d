package config

import (
	"net/netip"

	"go.yaml.in/yaml/v4"
)

// inet6Draft is the key ipv6 of an uplink: a word, or a section.
type inet6Draft struct {
	on               field[bool]
	section          field[struct{}]
	address, gateway field[netip.Addr]
	nat              field[NAT6]
	prefix           field[netip.Prefix]
	prefixFile       field[string]
}

func inet6Keys(d *inet6Draft) []key {
	return []key{
		{name: "ip", era: sinceGo, form: address6(&d.address), otherwise: "read from the interface",
			doc: "Own address on the line."},
		{name: "gateway", era: sinceGo, form: gateway6(&d.gateway), otherwise: "the one of router advertisements, or of the default route that the interface has",
			doc: "Router of the provider. Link-local addresses (fe80::...) are usual, and written without interface."},
		{name: "nat", era: sinceGo, form: choice(&d.nat, []string{"masquerade", "prefix", "none"}, []NAT6{Masquerade, TranslatePrefix, KeepAddress}), fallback: "masquerade",
			doc: "What becomes of the addresses of hosts inside. masquerade: they get the line's own. prefix: they get the line's prefix and keep the rest (NPTv6). none: addresses of the line's prefix stay, and leave through this line and no other; the rest, which the provider would not let through, get the line's own. Without a prefix, all stay."},
		{name: "prefix", era: sinceGo, form: prefix6(&d.prefix), otherwise: "none, or that of prefix_file",
			doc: "Prefix that the provider routes to this line for the networks inside."},
		{name: "prefix_file", era: sinceGo, form: filePath(&d.prefixFile), otherwise: "none",
			doc: "File with that prefix, where it is delegated by DHCPv6 and may change: the first prefix in it counts, and it is read again when it changes."},
	}
}

// inet6Form reads the key.
type inet6Form struct{ into *inet6Draft }

const inet6Words = "no, auto, or a section with the keys: ip, gateway, nat, prefix, prefix_file"

func (f inet6Form) section() section { return section{&f.into.section, inet6Keys(f.into)} }

func (f inet6Form) word() scalar[bool] {
	s := choice(&f.into.on, []string{"no", "auto"}, []bool{false, true})
	s.what = inet6Words
	plain := s.parse
	s.parse = func(text string) (bool, fault) {
		if value, f := boolean(new(field[bool])).parse(text); f.none() {
			return value, f // the other words of YAML
		}
		return plain(text)
	}
	return s
}

func (f inet6Form) read(w *walker, n *yaml.Node, at place) {
	if n.Kind != yaml.MappingNode {
		f.word().read(w, n, at)
		f.section().absent(w, at.key, at.path)
		return
	}
	f.section().read(w, n, at)
	f.into.on = field[bool]{value: true, state: good, at: at.key, path: at.path}
}

func (f inet6Form) asDefault(at position) { f.into.on.state, f.into.on.at = absent, at }
func (f inet6Form) held() string          { return f.word().held() }
func (f inet6Form) words() string         { return inet6Words }
func (f inet6Form) inner() []key          { return inet6Keys(f.into) }

func (f inet6Form) schema() *schema {
	section := objectSchema(inet6Keys(f.into))
	section.Type = "object"
	return &schema{AnyOf: []*schema{{Enum: []any{"no", "auto", "yes", false, true}}, section, {Type: "null"}}}
}

// config makes the typed values.
func (d *inet6Draft) config() Inet6 {
	if !d.on.value {
		return Inet6{}
	}
	return Inet6{
		On: true, Address: d.address.value, Gateway: d.gateway.value, NAT: d.nat.value,
		Prefix: d.prefix.value, PrefixFile: d.prefixFile.value,
	}
}
