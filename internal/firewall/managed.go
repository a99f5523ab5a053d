package firewall

import (
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
)

// The chains' places. They are given as numbers, which nft(8) knows in all families.
const (
	// restorePriority is that of mangle: after connection tracking (-200), before routing.
	restorePriority = -150
	// beginPriority is before all who translate destinations (dstnat, -100), so that a connection has its
	// line before somebody else's nat chain ends the traversal for its packet.
	beginPriority = -105
	// leavePriority is before all who translate sources (srcnat, 100): what leaves a line is given the
	// line's address, and who comes later finds that done.
	leavePriority = 95
)

// untranslatable passes over connections that began while nothing translated addresses and that nobody has
// answered. The kernel asks the chains of type nat about each of their packets and can give them no address
// any more; without a mark they are known, and forgotten as soon as the table is there.
const untranslatable = "ct status confirmed accept"

// Managed returns the nft table that a managed firewall needs: connections remember their line in their
// mark, their packets get it back before they are routed, new ones are dealt to the lines of turns, and
// what leaves a line carries its address. Packets are counted on the way. Of marks, only the bits of the two masks are read and written,
// since nft cannot combine two registers: a verdict map leads to a small chain for each line, which sets
// them to constants. What a packet costs does not grow with the number of lines.
//
// Only first packets pass through the chains of type nat (nft(8), chain types).
func Managed(cfg *config.Config, turns []Turn) Table {
	m := managed{cfg: cfg}
	m.counters()
	m.sets()
	m.restore()
	m.begin(turns)
	m.own()
	m.forwards()
	m.leave()
	m.clamp()
	m.lines()
	return Table{m.objects}
}

// managed collects the objects.
type managed struct {
	cfg     *config.Config
	objects []Object
}

func (m *managed) chain(name, header string, rules ...string) {
	m.objects = append(m.objects, Object{Kind: Chain, Name: name, Header: header, Lines: rules})
}

func hook(kind, hook string, priority int) string {
	return fmt.Sprintf("type %s hook %s priority %d; policy accept;", kind, hook, priority)
}

// restore gives packets the mark of their connection, and counts them. Where nobody else has marked the packet,
// that is one rule without a verdict map: what most packets need. What comes back to a connection that began
// inside goes to the router, or inside, where main leads it, and needs no mark. What else comes from a line is
// marked too, since to tell it apart would cost more than it spares. At the router the mark is taken away again:
// what the router unpacks, if it is the end of a tunnel, would inherit it and be kept on the tunnel's line.
func (m *managed) restore() {
	mask, o := m.cfg.Numbers.Mask, m.origins()
	mark := func(u config.Uplink) string { return fmt.Sprintf("%#x : goto %s", u.Mark, lineChain(u)) }
	known := m.inFamilies("", fmt.Sprintf("ct mark & %#x vmap { %%s }", mask), mark)
	first := fmt.Sprintf("meta mark 0 meta mark set ct mark & %#x ", mask)
	rules, own := []string{first + "accept"}, known
	if Counts(m.cfg) {
		counts := fmt.Sprintf("ct mark & %#x != 0 jump sent", o.mask)
		rules = []string{"ct direction reply goto back", first + m.count(Sending, m.used()...) + " accept", counts}
		own = append([]string{"ct direction original " + counts}, known...)
	}
	m.counting(known)
	m.chain("restore", hook("filter", "prerouting", restorePriority), slices.Concat(rules, known, m.strays())...)
	m.chain("restore_own", hook("route", "output", restorePriority), slices.Concat(own, m.lead())...)
	m.chain("arrive", hook("filter", "input", restorePriority),
		fmt.Sprintf("ct mark & %#x != 0 meta mark set meta mark & %#x", mask, ^(mask|o.mask)))
}

// begin decides over new connections: what comes in on a line stays there, so that its answers leave
// there; all else is steered, unless somebody has given it a line already.
func (m *managed) begin(turns []Turn) {
	from := func(u config.Uplink) string { return fmt.Sprintf("%q : goto %s", u.Interface, fromChain(u)) }
	rules := append(m.inFamilies("", "iifname vmap { %s }", from),
		`iifname "lo" accept`,
		untranslatable,
		fmt.Sprintf("meta mark & %#x != 0 accept", m.cfg.Numbers.Mask),
	)
	var next []string
	for _, f := range families {
		if len(cycle(of(f, 0, turns))) > 0 {
			next = append(next, only(f)+"goto "+dealChain(f))
		}
	}
	if len(m.cfg.Policies) > 0 {
		m.chain("begin", hook("nat", "prerouting", beginPriority), append(rules, "goto policies")...)
		m.policies(turns, next)
	} else {
		m.chain("begin", hook("nat", "prerouting", beginPriority), append(rules, next...)...)
	}
	for _, f := range families {
		if order := cycle(of(f, 0, turns)); len(order) > 0 {
			m.chain(dealChain(f), "", m.deal(0, order))
		}
	}
	for _, u := range m.cfg.Uplinks {
		m.chain(fromChain(u), "", m.remember(u))
	}
	for _, s := range m.cfg.Steers {
		m.chain(steerChain(s), "", fmt.Sprintf("meta mark set meta mark & %#x | %#x", ^m.cfg.Numbers.SteerMask, s.Mark))
	}
}

