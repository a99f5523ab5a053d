package firewall

import (
	"fmt"
	"strings"

	"ftr/internal/config"
)

// only matches what is of a family.
func only(f config.Family) string {
	if f == config.IPv6 {
		return "meta nfproto ipv6 "
	}
	return "meta nfproto ipv4 "
}

// inFamilies returns a rule about the lines of each family, before which something may stand, and in which
// entries are written as %s: one rule for both families where all lines have both.
func (m *managed) inFamilies(before, rule string, entry func(config.Uplink) string) []string {
	of := make([][]string, len(families))
	for _, u := range m.cfg.Uplinks {
		for i, f := range families {
			if u.Has(f) {
				of[i] = append(of[i], entry(u))
			}
		}
	}
	if len(of[0]) == len(of[1]) {
		return []string{before + fmt.Sprintf(rule, strings.Join(of[0], ", "))}
	}
	var rules []string
	for i, f := range families {
		if len(of[i]) > 0 {
			rules = append(rules, before+only(f)+fmt.Sprintf(rule, strings.Join(of[i], ", ")))
		}
	}
	return rules
}

// dealChain is where new connections of a family are dealt to the lines.
func dealChain(f config.Family) string {
	if f == config.IPv6 {
		return "deal6"
	}
	return "deal"
}

// translation returns the rules that give new connections the address of the line that they leave by.
func (m *managed) translation(u config.Uplink) []string {
	nat := "masquerade"
	if staticAddress(u) {
		nat = "snat ip to " + u.Address.String()
	}
	if !u.Inet6.On {
		return []string{nat}
	}
	return append([]string{only(config.IPv4) + nat}, m.translation6(u.Inet6)...)
}

// translation6 is that of IPv6. What comes from a link-local address is for the link itself, as a DHCP
// client's questions are. Of the router's own connections none needs another prefix: they have the line's
// address, or get it.
func (m *managed) translation6(i config.Inet6) []string {
	const beyond = "ip6 saddr != fe80::/10 "
	if foreign, ok := foreign6(i); ok {
		// What has no address of the line would not be let through, nor be answered here.
		return []string{foreign + "masquerade"}
	}
	switch {
	case i.NAT == config.KeepAddress && m.leadsOwn():
		// What a policy has led here may have had the address of another line already.
		return []string{fmt.Sprintf("meta mark & %#x != 0 fib saddr type local fib saddr . oif type != local masquerade", m.cfg.Numbers.SteerMask)}
	case i.NAT == config.KeepAddress:
		return nil
	case i.NAT == config.TranslatePrefix && i.Prefix.IsValid():
		return []string{beyond + "fib saddr type != local snat ip6 prefix to " + i.Prefix.String(), beyond + "masquerade"}
	case i.NAT == config.Masquerade && i.Address.IsValid():
		return []string{beyond + "snat ip6 to " + i.Address.String()}
	}
	// Where the prefix is not known yet, the line's address is better than one that nobody routes back.
	return []string{beyond + "masquerade"}
}

// foreign6 matches what has no address of a line whose prefix is known and whose addresses stay.
func foreign6(i config.Inet6) (match string, ok bool) {
	if !i.On || i.NAT != config.KeepAddress || !i.Prefix.IsValid() {
		return "", false
	}
	return "ip6 saddr != { fe80::/10, " + i.Prefix.String() + " } ", true
}
