package firewall

import "net/netip"

// Marking says which marks tracked connections of a family are to have: those of the lines that they belong to.
type Marking struct {
	Mask uint32 // the bits of marks that count, and are written
	// Lines are the marks by the addresses of lines: a connection belongs to the line to whose address its replies
	// come, or with whose address somebody outside began it.
	Lines map[netip.Addr]uint32
	// Networks are the marks by what providers route to lines, for connections that have a mark already: hosts
	// with such addresses talk with one another, too, which is no line's business.
	Networks map[netip.Prefix]uint32
	// Moved says what became of marks: a connection whose addresses tell nothing gets the mark that its line has
	// now, or is forgotten where that is 0, since its line is gone.
	Moved map[uint32]uint32
	// Again: connections keep no mark that their addresses contradict, though nothing has moved.
	Again bool
}

// Remarked is what came of a Marking.
type Remarked struct {
	Marked    int // connections that have another mark now
	Forgotten int // connections of lines that are gone
}

// Fate is what is to become of the mark of a connection.
type Fate uint8

// The fates of connections.
const (
	Stay   Fate = iota // as it is
	Marked             // it gets another mark
	Gone               // it is forgotten: its line is gone, and its next packet begins it anew
)

// Judge returns what is to become of a connection with a mark, whose first packet was sent to reached, and whose
// replies are sent to answered; known tells whether the addresses are those of a line.
func (m *Marking) Judge(mark uint32, reached, answered netip.Addr) (fate Fate, next uint32, known bool) {
	own := mark & m.Mask
	next, known = m.Lines[answered]
	if !known {
		next, known = m.Lines[reached]
	}
	switch {
	case own == 0 && known:
		return Marked, next, true
	case own == 0, !m.Again && len(m.Moved) == 0:
		return Stay, own, known
	}
	if !known {
		next, known = m.network(answered, reached)
	}
	switch now, moved := m.Moved[own]; {
	case known && next != own:
		return Marked, next, true
	case known, !moved:
		return Stay, own, known
	case now == 0:
		return Gone, 0, false
	default:
		return Marked, now, false
	}
}

// network returns the mark of the line to which the smallest network with one of the addresses belongs.
func (m *Marking) network(addresses ...netip.Addr) (mark uint32, ok bool) {
	for _, a := range addresses {
		bits := -1
		for p, of := range m.Networks {
			if p.Contains(a) && p.Bits() > bits {
				bits, mark, ok = p.Bits(), of, true
			}
		}
		if ok {
			return mark, true
		}
	}
	return 0, false
}
