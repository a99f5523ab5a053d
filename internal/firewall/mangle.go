package firewall

import "ftr/internal/config"

// The chains that give connections their marks. Only packets of unmarked or new connections enter
// them, so that the cost of all others does not grow with the number of uplinks.
const (
	chainIncoming = "ftr-incoming"
	chainOutgoing = "ftr-outgoing"
)

func (t *text) mangle() {
	t.note(`
--- mangle: which connection belongs to which uplink. It runs before nat in each hook, and before
the packet is routed in PREROUTING.`)
	t.table("mangle", "PREROUTING ACCEPT", "INPUT ACCEPT", "FORWARD ACCEPT", "OUTPUT ACCEPT",
		"POSTROUTING ACCEPT", chainIncoming+" -", chainOutgoing+" -")
	t.forced()
	t.restore()
	t.incoming()
	t.outgoing()
	t.segmentSize()
	t.commit()
}

func (t *text) forced() {
	interfaces := inside(t.cfg)
	if len(interfaces) == 0 {
		return
	}
	t.note(`
Force a kind of connection to an uplink, whatever the others do (here: mail to port 25). These
come before the marks are given back below, so that the first packet follows already. While the
uplink is down such connections fail; they do not move to another one. Destinations that the main
routing table knows (LAN, DMZ, VPN) are not affected. The router's own programs cannot be forced
so: their packets follow their source address; let the program bind to the uplink's address.`)
	for _, u := range t.cfg.Uplinks {
		t.rule("# %s:", label(u))
		t.rule("#-A PREROUTING -i %s -p tcp --dport 25 -m conntrack --ctstate NEW -j CONNMARK --set-xmark %s",
			word(interfaces[0]), mark(t.cfg, u))
	}
}

// restore gives packets the mark of their connection. A connection without mark leaves the packet
// alone, so that a mark which something else put on a first packet decides its way.
func (t *text) restore() {
	t.note(`
Packets from inside get the mark of their connection: all but the first of those that go out,
answers to those that came in, and forced ones stay on their uplink. Add a line for every further
interface (VPN, guests) whose traffic uses the uplinks.`)
	for _, i := range inside(t.cfg) {
		t.restoreRule("PREROUTING -i " + word(i))
	}
	t.note(`
The same for what the router itself sends. Its sockets are mostly kept on their uplink by their
source address; this is for the rest: answers from a second address of an uplink, answers of
connections that were redirected to an inside address of the router, programs that bind to one.`)
	t.restoreRule("OUTPUT")
}

func (t *text) restoreRule(where string) {
	t.rule("-A %s -m connmark ! --mark %s -j CONNMARK --restore-mark --nfmask %#x --ctmask %#x",
		where, unmarked(t.cfg), t.cfg.Numbers.Mask, t.cfg.Numbers.Mask)
}

func (t *text) incoming() {
	t.note(`
A connection that comes in, to the router or to a server behind it, belongs to the uplink that it
came in on; its answers have to leave there. Those that existed before these rules are caught by
their next packet from outside.`)
	t.rule("-A PREROUTING -m connmark --mark %s -j %s", unmarked(t.cfg), chainIncoming)
	for _, i := range append([]string{"lo"}, inside(t.cfg)...) {
		t.rule("-A %s -i %s -j RETURN", chainIncoming, word(i))
	}
	for _, u := range t.cfg.Uplinks {
		t.rule("-A %s -i %s -j CONNMARK --set-xmark %s", chainIncoming, word(u.Interface), mark(t.cfg, u))
	}
}

// outgoing marks all new connections, marked ones too: where a connection leaves decides which
// address nat gives it, so a mark that says otherwise (a forced one, with a route in main) is wrong.
func (t *text) outgoing() {
	t.note(`
A connection that goes out belongs to the uplink that the router chose for its first packet.`)
	t.rule("-A POSTROUTING -m conntrack --ctstate NEW -j %s", chainOutgoing)
	for _, u := range t.cfg.Uplinks {
		t.rule("-A %s -o %s -j CONNMARK --set-xmark %s", chainOutgoing, word(u.Interface), mark(t.cfg, u))
	}
}

func (t *text) segmentSize() {
	var ppp []config.Uplink
	for _, u := range t.cfg.Uplinks {
		if u.Type == config.PPP {
			ppp = append(ppp, u)
		}
	}
	if len(ppp) == 0 {
		return
	}
	t.note(`
PPP uplinks often carry smaller packets than Ethernet, and some hosts on the way never learn it:
if some sites hang there, announce a TCP segment size that fits.`)
	for _, u := range ppp {
		t.rule("#-A FORWARD -o %s -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", word(u.Interface))
	}
}
