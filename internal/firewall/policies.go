package firewall

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ftr/internal/config"
)

// stickPriority is before a new connection is given the line's address.
const stickPriority = leavePriority - 1

// stickySize is how many sources, or pairs, a set of a sticky policy holds: without it nft takes 65,535, after which
// new ones are not remembered. The kernel makes room at once for as many as the lower 16 bits say (nelem_hint of
// rhashtable_params), 2 MB for 65,535; here they are zero, and memory is taken as the set grows.
const stickySize = 1 << 20

// families are those that a rule about addresses may be for.
var families = [...]config.Family{config.IPv4, config.IPv6}

// sets are the named sets of the file. Those that others fill are kept with what is in them.
func (m *managed) sets() {
	for _, s := range m.cfg.Sets {
		o := Object{Kind: Set, Name: s.Name, Header: "type " + addressType(s.Family) + "; flags interval;", Dynamic: s.External}
		if s.External {
			o.Header = "type " + addressType(s.Family) + "; flags interval, timeout;"
		}
		for _, p := range s.Prefixes {
			o.Lines = append(o.Lines, nftPrefix(p))
		}
		m.objects = append(m.objects, o)
	}
}

func addressType(f config.Family) string { return nftIP(f) + "_addr" }

// nftIP is the name of the header in nft(8) types and ct expressions.
func nftIP(f config.Family) string {
	if f == config.IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// nftPrefix writes a prefix as nft lists it.
func nftPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// policies steer the new connections that they match; next is what holds for all others.
func (m *managed) policies(turns []Turn, next []string) {
	rules := m.choose(false)
	m.chain("policies", "", append(rules, next...)...)
	for i := range m.cfg.Policies {
		m.policy(&m.cfg.Policies[i], turns)
	}
	m.stick()
}

// choose are the rules that lead to the first policy that matches, of those for the router's own connections
// or of the others.
func (m *managed) choose(own bool) (rules []string) {
	for i := range m.cfg.Policies {
		p := &m.cfg.Policies[i]
		if p.Match.Own != own {
			continue
		}
		for _, owner := range owners(&p.Match) {
			for _, match := range m.matches(&p.Match) {
				rules = append(rules, words(owner.text, match, "goto "+policyChain(p), owner.comment))
			}
		}
	}
	return rules
}

// policy is the chain of one policy: who was here before goes where he went, and the others get a turn.
func (m *managed) policy(p *config.Policy, turns []Turn) {
	var rules []string
	if m.sticks(p) {
		for _, w := range p.Ways {
			steer, _ := m.cfg.Steer(p.Number, w.Uplink)
			for _, f := range families {
				m.objects = append(m.objects, Object{
					Kind: Set, Name: m.stickySet(p, w, f), Dynamic: true,
					Header: fmt.Sprintf("type %s; size %d; flags dynamic,timeout; timeout %ds;", keyType(p, f), stickySize, int(p.StickyTimeout.Seconds())),
				})
				rules = append(rules, fmt.Sprintf("%s @%s goto %s", key(p, f), m.stickySet(p, w, f), steerChain(steer)))
			}
		}
	}
	if p.Balance == config.BalanceRoundRobin {
		for _, f := range families {
			if order := cycle(of(f, p.Number, turns)); len(order) > 0 && p.PerLine() {
				rules = append(rules, fmt.Sprintf("meta nfproto %s %s", nftIP(f), m.deal(p.Number, order)))
			}
		}
	}
	steer, _ := m.cfg.Steer(p.Number, config.NoUplink)
	m.chain(policyChain(p), "", append(rules, "goto "+steerChain(steer))...)
}

// sticks tells whether a policy keeps connections together: where there is one line only, they are.
func (m *managed) sticks(p *config.Policy) bool {
	return p.Sticky != config.StickyNone && len(p.Ways) > 1
}

// stick remembers for each sticky policy by which line its connections really leave. So what was moved
// because its line died stays where it went.
func (m *managed) stick() {
	var entries []string
	for i := range m.cfg.Policies {
		p := &m.cfg.Policies[i]
		if !m.sticks(p) {
			continue
		}
		for _, s := range m.steersOf(p) {
			entries = append(entries, fmt.Sprintf("%#x : goto %s", s.Mark, stickChain(p)))
		}
		var by []string
		for _, w := range p.Ways {
			by = append(by, fmt.Sprintf("%q : goto %s", m.cfg.Uplinks[w.Uplink].Interface, stickLineChain(p, w)))
			m.stickLine(p, w)
		}
		m.chain(stickChain(p), "", "oifname vmap { "+strings.Join(by, ", ")+" }")
	}
	if len(entries) > 0 {
		m.chain("stick", hook("nat", "postrouting", stickPriority),
			fmt.Sprintf("meta mark & %#x vmap { %s }", m.cfg.Numbers.SteerMask, strings.Join(entries, ", ")))
	}
}

// stickLine notes that a connection left by a line, and forgets the one that was meant for it.
func (m *managed) stickLine(p *config.Policy, here config.Way) {
	var forget, elsewhere []string
	for _, f := range families {
		forget = append(forget, fmt.Sprintf("delete @%s { %s }", m.stickySet(p, here, f), key(p, f)))
	}
	m.chain(forgetChain(p, here), "", forget...)
	for _, w := range p.Ways {
		if s, _ := m.cfg.Steer(p.Number, w.Uplink); w.Uplink != here.Uplink {
			elsewhere = append(elsewhere, fmt.Sprintf("%#x : jump %s", s.Mark, forgetChain(p, w)))
		}
	}
	rules := []string{fmt.Sprintf("meta mark & %#x vmap { %s }", m.cfg.Numbers.SteerMask, strings.Join(elsewhere, ", "))}
	for _, f := range families {
		rules = append(rules, fmt.Sprintf("update @%s { %s }", m.stickySet(p, here, f), key(p, f)))
	}
	m.chain(stickLineChain(p, here), "", rules...)
}

// steersOf returns the steers of a policy.
func (m *managed) steersOf(p *config.Policy) (own []config.Steer) {
	for _, s := range m.cfg.Steers {
		if s.Policy == p.Number {
			own = append(own, s)
		}
	}
	return own
}

// key is what connections of a sticky policy have in common, as they were before any translation.
func key(p *config.Policy, f config.Family) string {
	source := "ct original " + nftHeader(f) + " saddr"
	if p.Sticky == config.StickySource {
		return source
	}
	return source + " . ct original " + nftHeader(f) + " daddr"
}

func keyType(p *config.Policy, f config.Family) string {
	if p.Sticky == config.StickySource {
		return addressType(f)
	}
	return addressType(f) + " . " + addressType(f)
}

func nftHeader(f config.Family) string { return nftFamily(f) }

// stickySet names the set of those who stick to a line, by the names of policy and interface, so that it
// is found again when a new file has them at other places. With another time-out it is another set.
func (m *managed) stickySet(p *config.Policy, w config.Way, f config.Family) string {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s\x00%s\x00%s\x00%s", p.Name, m.cfg.Uplinks[w.Uplink].Interface, p.Sticky, p.StickyTimeout)
	return fmt.Sprintf("sticky-%s-%016x", nftHeader(f), sum.Sum64())
}

func policyChain(p *config.Policy) string { return fmt.Sprintf("policy%d", p.Number) }
func stickChain(p *config.Policy) string  { return fmt.Sprintf("stick%d", p.Number) }

func stickLineChain(p *config.Policy, w config.Way) string {
	return fmt.Sprintf("stick%d-%d", p.Number, w.Uplink+1)
}

func forgetChain(p *config.Policy, w config.Way) string {
	return fmt.Sprintf("forget%d-%d", p.Number, w.Uplink+1)
}

// matches writes a match as rules without verdict: alternatives that one rule cannot hold, such as
// addresses of both families and named sets, become several.
func (m *managed) matches(match *config.Match) []string {
	rest := m.fields(match)
	var rules []string
	for _, source := range m.endpoints("saddr", match.Sources) {
		for _, destination := range m.endpoints("daddr", match.Destinations) {
			if source.family != 0 && destination.family != 0 && source.family != destination.family {
				continue
			}
			for _, dscp := range codePoints(max(source.family, destination.family), match.DSCP) {
				rules = append(rules, words(rest, source.text, destination.text, dscp))
			}
		}
	}
	return rules
}

// codePoints matches them in the header of a family; 0: of each.
func codePoints(f config.Family, list []uint8) (all []string) {
	if len(list) == 0 {
		return []string{""}
	}
	for _, header := range families {
		if f == 0 || f == header {
			all = append(all, nftHeader(header)+" dscp "+anyOf(numbers(list)))
		}
	}
	return all
}

// endpoint is a match of an address; family 0: any.
type endpoint struct {
	family config.Family
	text   string
}

func (m *managed) endpoints(field string, list []config.Endpoint) []endpoint {
	if len(list) == 0 {
		return []endpoint{{}}
	}
	var all []endpoint
	for _, f := range families {
		var prefixes []netip.Prefix
		for _, e := range list {
			switch {
			case m.cfg.FamilyOfEndpoint(e) != f:
			case e.Set != "":
				all = append(all, endpoint{f, nftHeader(f) + " " + field + " @" + e.Set})
			default:
				prefixes = append(prefixes, e.Prefix)
			}
		}
		var elements []string
		for _, p := range config.Merge(prefixes) {
			elements = append(elements, nftPrefix(p))
		}
		if len(elements) > 0 {
			all = append(all, endpoint{f, nftHeader(f) + " " + field + " " + anyOf(elements)})
		}
	}
	return all
}

// fields writes what a match says beside the addresses.
func (m *managed) fields(match *config.Match) string {
	var inside []string
	for _, name := range match.Inside {
		inside = append(inside, fmt.Sprintf("%q", name))
	}
	text := []string{}
	if len(inside) > 0 {
		slices.Sort(inside)
		text = append(text, "iifname "+anyOf(slices.Compact(inside)))
	}
	if match.MarkMask != 0 {
		text = append(text, fmt.Sprintf("meta mark & %#x == %#x", match.MarkMask, match.Mark))
	}
	if len(match.Protocols) > 0 {
		text = append(text, "meta l4proto "+anyOf(numbers(match.Protocols)))
	}
	for _, p := range []struct {
		field string
		list  []config.Ports
	}{{"th sport", match.SourcePorts}, {"th dport", match.DestinationPorts}} {
		if len(p.list) > 0 {
			text = append(text, p.field+" "+portSet(p.list))
		}
	}
	return words(text...)
}

func portSet(list []config.Ports) string {
	var elements []string
	for _, p := range list {
		elements = append(elements, p.String())
	}
	return anyOf(elements)
}

func numbers(list []uint8) []string {
	var elements []string
	for _, n := range list {
		elements = append(elements, strconv.Itoa(int(n)))
	}
	return elements
}

// anyOf writes alternatives.
func anyOf(elements []string) string {
	if len(elements) == 1 {
		return elements[0]
	}
	return "{ " + strings.Join(elements, ", ") + " }"
}

// words joins what is not empty.
func words(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
}
