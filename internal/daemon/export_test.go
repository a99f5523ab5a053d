package daemon

import "context"

// Sizes are how many things the loop remembers, by what they are.
func (d *Daemon) Sizes(ctx context.Context) (sizes map[string]int, err error) {
	err = d.command(ctx, command{do: func(l *loop) {
		sizes = map[string]int{
			"paths": len(l.paths), "monitors": len(l.monitors), "traffics": len(l.traffics),
			"selections": len(l.selections), "warned": len(l.warned), "released": len(l.released), "dark": len(l.dark),
			"known": len(l.known), "voteless": len(l.voteless), "waiting": len(l.waiting), "modes": len(l.modes),
			"agreed": len(l.repairs.agreed), "removed": len(l.repairs.removed),
			"history": len(l.repairs.history), "slowed": len(l.repairs.slowed),
		}
	}})
	return sizes, err
}
