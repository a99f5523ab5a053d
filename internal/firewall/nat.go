package firewall

import (
	"slices"

	"ftr/internal/config"
)

func (t *text) nat() {
	t.note(`
--- nat: addresses. Only the first packet of a connection comes here; the kernel treats all others
like it.`)
	t.table("nat", "PREROUTING ACCEPT", "INPUT ACCEPT", "OUTPUT ACCEPT", "POSTROUTING ACCEPT")
	t.destination()
	t.source()
	t.commit()
}

func (t *text) destination() {
	t.note(`
Make a server inside reachable on an uplink (here: a web server, 192.0.2.10). Where the uplink's
address is known the rule names it, and also works for clients in the LAN. If client and server
are in the same network, the server's answers do not pass the router unless you also masquerade:
-A POSTROUTING -s LAN-NETWORK -d SERVER -j MASQUERADE. Servers in the LAN also need a line in the
filter table.`)
	for _, u := range t.cfg.Uplinks {
		where := "-i " + word(u.Interface)
		if staticAddress(u) && !t.shared(u) {
			where = "-d " + u.Address.String()
		}
		t.rule("# %s:", label(u))
		t.rule("#-A PREROUTING %s -p tcp --dport 80 -j DNAT --to-destination 192.0.2.10", where)
	}
}

func (t *text) source() {
	t.note(`
What leaves an uplink carries its address: SNAT where it is known and fixed; MASQUERADE where it
is read from the interface, which also forgets the connections when the address is lost. This
includes the router's own packets, which have chosen that address already: for them it changes
nothing, except that a program bound to a second address of the uplink is given the first. Other
source addresses, and networks that keep theirs (public addresses in the DMZ), come before: the
first rule that matches wins.`)
	for _, u := range t.cfg.Uplinks {
		out := word(u.Interface)
		t.rule("# %s:", label(u))
		t.rule("#-A POSTROUTING -s 192.0.2.10 -o %s -j SNAT --to-source 198.51.100.99", out)
		t.rule("#-A POSTROUTING -s 192.0.2.128/25 -o %s -j ACCEPT", out)
		if staticAddress(u) {
			t.rule("-A POSTROUTING -o %s -j SNAT --to-source %s", out, u.Address)
		} else {
			t.rule("-A POSTROUTING -o %s -j MASQUERADE", out)
		}
	}
}

// shared tells whether other lines have the uplink's address too.
func (t *text) shared(u config.Uplink) bool {
	return slices.ContainsFunc(t.cfg.Uplinks, func(o config.Uplink) bool { return o.Index != u.Index && o.Address == u.Address })
}

// staticAddress tells whether the uplink's address is known when the rules are written.
func staticAddress(u config.Uplink) bool {
	return u.Type == config.Static && u.Address.IsValid()
}
