package health_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
)

// start is when every simulation begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var errNetwork = errors.New("network is unreachable")

// network models a line and the hosts behind it.
type network struct {
	rnd     *rand.Rand
	rtt     func(target config.Target, sent time.Time) time.Duration
	lossOut float64 // chance that an echo is lost on its way
	lossIn  float64 // the same of the answer
	cut     func(at time.Time) bool
	dead    []config.Target
	refused func(at time.Time) bool // the kernel refuses to send
}

// answer returns when and what the prober reports of an echo.
func (n *network) answer(req health.Request, sent time.Time) reply {
	if n.refused != nil && n.refused(sent) {
		return reply{at: sent, id: req.ID, target: req.Target, err: errNetwork}
	}
	rtt := n.rtt(req.Target, sent)
	back := sent.Add(rtt)
	cut := n.cut != nil && (n.cut(sent) || n.cut(back))
	lost := n.rnd.Float64() < n.lossOut || n.rnd.Float64() < n.lossIn
	if cut || lost || rtt > req.Timeout || slices.Contains(n.dead, req.Target) {
		return reply{at: sent.Add(req.Timeout), id: req.ID, target: req.Target, err: context.DeadlineExceeded}
	}
	return reply{at: back, id: req.ID, target: req.Target, rtt: rtt}
}

// reply is what the prober will report.
type reply struct {
	at     time.Time
	id     uint64
	target config.Target
	rtt    time.Duration
	err    error
}

// replies is a heap by time, then by id, so that runs are repeatable.
type replies []reply

func (q replies) Len() int { return len(q) }
func (q replies) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].id < q[j].id
}
func (q replies) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *replies) Push(x any)   { *q = append(*q, x.(reply)) }
func (q *replies) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// change is a verdict as it came.
type change struct {
	At     time.Duration // since start
	State  health.State
	Reason string
}

// world runs one monitor against one network under a virtual clock.
type world struct {
	t       tester
	now     time.Time
	monitor *health.Monitor
	network *network
	queue   replies
	changes []change
	polls   int
	probes  int
	rounds  int // polls that sent more than one probe
	sent    []health.Request
	doubts  int
	latest  latest
}

// tester is what testing.T and rapid.T have in common and is needed here.
type tester interface{ Fatalf(string, ...any) }

func newWorld(t tester, p health.Params, n *network, seed uint64) *world {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n.rnd = rand.New(rand.NewPCG(seed, 2))
	w := &world{t: t, now: start, monitor: health.New(p, rnd, start), network: n}
	w.monitor.SetLink(start, true, "")
	return w
}

// run lets the clock go on for d.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		next := w.next()
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.step()
	}
}

// next is when something happens; zero: never.
func (w *world) next() time.Time {
	next := w.monitor.Wake()
	if len(w.queue) > 0 && (next.IsZero() || w.queue[0].at.Before(next)) {
		next = w.queue[0].at
	}
	return next
}

// step delivers what has arrived, polls if that is due, and holds the monitor to its promises.
func (w *world) step() {
	for len(w.queue) > 0 && !w.queue[0].at.After(w.now) {
		r := heap.Pop(&w.queue).(reply)
		w.monitor.Answer(w.now, r.id, r.rtt, r.err)
		w.heard(r)
		w.note()
	}
	wake := w.monitor.Wake()
	if wake.IsZero() || wake.After(w.now) {
		return
	}
	w.polls++
	before := w.monitor.Report(w.now)
	requests := w.monitor.Poll(w.now)
	w.note()
	if wake := w.monitor.Wake(); !wake.IsZero() && !wake.After(w.now) {
		w.t.Fatalf("at %v: after Poll, Wake is %v: a busy loop", w.now.Sub(start), wake.Sub(start))
	}
	if len(requests) > 1 {
		w.rounds++
	}
	for _, req := range requests {
		w.probes++
		w.prove(req, before)
		w.sent = append(w.sent, req)
		heap.Push(&w.queue, w.network.answer(req, w.now))
	}
}

// pause lets the clock go on for d while nothing here runs: no answer is read, no probe is sent.
func (w *world) pause(d time.Duration) {
	w.now = w.now.Add(d)
	w.step()
}

// note records a changed verdict and checks that the report invents nothing.
func (w *world) note() {
	r := w.monitor.Report(w.now)
	if r.Reason == "" || r.Since.After(w.now) || r.Loss < 0 || r.Loss > 1 {
		w.t.Fatalf("at %v: impossible report %+v", w.now.Sub(start), r)
	}
	if r.Doubt {
		w.doubts++
	}
	last := health.Unknown
	if len(w.changes) > 0 {
		last = w.changes[len(w.changes)-1].State
	}
	if r.State != last {
		w.changes = append(w.changes, change{w.now.Sub(start), r.State, r.Reason})
	}
}

// count returns how many changes led to that state.
func (w *world) count(s health.State) (n int) {
	for _, c := range w.changes {
		if c.State == s {
			n++
		}
	}
	return n
}

// targets returns n addresses.
func targets(n int) (list []config.Target) {
	for i := range n {
		list = append(list, config.Echo(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})))
	}
	return list
}

// defaults are the parameters of a new configuration.
func defaults() health.Params {
	return health.Params{
		Targets: targets(6), Required: 4, Retries: 3, Interval: time.Second, Timeout: 2 * time.Second, MinTimeout: 20 * ms,
		Damping: config.Damping{Rise: 2, Fall: 1, HoldDown: time.Second, MaxHoldDown: 5 * time.Minute, FlapMemory: 10 * time.Minute},
		Quality: config.Quality{Window: 10 * time.Second, Loss: config.Limit[int]{Leave: 50, Return: 20}, WeightPercent: 25},
	}
}

// constant is the same round-trip time for all.
func constant(rtt time.Duration) func(config.Target, time.Time) time.Duration {
	return func(config.Target, time.Time) time.Duration { return rtt }
}

// after is a cut that begins at d and never ends.
func after(d time.Duration) func(time.Time) bool {
	return func(at time.Time) bool { return !at.Before(start.Add(d)) }
}

// between is a cut from a to b.
func between(a, b time.Duration) func(time.Time) bool {
	return func(at time.Time) bool { return !at.Before(start.Add(a)) && at.Before(start.Add(b)) }
}

func (c change) String() string { return fmt.Sprintf("%v %v: %s", c.At, c.State, c.Reason) }
