package health

import "time"

const (
	// probation is how long after its first good round a path is looked at closely.
	probation         = 2 * time.Second
	probationInterval = 100 * time.Millisecond
	// answeredGain, lostGain and enoughGain are a sequential test (Wald) of the answers on the way up: that
	// the line loses 10 % of the round trips, against 50 %. Twenty answers without a loss are enough, and a
	// line that does lose half of them passes once in 100,000 times.
	answeredGain = 0.588  // ln (0.9 / 0.5)
	lostGain     = -1.609 // ln (0.1 / 0.5)
	enoughGain   = 11.513 // ln 100000
)

// recovery is how far a path that is down has come on its way up.
type recovery struct {
	good   int       // good rounds in a row
	first  time.Time // when the first of them was decided; zero: there was none
	began  time.Time // when it was, since it is looked at closely
	until  time.Time // it is not up before
	waited bool      // that time has come, and something else is lacking
	rise   int       // good rounds that are needed
	wasUp  bool      // it was up once: its coming back is damped
	gain   float64   // of the sequential test, from 0
	free   bool      // a person put it back into service: its coming back is not damped
}

// interval is the time from one calm probe to the next on the way up. Where quality alone is lacking, it
// is short at first, so that its return is noticed soon.
func (r recovery) interval(now time.Time) time.Duration {
	switch {
	case now.Sub(r.began) < probation:
		return probationInterval
	case r.waited:
		return min(max(waryInterval, now.Sub(r.until)/60), patientInterval)
	}
	return downInterval
}

// waits tells whether nothing but time is lacking.
func (r recovery) waits(s State) bool {
	return s == Down && r.good > 0 && r.good >= r.rise && !r.until.IsZero()
}

// count takes an answer, or a loss, into the sequential test.
func (r *recovery) count(lost bool) {
	r.gain += answeredGain
	if lost {
		r.gain += lostGain - answeredGain
	}
	r.gain = max(r.gain, 0)
}

// restart forgets what was good.
func (r *recovery) restart() { *r = recovery{wasUp: r.wasUp, free: r.free} }

// damped tells whether the way up takes more than one good round.
func (r recovery) damped() bool { return r.wasUp && !r.free }

// Held is for how long a path has been well that nothing but time keeps from being up; 0 if it is not so.
func (m *Monitor) Held(now time.Time) time.Duration {
	if c := m.recovery; c.waits(m.verdict.state) && now.Before(c.until) {
		return now.Sub(c.first)
	}
	return 0
}

// Relieve ends the time for which a path that is well again is held back. Its flaps are not forgotten.
func (m *Monitor) Relieve(now time.Time) {
	if m.Held(now) > 0 {
		m.recovery.until = now
		m.settle(now)
	}
}

// hold is how long the path must be well before it is up again.
func (m *Monitor) hold() time.Duration {
	d := m.params.Damping
	hold := d.HoldDown
	for range m.flaps.count - 1 {
		if hold *= 2; hold >= d.MaxHoldDown {
			break
		}
	}
	return min(hold, max(d.HoldDown, d.MaxHoldDown))
}

// goodRound takes a round whose quorum answered.
func (m *Monitor) goodRound(now time.Time, r *round) {
	r.over, r.good = true, true
	m.bad, m.partly = 0, false
	switch {
	case m.verdict.state == Down && m.recovery.damped():
		m.improve(now)
	case m.verdict.state != Up:
		m.rise(now, r.life(now, m.verdict, m.params.Required))
	}
	m.schedule(now)
	m.settle(now)
}

// improve counts a good round on the way up.
func (m *Monitor) improve(now time.Time) {
	c := &m.recovery
	if c.good == 0 {
		c.began = now
	}
	c.good++
	c.rise = max(m.params.Damping.Rise, 1)
	if c.first.IsZero() {
		m.flaps.fade(now, m.params.Damping.FlapMemory)
		c.first = now
		c.until = now.Add(m.hold())
		if !m.quality.bad {
			m.verdict.say(heldBack(m.hold(), m.flaps.count))
		}
	}
}

// badRound takes a round whose quorum can not be reached. Where somebody answered, the line is not
// dead and it takes two: meanwhile it can be found out whether the targets are.
func (m *Monitor) badRound(now time.Time, r *round) {
	r.over = true
	m.bad++
	m.partly = r.count(answered) > 0
	m.voters.dark = m.voters.dark || !m.partly
	need := max(m.params.Damping.Fall, 1)
	if m.partly {
		need = max(need, 2)
		m.voters.blame(r, m.params.Retries)
	}
	if !m.recovery.first.IsZero() {
		m.flaps.mark = now // while it tries in vain, nothing is forgotten
	}
	m.recovery.restart()
	if m.verdict.state != Down && m.bad < need {
		m.begin, m.evidence, m.cause = later(now, r.began.Add(roundGap)), r.since, r.cause
		if m.partly {
			m.begin = now.Add(roundGap)
		}
		return
	}
	if m.verdict.state != Down {
		m.sentence = r
	}
	m.fall(now, r.silence(now), false, true)
	m.schedule(now)
	m.evidence = r.since
}

