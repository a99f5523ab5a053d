package firewall

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"ftr/internal/config"
)

// Conflict is something in the rules of others that a managed firewall cannot live beside.
type Conflict struct {
	Chain string // example "chain ip nat PREROUTING"
	Text  string // what is wrong with it
	Cure  string
}

// Conflicts looks through a ruleset, as "nft -n list ruleset" shows it, for what is in the way of a managed
// firewall: rules that write or match bits of marks that are ours, and nat chains that are asked before ours
// and end the traversal. The first of each kind is told for each table. It reads what it knows, and is
// silent about all else.
func Conflicts(cfg *config.Config, ruleset string) []Conflict {
	r := reader{mine: cfg.Numbers.Mask | cfg.Numbers.SteerMask, told: map[string]bool{}}
	for line := range strings.Lines(ruleset) {
		r.read(strings.TrimSpace(line))
	}
	return r.found
}

// reader goes through a listing.
type reader struct {
	mine         uint32 // bits of marks
	table, chain string
	early        string // the place of a nat chain that is asked before ours
	found        []Conflict
	told         map[string]bool
}

var (
	tableLine = regexp.MustCompile(`^table (\S+) (\S+) \{$`)
	chainLine = regexp.MustCompile(`^chain (\S+) \{$`)
	natLine   = regexp.MustCompile(`^type nat hook (prerouting|postrouting) priority (-?\d+);`)
	natRule   = regexp.MustCompile(`\b(dnat|redirect|snat|masquerade|xt target "(?:DNAT|REDIRECT|SNAT|MASQUERADE)")`)
	markRule  = regexp.MustCompile(`\b(meta mark|ct mark) set (.*)$`)
	markMatch = regexp.MustCompile(`\b(?:meta mark|ct mark)(?: (?:&|and) (0x[0-9a-f]+))? (?:==|!=)? ?(0x[0-9a-f]+)\b`)
)

func (r *reader) read(line string) {
	switch {
	case tableLine.MatchString(line):
		m := tableLine.FindStringSubmatch(line)
		r.table, r.chain = m[1]+" "+m[2], ""
		if Owns(m[2]) {
			r.table = ""
		}
	case chainLine.MatchString(line):
		r.chain, r.early = "chain "+r.table+" "+chainLine.FindStringSubmatch(line)[1], ""
	case line == "}":
		r.chain = ""
	case r.table == "" || r.chain == "":
	case natLine.MatchString(line):
		r.place(natLine.FindStringSubmatch(line))
	default:
		r.rule(line)
	}
}

// place notes a nat chain that is asked before ours.
func (r *reader) place(m []string) {
	ours := map[string]int{"prerouting": beginPriority, "postrouting": leavePriority}[m[1]]
	if priority, err := strconv.Atoi(m[2]); err == nil && priority < ours {
		r.early = fmt.Sprintf("%s at priority %d, before %d", m[1], priority, ours)
	}
}

func (r *reader) rule(line string) {
	if r.early != "" && natRule.MatchString(line) {
		r.tell("early", fmt.Sprintf("translates in %s: such connections get no mark of a line (%s)", r.early, line), "give that chain a higher priority")
	}
	if m := markRule.FindStringSubmatch(line); m != nil {
		r.writes(written(m[1], m[2]), line)
		line = strings.TrimSuffix(line, m[0])
	}
	if m := markMatch.FindStringSubmatch(line); m != nil {
		mask := uint32(1<<32 - 1)
		if m[1] != "" {
			mask = number(m[1])
		}
		r.matches(mask, line)
	}
}

// writes notes that a rule writes bits of a mark, if some are ours.
func (r *reader) writes(bits uint32, rule string) {
	if bits &= r.mine; bits != 0 {
		r.tell("write", fmt.Sprintf("writes mark bits %#x that are ours (%s)", bits, rule),
			"remove the rule if it is one of generate_iptables or generate_nftables; otherwise let it keep these bits, or set base_fwmark, fwmark_mask and steer_mask to bits that nobody uses")
	}
}

// matches notes that a rule looks at bits of a mark, if some are ours.
func (r *reader) matches(bits uint32, rule string) {
	if bits &= r.mine; bits != 0 {
		r.tell("match", fmt.Sprintf("matches mark bits %#x that are ours (%s)", bits, rule), "let it match its own bits alone (mark & MASK == VALUE)")
	}
}

// tell notes a conflict of a chain, the first of each kind in a table.
func (r *reader) tell(kind, text, cure string) {
	if key := kind + " " + r.table; !r.told[key] {
		r.told[key] = true
		r.found = append(r.found, Conflict{r.chain, text, cure})
	}
}

var (
	keepsBits   = regexp.MustCompile(`^(meta mark|ct mark|mark)((?: (?:&|and|\||or|\^|xor) 0x[0-9a-f]+)+)(?: |$)`)
	changesBits = regexp.MustCompile(`(&|and|\||or|\^|xor) (0x[0-9a-f]+)`)
)

// written returns the bits of a mark that an expression can change: all of them, unless it is that mark
// itself with some bits taken out or put in.
func written(which, expression string) uint32 {
	m := keepsBits.FindStringSubmatch(expression)
	// What iptables-nft made is listed as "meta mark set mark ...".
	if m == nil || m[1] != which && (m[1] != "mark" || which != "meta mark") {
		return 1<<32 - 1
	}
	var bits uint32
	for _, change := range changesBits.FindAllStringSubmatch(m[2], -1) {
		value := number(change[2])
		if change[1] == "&" || change[1] == "and" {
			value = ^value
		}
		bits |= value
	}
	return bits
}

func number(hex string) uint32 {
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "0x"), 16, 32)
	if err != nil {
		return 1<<32 - 1
	}
	return uint32(n)
}
