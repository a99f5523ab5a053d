package firewall

import (
	"fmt"
	"strings"

	"ftr/internal/config"
)

// OwnTable is the name of the nft table that Nftables writes: not ManagedTable, which belongs to the
// program alone.
const OwnTable = "fault_tolerant_router"

// Nftables returns rules for "nft -f", commented, for administrators who keep their firewall themselves:
// the table of a managed firewall without its dealing, since the kernel spreads new connections by its
// routes. Loading the text again replaces the table and nothing else. The text depends on cfg alone.
func Nftables(cfg *config.Config) string {
	var b strings.Builder
	b.WriteString("#!/usr/sbin/nft -f\n# Fault Tolerant Router: firewall rules, format of nft(8)\n")
	for line := range strings.SplitSeq(strings.TrimSpace(fmt.Sprintf(usage, OwnTable)), "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	b.WriteString("\n")
	b.WriteString(Managed(cfg, nil).Text(OwnTable))
	return b.String()
}

const usage = `
They do what the program relies on, in one table of their own (%s, family inet), and leave filtering to you:

restore, restore_own  packets get the mark of their connection back before they are routed; what belongs to no
                      connection and would leave with an inside address is dropped
arrive                packets to the router itself lose it again: what they carry, in a tunnel, has its own
begin, from...        a connection that comes in on a line belongs to it, so that its answers leave there
leave, leave...       one that goes out belongs to the line that the routes chose, and gets its address
clamp                 TCP announces segments that fit the path, on lines that want it

Try the file, which changes nothing, and load it; loading it again replaces the table in one step:

  nft --check -f FILE
  nft -f FILE

To load it at each start, include it in /etc/nftables.conf behind "flush ruleset". With "firewall: managed"
in the configuration none of this is needed: monitor then keeps such a table itself. Use either this or the
rules of generate_iptables, not both. To force a kind of connection to a line, give its first packets the
line's mark in a chain before priority -105; for servers inside, translate destinations (type nat, hook
prerouting, priority dstnat).`
