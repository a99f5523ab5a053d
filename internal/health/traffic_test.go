package health_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ftr/internal/health"
)

// line simulates the traffic of one line and the counters that see it.
type line struct {
	rnd     *rand.Rand
	now     time.Time
	rtt     time.Duration
	loss    float64       // of packets, in each direction
	every   time.Duration // how often the daemon reads the counters
	cut     bool          // the way out is dead
	cutBack bool          // so is the way back
	events  events
	packets health.Packets
	traffic *health.Traffic

	alive    int
	suspects []time.Time
	reasons  []string
}

// event is something that happens on the line.
type event struct {
	at time.Time
	do func()
}

type events []event

func (q events) Len() int           { return len(q) }
func (q events) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q events) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)        { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newLine(seed uint64, rtt time.Duration) *line {
	l := &line{rnd: rand.New(rand.NewPCG(seed, 7)), now: start, rtt: rtt, every: 10 * ms, traffic: health.NewTraffic()}
	l.after(0, l.sample)
	return l
}

func (l *line) after(d time.Duration, do func()) { heap.Push(&l.events, event{l.now.Add(d), do}) }

// run lets the clock go on for d.
func (l *line) run(d time.Duration) {
	end := l.now.Add(d)
	for len(l.events) > 0 && !l.events[0].at.After(end) {
		e := heap.Pop(&l.events).(event)
		l.now = e.at
		e.do()
	}
	l.now = end
}

// sample reads the counters, as the daemon does while the path counts as up.
func (l *line) sample() {
	verdict, _, reason := l.traffic.Sample(l.now, l.rtt, l.packets)
	switch verdict {
	case health.Alive:
		l.alive++
	case health.Quiet:
	case health.Suspect:
		l.suspects, l.reasons = append(l.suspects, l.now), append(l.reasons, reason)
		l.after(2*l.rtt+20*ms, func() { l.traffic.Settled(l.now, !l.cut && !l.cutBack) })
	}
	l.after(l.every, l.sample)
}

// exp draws the time to the next of events that come at random.
func (l *line) exp(mean time.Duration) time.Duration {
	return time.Duration(l.rnd.ExpFloat64() * float64(mean))
}

// send sends a packet; arrived is called at the other side, if it gets there.
func (l *line) send(handshake bool, arrived func()) {
	l.packets.Sent++
	if handshake {
		l.packets.Opened++
	}
	if !l.cut && l.rnd.Float64() >= l.loss && arrived != nil {
		l.after(l.rtt/2, arrived)
	}
}

// reply sends one from the other side.
func (l *line) reply(handshake bool, arrived func()) {
	if l.cutBack || l.rnd.Float64() < l.loss {
		return
	}
	l.after(l.rtt/2, func() {
		l.packets.Replied++
		if handshake {
			l.packets.Accepted++
		}
		if arrived != nil {
			arrived()
		}
	})
}

// connect is a short TCP connection: handshake, request, answer after the server has thought.
func (l *line) connect(attempt int, think func() time.Duration) {
	done := false
	l.send(true, func() {
		l.reply(true, func() {
			done = true
			l.request(0, think)
		})
	})
	l.after(time.Second<<attempt, func() {
		if !done && attempt < 5 {
			l.connect(attempt+1, think)
		}
	})
}

func (l *line) request(attempt int, think func() time.Duration) {
	done := false
	l.send(false, nil) // the acknowledgement of the handshake
	l.send(false, func() {
		l.after(think(), func() { l.reply(false, func() { done = true; l.send(false, nil) }) })
	})
	l.after((l.rtt+200*ms)<<attempt, func() {
		if !done && attempt < 6 {
			l.request(attempt+1, think)
		}
	})
}

// connections begin at random, so many a second.
func (l *line) connections(perSecond float64, think func() time.Duration) {
	gap := time.Duration(float64(time.Second) / perSecond)
	var next func()
	next = func() { l.connect(0, think); l.after(l.exp(gap), next) }
	l.after(l.exp(gap), next)
}

// each sends a packet that nobody answers, regularly with some jitter.
func (l *line) each(d time.Duration) {
	var next func()
	next = func() { l.send(false, nil); l.after(d/2+l.exp(d/2), next) }
	l.after(l.exp(d), next)
}

// stream is replies that come whether or not anything is sent, with a packet out now and then.
func (l *line) stream(d time.Duration) {
	var next func()
	next = func() {
		l.reply(false, nil)
		if l.rnd.IntN(10) == 0 {
			l.send(false, nil)
		}
		l.after(d, next)
	}
	next()
}

func atOnce() time.Duration { return 0 }

// server is how long real servers think: mostly not, sometimes long.
func (l *line) server() time.Duration {
	if l.rnd.IntN(5) == 0 {
		return l.exp(300 * ms)
	}
	return l.exp(5 * ms)
}

// quantiles returns the median and the worst.
func quantiles(d []time.Duration) (median, worst time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)-1]
}

