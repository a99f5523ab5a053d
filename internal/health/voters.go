package health

import (
	"slices"
	"time"

	"ftr/internal/config"
)

const (
	// missesInARow is how many probes a target leaves unanswered, while others are answered, before it is
	// taken for silent without a whole round having said so.
	missesInARow = 5
	// answersInARow is how many it has to answer then, to be heard again.
	answersInARow = 2
	// asideInterval is the shortest time from one probe to a silent target to the next.
	asideInterval = 5 * time.Second
)

// voters know of each target whether it answers on this path, and whether it has a vote.
type voters struct {
	list []voter
	dark bool // nobody answers: what the targets do then says nothing of them
}

type voter struct {
	target  config.Target
	lost    bool // it has lost its vote
	silent  bool // it does not answer here
	heardAt time.Time
	missing time.Time // when the first of the probes was sent that it left unanswered in a row
	misses  int       // how many
	answers int       // how many it answered in a row since it was silent
}

func newVoters(targets []config.Target) voters {
	v := voters{list: make([]voter, len(targets))}
	for i, t := range targets {
		v.list[i].target = t
	}
	return v
}

// keep takes over what is known of the targets that are listed.
func (v voters) keep(targets []config.Target) voters {
	next := newVoters(targets)
	next.dark = v.dark
	for i := range next.list {
		if old := v.index(next.list[i].target); old >= 0 {
			next.list[i] = v.list[old]
		}
	}
	return next
}

// index returns the place of a target, or -1.
func (v voters) index(t config.Target) int {
	return slices.IndexFunc(v.list, func(o voter) bool { return o.target == t })
}

func (v voters) of(t config.Target) *voter { return &v.list[v.index(t)] }

// heard notes an answer, and tells whether it is the first after nobody answered.
func (v *voters) heard(e echo) (revived bool) {
	if v.dark {
		revived, v.dark = true, false
		for i := range v.list {
			v.list[i].misses = 0
		}
	}
	one := v.of(e.target)
	one.misses, one.answers = 0, one.answers+1
	if e.sent.After(one.heardAt) {
		one.heardAt = e.sent
	}
	one.silent = one.silent && one.answers < answersInARow
	return revived
}

// missed notes a missing answer, and tells whether nothing else was to be expected. Silent is only who
// does not answer while others do.
func (v *voters) missed(e echo) (known bool) {
	i := v.index(e.target)
	one := &v.list[i]
	known = one.silent
	if one.misses == 0 {
		one.missing = e.sent
	}
	one.misses, one.answers = one.misses+1, 0
	one.silent = one.silent || one.misses >= missesInARow && v.othersSince(i, one.missing)
	return known
}

// blame notes the members that all attempts of a round found silent, while others answered.
func (v *voters) blame(r *round, retries int) {
	for _, member := range r.members {
		i := v.index(member.target)
		one := &v.list[i]
		if member.answer != silent || member.attempts < retries || !v.othersSince(i, member.first) {
			continue
		}
		if one.misses == 0 {
			one.missing = member.first
		}
		one.silent, one.misses, one.answers = true, max(one.misses, 1), 0
	}
}

// lost tells whether the i-th target has lost its vote.
func (v voters) lost(i int) bool { return v.list[i].lost }

// among returns those of the targets that have a vote.
func (v voters) among(targets []config.Target) []config.Target {
	return slices.DeleteFunc(targets, func(t config.Target) bool { return v.of(t).lost })
}

// calm tells whether a target is worth a calm probe: it has a vote and answers, or nobody does.
func (v voters) calm(t config.Target) bool {
	one := v.of(t)
	return !one.lost && (!one.silent || !slices.ContainsFunc(v.list, func(o voter) bool { return !o.lost && !o.silent }))
}

// aside returns whether there are targets that get no calm probes.
func (v voters) aside() bool {
	return slices.ContainsFunc(v.list, func(o voter) bool { return !v.calm(o.target) })
}

// askAside asks, now and then, one of the targets that are neither asked calmly nor have a vote, so that
// it is noticed when they answer again. Their silence is no news.
func (m *Monitor) askAside(now time.Time) []Request {
	if !m.voters.aside() {
		m.aside = time.Time{}
		return nil
	}
	if m.aside.IsZero() {
		m.aside = now.Add(m.asideInterval())
	}
	if !due(m.aside, now) {
		return nil
	}
	m.aside = now.Add(m.asideInterval())
	for range 2 * len(m.params.Targets) {
		if t := m.rotation.takeAside(); !m.voters.calm(t) {
			return []Request{m.send(now, t, nil, true)}
		}
	}
	return nil
}

// asideInterval is short where nobody has a vote: nothing else is asked then.
func (m *Monitor) asideInterval() time.Duration {
	if !slices.ContainsFunc(m.voters.list, func(o voter) bool { return !o.lost }) {
		return downInterval
	}
	return max(m.params.Interval, asideInterval)
}

// SetVoters tells which targets have lost their votes, as Silent found out; all others have theirs.
// The quorum becomes the smaller of Required and the number of voters; without voters the last
// verdict stays. A verdict that the new quorum would not have made is taken back.
func (m *Monitor) SetVoters(now time.Time, lost []config.Target) {
	changed := false
	for i := range m.voters.list {
		one := &m.voters.list[i]
		without := slices.Contains(lost, one.target)
		changed = changed || without != one.lost
		one.lost = without
	}
	if !changed || !m.active() {
		return
	}
	if m.round == nil {
		m.suspect(now, now)
		return
	}
	m.round.vote(func(t config.Target) bool { return !m.voters.of(t).lost })
	m.reconsider(now)
	m.decide(now)
	m.settle(now)
	if m.calm.IsZero() && m.begin.IsZero() && !m.asking() {
		m.suspect(now, now)
	}
}

// Silent returns the targets that answer through none of the paths although the paths work: on each
// path that has the target and on which another target answered a probe that was sent after this one
// fell silent, this one is silent; and there is at least one such path. A path on which nobody
// answers, or that is not asked, says nothing. The daemon gives the result to SetVoters of all
// monitors and names the targets.
func Silent(monitors []*Monitor) []config.Target {
	silent, answers := map[config.Target]bool{}, map[config.Target]bool{}
	var order []config.Target
	for _, m := range monitors {
		if !m.active() || m.voters.dark {
			continue
		}
		for i, one := range m.voters.list {
			switch {
			case !one.silent && (!one.heardAt.IsZero() || m.voters.othersSince(i, time.Time{})):
				answers[one.target] = true
			case one.silent && m.voters.othersSince(i, one.missing):
				if !silent[one.target] {
					order = append(order, one.target)
				}
				silent[one.target] = true
			}
		}
	}
	return slices.DeleteFunc(order, func(t config.Target) bool { return answers[t] })
}

// othersSince tells whether another target answered a probe that was sent at that time or later.
func (v voters) othersSince(self int, since time.Time) bool {
	for i := range v.list {
		if i != self && !v.list[i].heardAt.IsZero() && !v.list[i].heardAt.Before(since) {
			return true
		}
	}
	return false
}
