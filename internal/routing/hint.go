package routing

import "net/netip"

// Hint is what a kernel tells without being asked: something may have changed, look again. The zero
// value says no more than that.
type Hint struct {
	// Neighbour does not answer any more (its entry is NUD_FAILED, ip-neighbour(8)); invalid: not about
	// a neighbour. Interface is the index of the link that it was asked on.
	Neighbour netip.Addr
	Interface int
	// Ruleset: an nft table of this program was changed or removed.
	Ruleset bool
}
