package sim

import (
	"ftr/internal/config"
	"ftr/internal/routing"
)

// NeighbourTable implements daemon.Kernel; without SizeNeighbours the limit is the kernel's own.
func (k *Kernel) NeighbourTable(f config.Family) (routing.NeighbourTable, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.neighbours[f], nil
}

// SizeNeighbours sets how many hosts the table of neighbours of a family holds.
func (k *Kernel) SizeNeighbours(f config.Family, limit uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.neighbours[f] = routing.NeighbourTable{Limit: limit, Full: k.neighbours[f].Full}
}

// OverflowNeighbours plays a packet that is dropped since the table of neighbours has no room.
func (k *Kernel) OverflowNeighbours(f config.Family) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.neighbours[f]
	t.Full++
	k.neighbours[f] = t
}
