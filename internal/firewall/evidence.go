package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
)

// EvidenceTable is the name of the private nft tables that count traffic, one in family ip and one in
// ip6. They judge nothing, and live beside any firewall, iptables-legacy too.
const EvidenceTable = "ftr_evidence"

// Errors about the evidence tables, for errors.Is.
var (
	// ErrNoEvidence: the tables are not there, or not whole any more; they have to be set again.
	ErrNoEvidence = errors.New("the tables that count traffic are missing or were changed")
	// ErrUnavailable: this host cannot do it, and trying again later is useless.
	ErrUnavailable = errors.New("not possible on this host")
)

// Owns tells whether an nft table is one of this program's, by its name.
func Owns(table string) bool { return table == "ftr" || strings.HasPrefix(table, "ftr_") }

// Tally is what one counter counts, in the evidence tables or in that of a managed firewall. Every packet is in at
// most one tally.
//
// Only connections that began on this side count: their packets out, and what comes back to exactly
// these. ARP, router advertisements, scans and connections from outside are in no tally. Neither is
// ICMP: the answers to our own echoes are judged by themselves, and an unreachable from the
// provider's router is no reply of the one who was asked. (A managed firewall counts what clients send of the
// latter, which is rare, to spare each packet the question.)
type Tally uint8

// The tallies.
const (
	Opening   Tally = iota // sent: TCP SYN to which no reply was seen yet (ct state new)
	Sending                // sent: all else
	Accepting              // received: TCP reply before the handshake is complete (ct status assured)
	Replying               // received: all other replies
)

var tallies = [...]string{"opening", "sending", "accepting", "replying"}

// String returns the word that begins the counter's name.
func (t Tally) String() string { return tallies[t] }

// Count is a counter: what it counts, and of what.
type Count struct {
	Family    config.Family
	Tally     Tally
	Interface string
}

// name names the counter in nft, whose identifiers know all characters of an interface name (config checks
// them) but "="; a slash is in no interface name.
func (c Count) name() string {
	return c.Tally.String() + "-" + nftFamily(c.Family) + "-" + strings.ReplaceAll(c.Interface, "=", "/")
}

// ParseCount reads the name of a counter.
func ParseCount(name string) (c Count, ok bool) {
	word, rest, _ := strings.Cut(name, "-")
	family, iface, _ := strings.Cut(rest, "-")
	t := slices.Index(tallies[:], word)
	f := slices.IndexFunc(families[:], func(f config.Family) bool { return nftFamily(f) == family })
	if t < 0 || f < 0 || iface == "" {
		return Count{}, false
	}
	return Count{families[f], Tally(t), strings.ReplaceAll(iface, "/", "=")}, true
}

// Evidence returns the text for "nft -f -" that makes or replaces the evidence tables of the families,
// in one transaction. They are for a manual firewall: a managed one counts in its own table (Counts). Counters begin at zero. The cost per packet does not grow with the number of
// interfaces. An interface need not exist.
//
// The maps from interface to counter are anonymous, so that they live and die with their rule: a
// counter without a user tells that somebody has flushed the rules.
func Evidence(families []config.Family, interfaces []string) string {
	var b strings.Builder
	b.WriteString("# Fault Tolerant Router: counts what is sent through each uplink and what is replied to it.\n")
	for _, f := range families {
		b.WriteString(EvidenceRemoval(f))
		fmt.Fprintf(&b, "table %s %s {\n", nftFamily(f), EvidenceTable)
		for t := range tallies {
			for _, name := range interfaces {
				fmt.Fprintf(&b, "\tcounter %s { }\n", Count{f, Tally(t), name}.name())
			}
		}
		if len(interfaces) > 0 {
			evidenceChains(&b, f, interfaces)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// Uses is how many rules of an evidence table count a tally: what is received is counted where it goes through to somebody
// inside, or comes to the router itself.
func (t Tally) Uses() int {
	if t == Accepting || t == Replying {
		return 2
	}
	return 1
}

// evidenceChains writes the rules. Each packet passes one chain, last of all (source NAT is at 100) where it
// goes through or out, so that only packets are seen that nothing has dropped, and first of all where it
// comes to the router. Both the interface that a packet came in on and that it leaves by are known there
// (for postrouting since Linux 5.7).
func evidenceChains(b *strings.Builder, f config.Family, interfaces []string) {
	icmp := map[config.Family]string{config.IPv4: "icmp", config.IPv6: "icmpv6"}[f]
	// The last rule of a chain ends it.
	rule := func(match, key string, t Tally, end string) {
		fmt.Fprintf(b, "\t\t%s counter name %s map {", match, key)
		for i, name := range interfaces {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, ` "%s" : "%s"`, name, Count{f, t, name}.name())
		}
		b.WriteString(" }" + end + "\n")
	}
	received := func(match string) {
		rule(match+"meta l4proto tcp ct status & assured == 0", "iifname", Accepting, " return")
		rule(match+"meta l4proto != "+icmp, "iifname", Replying, "")
	}
	b.WriteString("\tchain sent {\n")
	rule("ct state new tcp flags & (syn | ack) == syn", "oifname", Opening, " return")
	rule("meta l4proto != "+icmp, "oifname", Sending, "")
	b.WriteString("\t}\n\tchain leaving {\n\t\ttype filter hook postrouting priority 300; policy accept;\n\t\tct direction original goto sent\n")
	received("ct direction reply ")
	b.WriteString("\t}\n\tchain arriving {\n\t\ttype filter hook input priority -190; policy accept;\n")
	received("ct direction reply ")
	b.WriteString("\t}\n")
}

// EvidenceRemoval returns the text for "nft -f -" that removes the evidence table of a family, whether
// or not there is one. nft before 1.0.7 has no "destroy".
func EvidenceRemoval(f config.Family) string {
	name := nftFamily(f) + " " + EvidenceTable
	return "table " + name + "\ndelete table " + name + "\n"
}

// nftFamily is the address family's name in nft(8).
func nftFamily(f config.Family) string {
	if f == config.IPv6 {
		return "ip6"
	}
	return "ip"
}