// both cuts both ways.
func both(l *line) { l.cut, l.cutBack = true, true }

// A cut of a line in use is noticed within the times that the failover has to keep.
func TestTrafficNoticesACut(t *testing.T) {
	const near = 300 * time.Microsecond
	for _, tt := range []struct {
		name          string
		rtt           time.Duration
		perSecond     float64
		median, worst time.Duration
		prepare       func(l *line)
		cut           func(l *line)
	}{
		{"near", near, 17, 80 * ms, 300 * ms, func(*line) {}, both},
		{"near, read more rarely", near, 17, 120 * ms, 400 * ms, func(l *line) { l.every = 50 * ms }, both},
		{"near, way back", near, 17, 80 * ms, 300 * ms, func(*line) {}, func(l *line) { l.cutBack = true }},
		{"near, way out under a stream", near, 17, 90 * ms, 600 * ms, func(l *line) { l.stream(20 * ms) }, func(l *line) { l.cut = true }},
		{"near, with syslog", near, 17, 120 * ms, 600 * ms, func(l *line) { l.each(100 * ms) }, both},
		{"near, little traffic", near, 2, 1500 * ms, 4000 * ms, func(*line) {}, both},
		{"50 ms", 50 * ms, 17, 200 * ms, 600 * ms, func(*line) {}, both},
		{"50 ms, 1 % loss", 50 * ms, 17, 250 * ms, 900 * ms, func(l *line) { l.loss = 0.01 }, both},
		{"600 ms", 600 * ms, 17, 1800 * ms, 2200 * ms, func(*line) {}, both},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var took []time.Duration
			for seed := range uint64(30) {
				l := newLine(seed, tt.rtt)
				tt.prepare(l)
				l.connections(tt.perSecond, atOnce)
				l.run(30 * time.Second)
				l.suspects = nil
				cut := l.now
				tt.cut(l)
				l.run(10 * time.Second)
				if len(l.suspects) == 0 {
					t.Fatalf("seed %d: a cut was not noticed in 10 s", seed)
				}
				took = append(took, l.suspects[0].Sub(cut))
			}
			median, worst := quantiles(took)
			t.Logf("median %v, worst %v", median.Round(ms), worst.Round(ms))
			if median > tt.median || worst > tt.worst {
				t.Errorf("noticed after %v (median), %v (worst), want %v and %v", median, worst, tt.median, tt.worst)
			}
		})
	}
}

