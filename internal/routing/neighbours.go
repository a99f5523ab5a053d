package routing

import (
	"fmt"

	"ftr/internal/config"
)

// neighbourShare is which part of the kernel's table of neighbours the lines may take without a warning: the
// hosts inside need the rest, and those of other network namespaces.
const neighbourShare = 4

// NeighbourRoom warns where the kernel's table of neighbours of a family has little room for the lines of a
// configuration; limit is how many it holds. Over IPv6 a line takes two places, that of its gateway and that of
// the multicast address by which the gateway is found (RFC 4861 §7.2.2).
func NeighbourRoom(cfg *config.Config, f config.Family, limit uint32) []Warning {
	need := 0
	for _, u := range cfg.Uplinks {
		if u.Has(f) {
			need++
		}
	}
	words, sysctl := "ARP", "net.ipv4.neigh.default.gc_thresh3"
	if f == config.IPv6 {
		need, words, sysctl = 2*need, "IPv6 neighbour", "net.ipv6.neigh.default.gc_thresh3"
	}
	if uint64(neighbourShare*need) <= uint64(limit) {
		return nil
	}
	return []Warning{{Code: "few-neighbours", Subject: sysctl,
		Text: fmt.Sprintf("the kernel's %s table holds %d hosts, of which the lines may take %d: when it is full, packets are dropped and lines look dead", words, limit, need),
		Cure: fmt.Sprintf("set it to %d or more, with gc_thresh2 a bit below", max(4096, 8*need))}}
}
