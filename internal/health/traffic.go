package health

import "time"

// Packets are counters of one path's traffic: connections that began on this side, without ICMP. They
// only grow, except that all begin anew when their table is made anew.
type Packets struct {
	Sent     uint64 // what left through the uplink
	Replied  uint64 // what came back through it, of the same connections
	Opened   uint64 // part of Sent: TCP connections' attempts (SYN)
	Accepted uint64 // part of Replied: answers to such attempts (SYN ACK, RST)
}

// since returns the growth from an earlier reading; ok is false if the counters began anew.
func (p Packets) since(q Packets) (d Packets, ok bool) {
	if p.Sent < q.Sent || p.Replied < q.Replied || p.Opened < q.Opened || p.Accepted < q.Accepted {
		return d, false
	}
	return Packets{p.Sent - q.Sent, p.Replied - q.Replied, p.Opened - q.Opened, p.Accepted - q.Accepted}, true
}

// Evidence is what traffic tells of a path at one moment.
type Evidence uint8

// The kinds of evidence.
const (
	// Quiet: nothing to learn.
	Quiet Evidence = iota
	// Alive: replies came just now to what was sent through the line.
	Alive
	// Suspect: packets are sent and no replies come. Reason enough to ask one target, none to judge.
	Suspect
)

// String returns "quiet", "alive" or "suspect".
func (e Evidence) String() string { return [...]string{"quiet", "alive", "suspect"}[e] }

const (
	// credit is how long replies of connections that exist already are life, from the latest proof that
	// something sent was received: where only the way out is broken, the other side's retransmissions
	// and streams go on coming for minutes. A line that is only full answers a probe within that time.
	credit = 3 * time.Second
	// maxPause is the longest time from one sample to the next that still says when things happened.
	maxPause = time.Second
	// patience is how long a suspicion waits for Settled.
	patience = 3 * time.Second
)

// Traffic judges the traffic of one path, from counters that are read every few tens of milliseconds.
//
// It follows two pairs of counters alike (type exchange): TCP handshakes, whose answers prove that both
// ways work, and all packets. The first is not blinded by streams that go on coming on a line whose way
// out is dead, nor confused by those who send UDP and never get a reply; the second also watches lines
// without new connections.
//
// Traffic is not safe for concurrent use. The time given to its methods never goes back.
type Traffic struct {
	last       Packets
	at         time.Time // of the latest sample; zero: none
	handshakes exchange
	all        exchange
	proof      time.Time // when something that was sent was surely received
	suspected  time.Time // when the suspicion that is not settled was raised; zero: none
	suspicious *exchange // that raised it
}

// NewTraffic returns a judge that knows nothing yet of what is normal on the line.
func NewTraffic() *Traffic {
	return &Traffic{
		handshakes: newExchange("attempt to connect", "attempts to connect"),
		all:        newExchange("packet sent", "packets sent"),
	}
}

// Sample takes the counters as they are now and the path's smoothed round-trip time (0: unknown), and
// says what they tell; for Suspect since when, and with a reason in words ("3 packets sent, no reply for
// 80 ms"). To be called only while the path counts as up: what is missed on a dead line is not normal. The first call,
// and one after a pause of more than a second, tells nothing.
//
// Suspect comes once; then the daemon has a target asked (Monitor.Check) and reports by Settled.
func (t *Traffic) Sample(now time.Time, rtt time.Duration, p Packets) (evidence Evidence, since time.Time, reason string) {
	d, ok := p.since(t.last)
	ok = ok && !t.at.IsZero() && now.Sub(t.at) <= maxPause
	t.last, t.at = p, now
	if !ok {
		t.forget()
		return Quiet, time.Time{}, ""
	}
	t.handshakes.feed(now, rtt, d.Opened, d.Accepted)
	t.all.feed(now, rtt, d.Sent, d.Replied)
	if !t.suspected.IsZero() && (len(t.suspicious.pending) == 0 || now.Sub(t.suspected) > patience) {
		t.Settled(now, true) // replies came after all, or nobody asked
	}
	if e := t.doubt(now, rtt); e != nil {
		return Suspect, e.pending[0].at, e.silence(now)
	}
	if d.Accepted > 0 {
		t.Proven(now)
	}
	if d.Replied > 0 && !t.proof.IsZero() && now.Sub(t.proof) <= credit {
		return Alive, time.Time{}, ""
	}
	return Quiet, time.Time{}, ""
}

// doubt raises a suspicion if there is reason for one, and returns where; nil: there is none, or there is
// one already.
func (t *Traffic) doubt(now time.Time, rtt time.Duration) *exchange {
	if !t.suspected.IsZero() {
		return nil
	}
	for _, e := range []*exchange{&t.handshakes, &t.all} {
		if e.suspect(now, rtt) {
			t.suspected, t.suspicious = now, e
			return e
		}
	}
	return nil
}

// Proven tells that something sent through the line was surely received and answered, such as a probe.
func (t *Traffic) Proven(now time.Time) { t.proof = now }

// Settled tells what came of a suspicion: the targets answered and the line is well, which makes the
// next one need more, or it is not, and then nothing is learned from the silence. Without a suspicion
// it has no effect.
func (t *Traffic) Settled(now time.Time, well bool) {
	if t.suspected.IsZero() {
		return
	}
	t.suspected = time.Time{}
	if well {
		t.suspicious.pardon(now)
	} else {
		t.forget()
	}
}

// forget drops what waits for replies. What is known of the line's habits stays.
func (t *Traffic) forget() {
	t.suspected = time.Time{}
	t.handshakes.clear()
	t.all.clear()
}