// Normal traffic raises few doubts, of which each costs one echo.
func TestTrafficDoubtsRarely(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rtt     time.Duration
		loss    float64
		traffic func(l *line)
		most    int // suspicions in 20 minutes
	}{
		{"well", 20 * ms, 0, func(l *line) { l.connections(17, l.server) }, 15},
		{"few connections", 20 * ms, 0, func(l *line) { l.connections(0.5, l.server) }, 15},
		{"1 % loss", 20 * ms, 0.01, func(l *line) { l.connections(17, l.server) }, 25},
		{"10 % loss", 20 * ms, 0.1, func(l *line) { l.connections(17, l.server) }, 100},
		{"10 % loss, near", ms / 2, 0.1, func(l *line) { l.connections(17, l.server) }, 100},
		{"10 % loss, few", 20 * ms, 0.1, func(l *line) { l.connections(1, l.server) }, 60},
		{"only syslog", 20 * ms, 0, func(l *line) { l.each(100 * ms) }, 12},
		{"only syslog, now and then", 20 * ms, 0, func(l *line) { l.each(10 * time.Second) }, 12},
		{"syslog and connections", 20 * ms, 0, func(l *line) { l.each(100 * ms); l.connections(3, l.server) }, 120},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLine(1, tt.rtt)
			l.loss = tt.loss
			tt.traffic(l)
			l.run(5 * time.Minute)
			learned := len(l.suspects)
			l.run(15 * time.Minute)
			t.Logf("%d suspicions in 20 minutes, %d of them in the first 5 minutes", len(l.suspects), learned)
			if len(l.suspects) > tt.most {
				t.Errorf("%d suspicions in 20 minutes, want at most %d", len(l.suspects), tt.most)
			}
		})
	}
}

// A second cut is noticed as fast as the first: an outage teaches nothing.
func TestTrafficLearnsNothingFromAnOutage(t *testing.T) {
	l := newLine(3, ms)
	l.connections(17, atOnce)
	for round := range 5 {
		l.run(time.Minute)
		l.suspects = nil
		cut := l.now
		both(l)
		l.run(600 * ms)
		if len(l.suspects) == 0 {
			t.Fatalf("round %d: a cut was not noticed in 600 ms", round)
		}
		t.Logf("round %d: %v", round, l.suspects[0].Sub(cut))
		l.cut, l.cutBack = false, false
	}
}

// The table of what single readings tell. Each begins after a reading of zeros; the round-trip time is
// 10 ms.
func TestTrafficReadings(t *testing.T) {
	type reading struct {
		at      time.Duration
		packets health.Packets
		want    string
	}
	// taught is a line on which everything is answered.
	taught := func(more ...reading) (all []reading) {
		for i := range uint64(300) {
			n := 1 + i
			all = append(all, reading{time.Duration(i) * 25 * ms, health.Packets{Sent: 2 * n, Replied: 2 * n, Opened: n, Accepted: n}, "alive"})
		}
		last := all[299]
		for _, m := range more {
			m.at += last.at
			m.packets.Sent += last.packets.Sent
			m.packets.Replied += last.packets.Replied
			m.packets.Opened += last.packets.Opened
			m.packets.Accepted += last.packets.Accepted
			all = append(all, m)
		}
		return all
	}
	for name, readings := range map[string][]reading{
		"nothing":              {{25 * ms, health.Packets{}, "quiet"}, {500 * ms, health.Packets{}, "quiet"}},
		"handshake":            {{25 * ms, health.Packets{Sent: 1, Opened: 1}, "quiet"}, {50 * ms, health.Packets{Sent: 1, Opened: 1, Replied: 1, Accepted: 1}, "alive"}, {75 * ms, health.Packets{Sent: 1, Opened: 1, Replied: 1, Accepted: 1}, "quiet"}},
		"stream unproven":      {{25 * ms, health.Packets{Replied: 10}, "quiet"}, {50 * ms, health.Packets{Replied: 20}, "quiet"}},
		"stranger, silent":     {{25 * ms, health.Packets{Sent: 1}, "quiet"}, {50 * ms, health.Packets{Sent: 2}, "quiet"}, {100 * ms, health.Packets{Sent: 3}, "suspect: 3 packets sent, no reply for 75 ms"}, {200 * ms, health.Packets{Sent: 3}, "quiet"}},
		"stranger, one packet": {{25 * ms, health.Packets{Sent: 1}, "quiet"}, {900 * ms, health.Packets{Sent: 1}, "quiet"}},
		"known, silent":        taught(reading{25 * ms, health.Packets{Sent: 1}, "quiet"}, reading{50 * ms, health.Packets{Sent: 1}, "suspect: 1 packet sent, no reply for 25 ms"}, reading{75 * ms, health.Packets{Sent: 1}, "quiet"}),
		"known, only handshakes silent": taught(
			reading{25 * ms, health.Packets{Sent: 1, Opened: 1, Replied: 5}, "alive"},
			reading{50 * ms, health.Packets{Sent: 1, Opened: 1, Replied: 10}, "suspect: 1 attempt to connect, no reply for 25 ms"}),
		"counters begin anew":       taught(reading{25 * ms, health.Packets{Sent: 1}, "quiet"}, reading{50 * ms, health.Packets{Sent: ^uint64(0) - 500}, "quiet"}, reading{100 * ms, health.Packets{Sent: ^uint64(0) - 500}, "quiet"}),
		"pause":                     taught(reading{25 * ms, health.Packets{Sent: 1}, "quiet"}, reading{2 * time.Second, health.Packets{Sent: 1}, "quiet"}, reading{2050 * ms, health.Packets{Sent: 1}, "quiet"}),
		"late reading with replies": taught(reading{25 * ms, health.Packets{Sent: 1}, "quiet"}, reading{900 * ms, health.Packets{Sent: 9, Replied: 1}, "alive"}),
	} {
		t.Run(name, func(t *testing.T) {
			judge := health.NewTraffic()
			judge.Sample(start, 10*ms, health.Packets{})
			for i, r := range readings {
				evidence, _, reason := judge.Sample(start.Add(25*ms+r.at), 10*ms, r.packets)
				got := evidence.String()
				if reason != "" {
					got += ": " + reason
				}
				if got != r.want {
					t.Fatalf("reading %d at %v: %s, want %s", i, r.at, got, r.want)
				}
			}
		})
	}
}

