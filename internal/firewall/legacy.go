package firewall

import (
	"regexp"
	"strconv"
	"strings"

	"ftr/internal/config"
)

// LegacyConflicts is Conflicts for the rules of iptables-legacy, which nf_tables knows nothing of, as
// iptables-save(8) prints them. Their nat chains have fixed places, which are behind ours (NF_IP_PRI_NAT_DST and
// NF_IP_PRI_NAT_SRC are -100 and 100), so that only marks can be in the way.
func LegacyConflicts(cfg *config.Config, saved map[config.Family]string) []Conflict {
	var found []Conflict
	for _, f := range families {
		name := map[config.Family]string{config.IPv4: "iptables-legacy", config.IPv6: "ip6tables-legacy"}[f]
		r := reader{mine: cfg.Numbers.Mask | cfg.Numbers.SteerMask, told: map[string]bool{}}
		for line := range strings.Lines(saved[f]) {
			r.legacy(name, strings.TrimSpace(line))
		}
		found = append(found, r.found...)
	}
	return found
}

var (
	// Targets that write marks: MARK and CONNMARK as they are printed, CONNMARK between both marks, TPROXY, HMARK
	// (iptables-extensions(8)). The bits that change are those of both numbers.
	legacyWrite = regexp.MustCompile(`(?:--set-xmark|--tproxy-mark) (0x[0-9a-f]+)/(0x[0-9a-f]+)|--(?:save|restore)-mark --nfmask (0x[0-9a-f]+) --ctmask (0x[0-9a-f]+)|-j HMARK`)
	legacyMatch = regexp.MustCompile(`-m (?:mark|connmark) (?:! )?--mark 0x[0-9a-f]+(?:/(0x[0-9a-f]+))?`)
)

// legacy reads a line of iptables-save.
func (r *reader) legacy(program, line string) {
	if table, ok := strings.CutPrefix(line, "*"); ok {
		r.table = program + " " + table
		return
	}
	rule, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return
	}
	name, _, _ := strings.Cut(rule, " ")
	r.chain = "chain " + r.table + " " + name
	if m := legacyWrite.FindStringSubmatch(rule); m != nil {
		r.writes(legacyBits(m), line)
	}
	for _, m := range legacyMatch.FindAllStringSubmatch(rule, -1) {
		r.matches(legacyBits(m), line)
	}
}

// legacyBits joins the numbers of an expression; where there is none, all bits are meant.
func legacyBits(expression []string) (bits uint32) {
	numbers := strings.Join(expression[1:], "")
	if numbers == "" {
		return 1<<32 - 1
	}
	for _, n := range strings.Split(numbers, "0x")[1:] {
		bits |= number(n)
	}
	return bits
}

// OldestNft is the oldest version of nft(8) that the rules are tested with.
const OldestNft = "1.0.6"

// Outdated tells whether a version of nft(8) is older than OldestNft.
func Outdated(version string) bool {
	have, oldest := strings.Split(version, "."), strings.Split(OldestNft, ".")
	for i := range oldest {
		if i == len(have) {
			return true
		}
		a, errA := strconv.Atoi(have[i])
		b, errB := strconv.Atoi(oldest[i])
		if errA != nil || errB != nil || a != b {
			return a < b
		}
	}
	return false
}
