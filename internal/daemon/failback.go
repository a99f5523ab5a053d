package daemon

import (
	"context"
	"slices"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// failback knows which lines may still hold connections from a time when no better line was well.
type failback struct {
	carried map[place]bool // were selected, and were not released since
	due     map[place]bool // to be released, once the routes lead elsewhere
}

// failover notes what a change of the selections means for the connections: where a group carries again
// whose failback is to move them, those of the less preferred lines are due.
func (l *loop) failover(next []routing.Selection) {
	for _, s := range next {
		previous := l.selection(s.Family)
		if previous == nil {
			previous = &routing.Selection{}
		}
		for _, m := range slices.Concat(previous.Members, previous.Own) {
			l.failback.carried[place{l.Config.Uplinks[m.Uplink].Interface, s.Family}] = true
		}
		if !s.Kept {
			l.improve(s.Family, previous.Members, s.Members, false)
		}
		l.improve(s.Family, previous.Own, s.Own, true)
	}
}

// improve notes what is due where other members carry than before; own: what the router itself sends, which
// has nothing in tunnels.
func (l *loop) improve(f config.Family, before, now []routing.Member, own bool) {
	if len(before) == 0 || len(now) == 0 {
		return
	}
	best := l.group(now)
	if best >= l.group(before) || l.Config.Failback(best) != config.FailbackMove {
		return
	}
	for _, u := range l.Config.Uplinks {
		line := place{u.Interface, f}
		if l.failback.carried[line] && u.Grouped && u.Group > best && (!own || u.Tunnel != config.TunnelYes) {
			l.failback.due[line] = true
		}
	}
}

// group is the most preferred group of members.
func (l *loop) group(members []routing.Member) int {
	best := l.Config.Uplinks[members[0].Uplink].Group
	for _, m := range members {
		best = min(best, l.Config.Uplinks[m.Uplink].Group)
	}
	return best
}

// moveBack releases the connections that are due. What is selected again by now keeps its own, and where
// there is nowhere to go nothing is released.
func (l *loop) moveBack(ctx context.Context) {
	if l.Flows == nil || !l.settled {
		return
	}
	for _, p := range l.paths {
		line := place{p.Interface, p.Family}
		if !l.failback.due[line] {
			continue
		}
		delete(l.failback.due, line)
		s := l.selection(p.Family)
		if s == nil || s.Kept || len(s.Members) == 0 || s.Carries(p.Uplink) || l.released[line] {
			continue
		}
		l.letGo(ctx, p.Family, l.Config.Uplinks[p.Uplink], "preferred lines carry again")
	}
}
