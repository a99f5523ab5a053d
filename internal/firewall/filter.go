package firewall

import "ftr/internal/config"

// The chains for packets from and to the uplinks: one jump per uplink instead of one rule for each
// pair of interfaces.
const (
	chainFromWAN = "ftr-from-wan"
	chainToWAN   = "ftr-to-wan"
)

func (t *text) filter() {
	t.note(`
--- filter: who may talk to whom. A basic example to be extended. INPUT (to the router) and FORWARD
(through it) drop what is not accepted here.

DO NOT LOCK YOURSELF OUT: as it stands, the router can be reached only from the LAN. If you are
connected in another way, allow that first, below.`)
	t.table("filter", "INPUT DROP", "FORWARD DROP", "OUTPUT ACCEPT", chainFromWAN+" -", chainToWAN+" -")
	t.input()
	t.forward()
	t.commit()
}

func (t *text) input() {
	t.note(`
The router itself. Answers to its own probes, mail and name look-ups are ESTABLISHED; errors about
a connection (host unreachable, packet too big) are RELATED.`)
	t.rule("-A INPUT -i lo -j ACCEPT")
	t.rule("-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	t.rule("-A INPUT -p icmp --icmp-type echo-request -j ACCEPT")
	for _, i := range t.cfg.LAN {
		t.rule("-A INPUT -i %s -j ACCEPT", word(i))
	}
	t.dhcpClient()
	t.note(`
Administration from outside, by ssh: from everywhere, or better from one address.`)
	t.rule("#-A INPUT -p tcp --dport 22 -j ACCEPT")
	t.rule("#-A INPUT -s 198.51.100.7 -p tcp --dport 22 -j ACCEPT")
	if len(t.cfg.DMZ) > 0 {
		t.note("The servers of the DMZ may ask the router for names.")
		t.rule("#-A INPUT -i %s -p udp --dport 53 -j ACCEPT", word(t.cfg.DMZ[0]))
		t.rule("#-A INPUT -i %s -p tcp --dport 53 -j ACCEPT", word(t.cfg.DMZ[0]))
	}
}

func (t *text) dhcpClient() {
	first := true
	for _, u := range t.cfg.Uplinks {
		if u.Type != config.DHCP {
			continue
		}
		if first {
			t.note("Leases: a server's answer to a broadcast belongs to no connection that the kernel knows.")
			first = false
		}
		t.rule("-A INPUT -i %s -p udp --sport 67 --dport 68 -j ACCEPT", word(u.Interface))
	}
}

func (t *text) forward() {
	t.note("Through the router: what belongs to an accepted connection passes, in both directions.")
	t.rule("-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	t.note("From the uplinks and to them; who may do so is decided once for all uplinks, further down.")
	for _, u := range t.cfg.Uplinks {
		t.rule("-A FORWARD -i %s -j %s", word(u.Interface), chainFromWAN)
		t.rule("-A FORWARD -o %s -j %s", word(u.Interface), chainToWAN)
	}
	t.between()
	t.fromWAN()
	t.note(`
What connection tracking cannot place is not translated: the rest of a connection of a line that is
gone would leave through another one, with an inside address.`)
	t.rule("-A %s -m conntrack --ctstate INVALID -j DROP", chainToWAN)
	t.note("LAN and DMZ may connect to the internet.")
	for _, i := range inside(t.cfg) {
		t.rule("-A %s -i %s -j ACCEPT", chainToWAN, word(i))
	}
}

// between is about the inside networks among themselves.
func (t *text) between() {
	if len(t.cfg.LAN) > 1 {
		a, b := word(t.cfg.LAN[0]), word(t.cfg.LAN[1])
		t.note("One LAN to another, and back: not allowed unless you say so, for each pair.")
		t.rule("#-A FORWARD -i %s -o %s -j ACCEPT", a, b)
		t.rule("#-A FORWARD -i %s -o %s -j ACCEPT", b, a)
	}
	if len(t.cfg.LAN) == 0 || len(t.cfg.DMZ) == 0 {
		return
	}
	t.note("The LAN may use the servers of the DMZ; they may not connect to the LAN.")
	for _, lan := range t.cfg.LAN {
		for _, dmz := range t.cfg.DMZ {
			t.rule("-A FORWARD -i %s -o %s -j ACCEPT", word(lan), word(dmz))
		}
	}
}

func (t *text) fromWAN() {
	if len(t.cfg.LAN) > 0 {
		t.note(`
The internet may not connect to the LAN. The first line would let connections pass for which there
is a DNAT rule in the nat table.`)
		t.rule("#-A %s -m conntrack --ctstate DNAT -j ACCEPT", chainFromWAN)
		for _, i := range t.cfg.LAN {
			t.rule("-A %s -o %s -j REJECT", chainFromWAN, word(i))
		}
	}
	if len(t.cfg.DMZ) > 0 {
		t.note(`
It may connect to the DMZ: by DNAT, or directly if there are public addresses. If there are none,
use the stricter form, with which a neighbour in the provider's network cannot get around DNAT:
-m conntrack --ctstate DNAT before -j.`)
		for _, i := range t.cfg.DMZ {
			t.rule("-A %s -o %s -j ACCEPT", chainFromWAN, word(i))
		}
	}
}
