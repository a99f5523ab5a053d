package firewall

import (
	"slices"

	"ftr/internal/config"
)

// Iptables6 returns the IPv6 rules that go with those of Iptables, in the format of ip6tables-save(8), for the
// lines that have IPv6. They mark and translate; what may pass is left to the administrator's own rules.
// The text depends on cfg alone: it knows no prefix that is only in a file.
func Iptables6(cfg *config.Config) string {
	six := *cfg
	six.Uplinks = slices.DeleteFunc(slices.Clone(cfg.Uplinks), func(u config.Uplink) bool { return !u.Inet6.On })
	t := &text{cfg: &six}
	t.header6()
	t.mangle6()
	t.nat6()
	return t.String()
}

func (t *text) header6() {
	t.rule("# Fault Tolerant Router: firewall rules for IPv6, format of ip6tables-save(8)")
	t.note(`
They mark and translate, as the IPv4 rules of generate_iptables do, and filter nothing: from whom
hosts inside may be reached is for rules of your own. Try the file, which changes nothing:

  ip6tables-restore --test FILE

ip6tables-restore FILE replaces whole tables: if you have rules of your own, merge these into them.`)
	if len(t.cfg.Uplinks) == 0 {
		t.note("No uplink has IPv6: see the key ipv6 of an uplink.")
		return
	}
	t.rule("#")
	for _, u := range t.cfg.Uplinks {
		t.rule("#   mark %s, table %d: %s, addresses: %s", mark(t.cfg, u), u.Table, label(u), u.Inet6.NAT)
	}
	t.wildcards()
}

func (t *text) mangle6() {
	t.table("mangle", "PREROUTING ACCEPT", "INPUT ACCEPT", "FORWARD ACCEPT", "OUTPUT ACCEPT",
		"POSTROUTING ACCEPT", chainIncoming+" -", chainOutgoing+" -")
	t.restore()
	t.incoming()
	t.outgoing()
	t.commit()
}

func (t *text) nat6() {
	t.note(`
--- nat: addresses. What comes from a link-local address is for the link itself.`)
	t.table("nat", "PREROUTING ACCEPT", "INPUT ACCEPT", "OUTPUT ACCEPT", "POSTROUTING ACCEPT")
	for _, u := range t.cfg.Uplinks {
		t.rule("# %s:", label(u))
		t.source6(u.Inet6, word(u.Interface))
	}
	t.commit()
}

// source6 is translation6 in the words of ip6tables(8).
func (t *text) source6(i config.Inet6, out string) {
	const beyond = "-A POSTROUTING ! -s fe80::/10 -o "
	switch {
	case i.NAT == config.KeepAddress && !i.Prefix.IsValid():
		t.rule("# all addresses stay as they are")
		return
	case i.NAT == config.KeepAddress:
		t.rule("-A POSTROUTING -s %s -o %s -j ACCEPT", i.Prefix, out)
	case i.NAT == config.TranslatePrefix && i.Prefix.IsValid():
		t.rule(beyond+"%s -m addrtype ! --src-type LOCAL -j NETMAP --to %s", out, i.Prefix)
	case i.NAT == config.Masquerade && i.Address.IsValid():
		t.rule(beyond+"%s -j SNAT --to-source %s", out, i.Address)
		return
	}
	t.rule(beyond+"%s -j MASQUERADE", out)
}
