package health

import (
	"fmt"
	"math"
	"time"
)

const (
	// shortestWait is what even the fastest line gets, for the noise of machines. Who is known to wait
	// longer before he replies gets more.
	shortestWait = 20 * time.Millisecond
	// longestWait bounds what slow answers can teach.
	longestWait = 2 * time.Second
	// strangeWait is for a line of which neither a round-trip time nor a reply is known.
	strangeWait = 250 * time.Millisecond
	// maxPending bounds the memory. A line that leaves so many samples in a row unanswered, and is
	// known for it, gives no evidence.
	maxPending = 256
	// chance is how probable a silence may be on a line that is well and still raise a suspicion.
	chance = 0.05
	// The share of samples without a timely reply: as presumed at first, and the limits of what is
	// believed of any line.
	firstMisses, leastMisses, mostMisses = 0.1, 0.005, 0.999
	// missWeight is that of the latest sample in that share.
	missWeight = 1.0 / 16
	// grudgeHalf is the time in which one of two false suspicions is forgotten.
	grudgeHalf = 15 * time.Minute
	// mostGrudge bounds how timid false suspicions can make.
	mostGrudge = 30
)

// exchange follows one pair of counters, of packets sent and of replies. Each reading that shows
// something sent is a question; any reply answers all questions that are pending. It learns how long
// replies take here, as TCP's retransmission timer does (RFC 6298), and which share of questions gets
// none in that time although the line is well. A suspicion is a row of unanswered questions that would
// be improbable on this line: one is enough where everything is answered, and where nothing ever is,
// as with syslog over UDP, the row soon becomes endless.
type exchange struct {
	what     [2]string // what is sent, in words: one, several
	pending  []question
	misses   float64       // share of questions without a timely reply while the line was well
	gap, dev time.Duration // smoothed time to the next reply, and its mean deviation
	heard    bool          // gap and dev are meaningful
	grudge   float64       // false suspicions, fading
	faded    time.Time     // when grudge was computed
}

// question is a reading that showed something sent and no reply.
type question struct {
	at      time.Time
	packets uint64
}

func newExchange(one, several string) exchange {
	return exchange{what: [2]string{one, several}, misses: firstMisses}
}

// feed takes the growth of the counters.
func (e *exchange) feed(now time.Time, rtt time.Duration, sent, replied uint64) {
	if replied == 0 {
		e.ask(now, sent)
		return
	}
	wait := e.wait(rtt)
	for _, q := range e.pending {
		e.learn(now.Sub(q.at) > wait)
	}
	switch {
	case len(e.pending) > 0:
		e.time(now.Sub(e.pending[0].at))
	case sent > 0:
		e.time(0)
		e.learn(false)
	}
	e.clear()
}

// ask notes a question.
func (e *exchange) ask(now time.Time, sent uint64) {
	switch {
	case sent == 0:
	case len(e.pending) < maxPending:
		e.pending = append(e.pending, question{now, sent})
	default:
		e.pending[maxPending-1].packets += sent
	}
}

// learn counts whether a question was answered in time.
func (e *exchange) learn(missed bool) {
	x := 0.0
	if missed {
		x = 1
	}
	e.misses += (x - e.misses) * missWeight
	e.misses = min(max(e.misses, leastMisses), mostMisses)
}

// time learns how long a reply took.
func (e *exchange) time(gap time.Duration) {
	gap = min(gap, longestWait)
	if !e.heard {
		e.heard, e.gap, e.dev = true, gap, gap/2
		return
	}
	e.dev += ((gap - e.gap).Abs() - e.dev) / 4
	e.gap += (gap - e.gap) / 8
}

// wait is how long a reply may take.
func (e *exchange) wait(rtt time.Duration) time.Duration {
	wait := 4 * rtt
	switch {
	case e.heard:
		wait = max(2*rtt, e.gap+4*e.dev)
	case rtt == 0:
		wait = strangeWait
	}
	return min(max(wait, shortestWait), longestWait)
}

// suspect tells whether the silence is improbable on a line that is well: as many questions in a row as
// need says, over as many times half the wait, since one pause of the others is behind many of them.
func (e *exchange) suspect(now time.Time, rtt time.Duration) bool {
	if len(e.pending) == 0 {
		return false
	}
	wait, need := e.wait(rtt), e.need(now)
	if len(e.pending) < need || now.Sub(e.pending[0].at) < wait*time.Duration(need+1)/2 {
		return false
	}
	overdue := 0
	for _, q := range e.pending {
		if now.Sub(q.at) < wait {
			break
		}
		overdue++
	}
	return overdue >= need
}

// need is the length of the row that is improbable enough.
func (e *exchange) need(now time.Time) int {
	limit := chance * math.Exp2(-e.fade(now))
	return int(math.Ceil(math.Log(limit) / math.Log(e.misses)))
}

// fade lets false suspicions be forgotten, and returns what is left.
func (e *exchange) fade(now time.Time) float64 {
	if !e.faded.IsZero() {
		e.grudge *= math.Exp2(-float64(now.Sub(e.faded)) / float64(grudgeHalf))
	}
	e.faded = now
	return e.grudge
}

// pardon tells that the line was well when a suspicion was raised: its silence is normal here. What was
// answered meanwhile is learned already.
func (e *exchange) pardon(now time.Time) {
	for range e.pending {
		e.learn(true)
	}
	e.grudge = min(e.fade(now)+1, mostGrudge)
	e.clear()
}

// silence tells what waits for a reply, and how long.
func (e *exchange) silence(now time.Time) string {
	var n uint64
	for _, q := range e.pending {
		n += q.packets
	}
	return fmt.Sprintf("%d %s, no reply for %d ms", n, e.what[min(n, 2)-1], now.Sub(e.pending[0].at).Milliseconds())
}

func (e *exchange) clear() { e.pending = e.pending[:0] }
