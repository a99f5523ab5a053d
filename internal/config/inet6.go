package config

import (
	"net/netip"
	"slices"
)

// Inet6 is the IPv6 of an uplink. The zero value is that of one without.
type Inet6 struct {
	On      bool
	Address netip.Addr // own address; invalid: read from the interface
	Gateway netip.Addr // often link-local (RFC 4862, RFC 4861); invalid: the one known for the interface
	NAT     NAT6
	// Prefix is what the provider routes to this line, for the networks inside (RFC 8415 §6.3); invalid: it
	// is read from PrefixFile, or there is none.
	Prefix     netip.Prefix
	PrefixFile string // written by a DHCP client; its first prefix counts; empty: none
}

// NAT6 is what becomes of the source addresses of hosts inside, on their way out through a line.
type NAT6 uint8

// The ways of translating.
const (
	// Masquerade: they get the line's own address, as in IPv4.
	Masquerade NAT6 = iota
	// TranslatePrefix: they get the line's prefix and keep the rest (NPTv6, RFC 6296).
	TranslatePrefix
	// KeepAddress: those of the line's prefix stay, and leave through this line only; others get the line's
	// own. Without a prefix all stay.
	KeepAddress
)

// String returns the word used in the configuration file.
func (n NAT6) String() string { return [...]string{"masquerade", "prefix", "none"}[n] }

// Families returns the address families of an uplink.
func (u Uplink) Families() []Family {
	if u.Inet6.On {
		return []Family{IPv4, IPv6}
	}
	return []Family{IPv4}
}

// Has tells whether the uplink has the family.
func (u Uplink) Has(f Family) bool { return f == IPv4 || u.Inet6.On }

// Fixed returns the uplink's own address of a family that the file has; invalid: none.
func (u Uplink) Fixed(f Family) netip.Addr {
	if f == IPv6 {
		return u.Inet6.Address
	}
	return u.Address
}

// Families returns the address families that any uplink has.
func (c *Config) Families() []Family {
	for _, u := range c.Uplinks {
		if u.Inet6.On {
			return []Family{IPv4, IPv6}
		}
	}
	return []Family{IPv4}
}

// WithPrefixes returns a copy of the configuration in which lines have the prefixes that were delegated to
// them, by the uplinks' indexes.
func (c *Config) WithPrefixes(prefixes map[int]netip.Prefix) *Config {
	if len(prefixes) == 0 {
		return c
	}
	with := *c
	with.Uplinks = slices.Clone(c.Uplinks)
	for i, p := range prefixes {
		with.Uplinks[i].Inet6.Prefix = p
	}
	return &with
}

// For returns how a line is judged in one family: by the targets of that family, and never by more of
// them than there are. The gateway is a target in each.
func (t Tests) For(f Family) Tests {
	t.Targets = ofFamily(t.Targets, f)
	t.Required = min(t.Required, len(t.Targets))
	return t
}

func ofFamily(targets []Target, f Family) (list []Target) {
	for _, t := range targets {
		if t.Method == Gateway || FamilyOf(t.Address) == f {
			list = append(list, t)
		}
	}
	return list
}