// of returns the turns of a family and policy.
func of(f config.Family, policy int, turns []Turn) (own []Turn) {
	for _, t := range turns {
		if t.Family == f && t.Policy == policy {
			own = append(own, t)
		}
	}
	return own
}

// deal gives each new connection the next turn.
func (m *managed) deal(policy int, order []int) string {
	var entries []string
	for i, uplink := range order {
		if s, ok := m.cfg.Steer(policy, uplink); ok {
			entries = append(entries, fmt.Sprintf("%d : goto %s", i, steerChain(s)))
		}
	}
	return fmt.Sprintf("numgen inc mod %d vmap { %s }", len(order), strings.Join(entries, ", "))
}

// leave gives new connections the line that they leave by, and its address.
func (m *managed) leave() {
	by := func(u config.Uplink) string { return fmt.Sprintf("%q : goto %s", u.Interface, leaveChain(u)) }
	rules := append([]string{untranslatable}, m.inFamilies("", "oifname vmap { %s }", by)...)
	m.chain("leave", hook("nat", "postrouting", leavePriority), rules...)
	for _, u := range m.cfg.Uplinks {
		rules := []string{m.remember(u)}
		if Counts(m.cfg) {
			rules = append(rules, "jump begun")
		}
		m.chain(leaveChain(u), "", append(rules, m.translation(u)...)...)
	}
}

// strays drops packets of no connection that would leave by a line, such as the last ones of a connection that
// was released. They are not translated and would carry an inside address: nobody could answer them, and
// providers blame those who send them. They alone are asked where they would go, so that all others need no
// chain for it. Where addresses stay, those of the line's own prefix may leave by it.
func (m *managed) strays() (rules []string) {
	stray := func(which, names string) string {
		return "ct state invalid " + which + "fib daddr . mark oifname { " + names + " } drop"
	}
	for _, f := range families {
		if names := m.named(func(u config.Uplink) bool {
			return u.Has(f) && (f == config.IPv4 || u.Inet6.NAT != config.KeepAddress)
		}); names != "" {
			rules = append(rules, stray(only(f), names))
		}
	}
	for _, u := range m.cfg.Uplinks {
		if foreign, ok := foreign6(u.Inet6); ok {
			rules = append(rules, stray(only(config.IPv6)+foreign, fmt.Sprintf("%q", u.Interface)))
		}
	}
	return rules
}

// clamp has TCP announce no larger segments than what a line carries, where that is wanted. It sees what the
// router itself sends, too: a policy may have led that to another line than the one that it was made for.
func (m *managed) clamp() {
	if names := m.named(func(u config.Uplink) bool { return u.ClampMSS }); names != "" {
		m.chain("clamp", hook("filter", "postrouting", restorePriority), "oifname { "+names+" } tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu")
	}
}

// named are the interfaces of some lines, as elements of a set.
func (m *managed) named(which func(config.Uplink) bool) string {
	var names []string
	for _, u := range m.cfg.Uplinks {
		if which(u) {
			names = append(names, fmt.Sprintf("%q", u.Interface))
		}
	}
	return strings.Join(names, ", ")
}

// lines are the chains that give a packet a line's mark.
func (m *managed) lines() {
	for _, u := range m.cfg.Uplinks {
		m.chain(lineChain(u), "", fmt.Sprintf("meta mark set meta mark & %#x | %#x%s", ^m.cfg.Numbers.Mask, u.Mark, comment(u)))
	}
}

// remember writes the line into the connection's mark. A connection that another one has led to expect (nf_conntrack
// helpers) has inherited its mark, with an origin that need not be its own.
func (m *managed) remember(u config.Uplink) string {
	return fmt.Sprintf("ct mark set ct mark & %#x | %#x", ^(m.cfg.Numbers.Mask | m.origins().mask), u.Mark)
}

// comment names the uplink in a listing.
func comment(u config.Uplink) string {
	return fmt.Sprintf(" comment %q", strings.ReplaceAll(label(u), `"`, "'"))
}

func lineChain(u config.Uplink) string  { return fmt.Sprintf("line%d", u.Index+1) }
func fromChain(u config.Uplink) string  { return fmt.Sprintf("from%d", u.Index+1) }
func leaveChain(u config.Uplink) string { return fmt.Sprintf("leave%d", u.Index+1) }

func steerChain(s config.Steer) string {
	return fmt.Sprintf("steer%d", s.Table-config.FirstSteerTable+1)
}
