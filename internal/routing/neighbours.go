package routing

import (
	"fmt"

	"ftr/internal/config"
)

// neighbourShare is which part of the kernel's table of neighbours the lines may take without a warning: the
// hosts inside need the rest, and those of other network namespaces.
const neighbourShare = 4

// NeighbourTable is what the kernel says of its table of neighbours of a family (arp(7)), which all network
// namespaces of a machine share.
type NeighbourTable struct {
	Limit uint32 // of learned neighbours (gc_thresh3)
	Full  uint64 // how often there was no room for another, since the start of the machine; 0 before Linux 4.3
}

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
	words, sysctl := neighbourWords(f)
	if f == config.IPv6 {
		need *= 2
	}
	if uint64(neighbourShare*need) <= uint64(limit) {
		return nil
	}
	return []Warning{{Code: "few-neighbours", Subject: sysctl,
		Text: fmt.Sprintf("the kernel's %s table holds %d hosts, of which the lines may take %d: when it is full, packets are dropped and lines look dead", words, limit, need),
		Cure: fmt.Sprintf("set it to %d or more, with gc_thresh2 a bit below", max(4096, 8*need))}}
}

// NeighboursFull warns that there was no room in the kernel's table of neighbours of a family, which holds limit.
func NeighboursFull(f config.Family, limit uint32) Warning {
	words, sysctl := neighbourWords(f)
	return Warning{Code: "neighbours-full", Subject: sysctl,
		Text: fmt.Sprintf("the kernel's %s table is full: it holds %d hosts, those of all network namespaces together; packets to others are dropped, and healthy lines may look dead", words, limit),
		Cure: fmt.Sprintf("set it to %d or more, with gc_thresh2 a bit below, and see which hosts there are (ip neigh)", max(4096, 4*uint64(limit)))}
}

// neighbourWords are what people call the table of a family, and the sysctl that limits it.
func neighbourWords(f config.Family) (table, sysctl string) {
	if f == config.IPv6 {
		return "IPv6 neighbour", "net.ipv6.neigh.default.gc_thresh3"
	}
	return "ARP", "net.ipv4.neigh.default.gc_thresh3"
}