// schedule says when is asked next, after a round has decided.
func (m *Monitor) schedule(now time.Time) {
	r := m.round
	m.reset()
	m.round, m.asked = r, now
	switch {
	case m.verdict.state != Down:
		m.calm = now.Add(time.Duration(float64(m.calmInterval(now)) * (1 - m.phase/2)))
	case m.recovery.first.IsZero() || m.recovery.good == 0:
		m.begin = later(now, r.began.Add(m.downInterval(now)))
	case m.recovery.good < m.recovery.rise:
		m.begin = later(now, r.began.Add(roundGap))
	default:
		m.calm = now.Add(m.calmInterval(now))
	}
}

// downInterval is the time from one round to the next while the path is down: it grows where even calm
// probes are to be few.
func (m *Monitor) downInterval(now time.Time) time.Duration {
	long := now.Sub(m.verdict.since) / 60
	return max(roundGap, min(max(downInterval, long), m.params.Interval, patientInterval))
}

// settle lets time and quality speak: they can bring a path down, and keep it from coming up.
func (m *Monitor) settle(now time.Time) {
	waits := m.recovery.waits(m.verdict.state) && !now.Before(m.recovery.until)
	if m.verdict.state == Down && !waits {
		return
	}
	m.measure(now)
	q := m.params.Quality
	if m.verdict.state == Up && m.quality.bad && m.dropsBad() {
		m.fall(now, m.quality.reason, false, true)
		if !m.asking() {
			m.suspect(now, now)
		}
		return
	}
	if !waits {
		return
	}
	m.recovery.waited = true
	if m.asking() || !m.begin.IsZero() {
		return
	}
	if m.dropsBad() && (m.quality.bad || m.quality.measured.lossy(q.Loss) || q.Loss.Leave > 0 && m.recovery.gain < enoughGain) {
		return
	}
	m.rise(now, m.round.life(now, m.verdict, m.params.Required))
	m.calm = now.Add(m.calmInterval(now))
}

// rise brings the path up.
func (m *Monitor) rise(now time.Time, reason string) {
	m.verdict.judge(now, Up, reason, false)
	m.recovery = recovery{wasUp: true}
	m.sentence = nil
}

// fall brings the path down, or confirms that it is.
func (m *Monitor) fall(now time.Time, reason string, interim, flap bool) {
	if m.verdict.state == Up && flap {
		m.flaps.add(now, m.params.Damping.FlapMemory)
	}
	if interim {
		m.sentence = nil
	}
	if m.verdict.state != Down {
		m.waking.begin(now)
	}
	m.recovery.wasUp = m.recovery.wasUp || m.verdict.state == Up
	m.recovery.restart()
	m.bad = 0
	m.verdict.judge(now, Down, reason, interim)
}

// takeBack is for a verdict of down that turns out to be wrong: the line was slow, or the fault was the
// targets'. It was no flap, and there is nothing to hold back.
func (m *Monitor) takeBack(now time.Time, reason string) {
	m.flaps.takeBack()
	m.round.good, m.partly, m.bad = true, false, 0
	m.rise(now, reason)
	m.schedule(now)
}

// reconsider takes back a verdict that the quorum would not make with the votes as they are now.
func (m *Monitor) reconsider(now time.Time) {
	r := m.round
	if m.sentence == nil || m.verdict.state != Down || !m.partly || !r.over {
		return
	}
	if required := min(m.params.Required, r.voters()); required > 0 && r.count(answered) >= required {
		m.takeBack(now, r.life(now, verdict{}, required)+", the others are silent through all lines")
	}
}

// flaps count how often a path went down. One is forgotten for each time of calm.
type flaps struct {
	count    int
	first    time.Time // when the first was that is not forgotten
	mark     time.Time // when the last was, or the last was forgotten
	flapping bool
}

// Where the story of a flapping line begins and ends.
const (
	flapsBegin = 3
	flapsEnd   = 1
)

func (f *flaps) add(now time.Time, memory time.Duration) {
	f.fade(now, memory)
	if f.count == 0 {
		f.first = now
	}
	f.count, f.mark = f.count+1, now
	f.flapping = f.flapping || f.count >= flapsBegin
}

// fade forgets what is long ago.
func (f *flaps) fade(now time.Time, memory time.Duration) {
	if memory <= 0 {
		return
	}
	forgotten := min(int(now.Sub(f.mark)/memory), f.count)
	f.count -= forgotten
	f.mark = f.mark.Add(time.Duration(forgotten) * memory)
	f.flapping = f.flapping && f.count > flapsEnd
	if f.count == 0 {
		f.first = time.Time{}
	}
}

// takeBack forgets the latest one.
func (f *flaps) takeBack() {
	f.count = max(f.count-1, 0)
	if f.count == 0 {
		f.first = time.Time{}
	}
	f.flapping = f.flapping && f.count >= flapsBegin
}