// A stream whose way out is dead looks alive for a while only, and for as long as probes prove the line.
func TestTrafficLifeNeedsProof(t *testing.T) {
	l := newLine(1, ms)
	l.connect(0, atOnce)
	l.stream(20 * ms)
	l.run(8 * time.Second)
	if l.alive < 148 {
		t.Errorf("alive %d times in 8 s of a stream on a line that was proven once", l.alive)
	}
	l.run(4 * time.Second)
	l.alive = 0
	l.run(time.Minute)
	if l.alive != 0 {
		t.Errorf("alive %d times without proof", l.alive)
	}
	l.traffic.Proven(l.now)
	l.run(20 * time.Second)
	if l.alive < 148 || l.alive > 152 {
		t.Errorf("alive %d times after a proof, want 3 s of it", l.alive)
	}
}

// Whatever is read in whatever order, a suspicion comes only after something was sent and with a
// reason, and only once until it is settled or seconds have passed.
func TestTrafficProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		judge, now, p := health.NewTraffic(), start, health.Packets{}
		var suspected time.Time
		unanswered := false
		for range rapid.IntRange(1, 300).Draw(t, "readings") {
			now = now.Add(time.Duration(rapid.IntRange(1, 1200).Draw(t, "pause")) * ms)
			sent, replied := rapid.Uint64Range(0, 3).Draw(t, "sent"), rapid.Uint64Range(0, 1).Draw(t, "replied")
			opened, accepted := min(sent, rapid.Uint64Range(0, 1).Draw(t, "opened")), min(replied, rapid.Uint64Range(0, 1).Draw(t, "accepted"))
			unanswered = unanswered && accepted == 0 || sent > 0
			p = health.Packets{Sent: p.Sent + sent, Replied: p.Replied + replied, Opened: p.Opened + opened, Accepted: p.Accepted + accepted}
			rtt := time.Duration(rapid.IntRange(0, 1000).Draw(t, "rtt")) * ms
			evidence, _, reason := judge.Sample(now, rtt, p)
			switch {
			case evidence == health.Alive && replied == 0:
				t.Fatal("alive without a reply")
			case (evidence == health.Suspect) != (reason != ""):
				t.Fatalf("%v with the reason %q", evidence, reason)
			case evidence == health.Suspect && !unanswered:
				t.Fatal("suspicion with nothing unanswered")
			}
			if evidence == health.Suspect {
				suspected = now
			}
			if !suspected.IsZero() && rapid.Bool().Draw(t, "settle") {
				judge.Settled(now, rapid.Bool().Draw(t, "well"))
				suspected = time.Time{}
			}
		}
	})
}
