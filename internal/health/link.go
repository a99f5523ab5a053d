package health

import "time"

// SetLink tells what the kernel says of the link. Not usable is Down at once, for that reason
// ("no carrier", "no address"), and nothing is asked; what was in flight is forgotten. Usable again
// asks all targets at once; until the quorum answers, a path that was down stays down. Repeating
// what is known changes nothing.
func (m *Monitor) SetLink(now time.Time, usable bool, reason string) {
	switch {
	case !usable:
		m.usable, m.problem = false, reason
		if m.admin == "" {
			m.halt(now, reason, true)
		}
	case !m.usable:
		m.usable = true
		if m.admin == "" {
			m.resume(now, "link is back, no answer yet")
		}
	}
}

// SetAdmin takes the path out of service or puts it back, as a person says. Out of service it is Down
// and not asked. Put back, it is up with the first good round: whoever does it has looked, so there
// is no hold-down, and it was no flap.
func (m *Monitor) SetAdmin(now time.Time, down bool, by string) {
	switch {
	case down && m.admin == "":
		m.admin = by
		if by == "" {
			m.admin = "the administrator"
		}
		m.halt(now, "taken out of service by "+m.admin, false)
	case !down && m.admin != "":
		m.admin = ""
		m.recovery = recovery{free: true}
		if !m.usable {
			m.verdict.judge(now, Down, m.problem, true)
			return
		}
		m.resume(now, "back in service, no answer yet")
	}
}

// Restore adopts the judgement that was known before a restart, right after New. As soon as the link
// is usable all targets are asked; until they have decided, the verdict stands.
func (m *Monitor) Restore(now time.Time, r Report) {
	if r.State == Unknown || r.Admin {
		return
	}
	m.verdict = verdict{state: r.State, since: r.Since, reason: r.Reason, restored: true}
	m.flaps = flaps{count: r.Flaps, first: r.FirstFlap, mark: now, flapping: r.Flapping}
	m.recovery = recovery{wasUp: true}
	if r.Degraded != "" && !m.dropsBad() {
		// A few good answers say little about a line that was bad over a whole window.
		m.quality = quality{bad: true, reason: r.Degraded, until: now.Add(m.params.Quality.Window)}
	}
	if r.State == Down && !r.HeldUntil.IsZero() {
		m.recovery.first = r.HeldUntil.Add(-m.hold())
		m.recovery.until = r.HeldUntil
	}
}

// halt ends all asking with a verdict of Down.
func (m *Monitor) halt(now time.Time, reason string, flap bool) {
	m.flight = nil
	m.reset()
	m.aside = time.Time{}
	m.voters.dark = true
	m.partly = false
	m.fall(now, reason, true, flap)
}

// resume asks again.
func (m *Monitor) resume(now time.Time, reason string) {
	if m.verdict.state == Down && !m.verdict.restored {
		m.verdict.judge(now, Down, reason, true)
	}
	m.suspect(now, now)
}

// Alive tells that replies arrive to what was sent through the line. The next calm probe can wait, up
// to twice the Interval from the last; and where a round waits for answers, it waits longer: traffic
// that fills a queue delays probes beyond what is known of the line, but it does not stop.
func (m *Monitor) Alive(now time.Time) {
	m.alive = now
	switch {
	case !m.active():
	case m.asking():
		m.round.wait(earlier(now.Add(aliveGrace), m.round.began.Add(mostGrace)))
	case m.check.reason != "": // these may be the replies that were missing, or others
	case m.verdict.state == Up && m.wary == 0 && !m.quality.bad && !m.calm.IsZero():
		m.calm = later(m.calm, earlier(now.Add(m.params.Interval), m.asked.Add(2*m.params.Interval)))
	}
}

const (
	// aliveGrace is how much longer a round waits after replies to other traffic came.
	aliveGrace = 200 * time.Millisecond
	// mostGrace bounds that: replies that come while no target answers prove little in the long run. A
	// full line loses most of what it is asked, and delays the rest, for as long as its queue is full.
	mostGrace = 10 * time.Second
)
