package health_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
)

const ms = time.Millisecond

// What the administrator reads, told as whole stories.
func TestVerdictsOverTime(t *testing.T) {
	with := func(change func(*health.Params)) health.Params {
		p := defaults()
		change(&p)
		return p
	}
	tests := map[string]struct {
		params  health.Params
		network network
		run     time.Duration
		want    []change
	}{
		"well": {defaults(), network{rtt: constant(20 * ms)}, time.Hour,
			[]change{{20 * ms, health.Up, "the required 4 of 6 targets answer"}}},
		"dead from the start": {defaults(), network{rtt: constant(ms), cut: after(0)}, time.Minute,
			[]change{{3333333332, health.Down, "6 of 6 targets silent for 3.3 s"}}},
		"cut, and back after 12 s": {defaults(), network{rtt: constant(ms), cut: between(10*time.Second, 22*time.Second)}, time.Minute,
			[]change{
				{ms, health.Up, "the required 4 of 6 targets answer"},
				{10101 * ms, health.Down, "6 of 6 targets silent for 0.1 s"},
				{23023 * ms, health.Up, "the required 4 of 6 targets answer again, down for 13 s"},
			}},
		"the kernel refuses to send": {defaults(), network{rtt: constant(ms), refused: between(10*time.Second, 100*time.Second)}, 2 * time.Minute,
			[]change{
				{ms, health.Up, "the required 4 of 6 targets answer"},
				{10001 * ms, health.Down, "3 of 6 targets silent: network is unreachable"},
				{101003 * ms, health.Up, "the required 4 of 6 targets answer again, down for 91 s"},
			}},
		"one of six dead": {defaults(), network{rtt: constant(ms), dead: targets(1)}, time.Hour,
			[]change{{ms, health.Up, "the required 4 of 6 targets answer"}}},
		"two of six dead": {defaults(), network{rtt: constant(ms), dead: targets(2)}, time.Hour,
			[]change{{ms, health.Up, "the required 4 of 6 targets answer"}}},
		"three of six dead": {defaults(), network{rtt: constant(ms), dead: targets(3)}, time.Minute,
			[]change{{3613333332, health.Down, "3 of 6 targets silent for 3.6 s"}}},
		"one target, one attempt": {
			with(func(p *health.Params) { p.Targets, p.Required, p.Retries = targets(1), 1, 1 }),
			network{rtt: constant(ms), cut: after(10 * time.Second)}, time.Minute,
			[]change{{ms, health.Up, "the only target answers"}, {10101 * ms, health.Down, "the only target is silent for 0.1 s"}}},
		"all are required, one dead": {
			with(func(p *health.Params) { p.Required, p.Retries = 6, 1 }),
			network{rtt: constant(ms), dead: targets(1)}, time.Minute,
			[]change{{2240 * ms, health.Down, "1 of 6 targets silent for 2.2 s"}}},
		"one is enough, five dead": {
			with(func(p *health.Params) { p.Required = 1 }),
			network{rtt: constant(ms), dead: targets(5)}, time.Hour,
			[]change{{ms, health.Up, "the required 1 of 6 targets answer"}}},
		"a round-trip time at the time-out": {defaults(), network{rtt: constant(1900 * ms)}, time.Hour,
			[]change{{1900 * ms, health.Up, "the required 4 of 6 targets answer"}}},
		"an old file: a minute between rounds": {
			with(func(p *health.Params) { p.Interval = time.Minute }),
			network{rtt: constant(ms), cut: between(90*time.Second, 200*time.Second)}, 10 * time.Minute,
			[]change{
				{ms, health.Up, "the required 4 of 6 targets answer"},
				{120101 * ms, health.Down, "6 of 6 targets silent for 0.1 s"},
				{201795051939, health.Up, "the required 4 of 6 targets answer again, down for 82 s"},
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.params, &tt.network, 1)
			w.run(tt.run)
			if diff := cmp.Diff(tt.want, w.changes); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
}

// A line whose round-trip times jump is down at most until the answers that were late arrive, and
// then waited for longer.
func TestLateAnswersUnlose(t *testing.T) {
	n := network{rtt: func(_ config.Target, sent time.Time) time.Duration {
		if sent.Before(start.Add(10 * time.Second)) {
			return ms
		}
		return 450 * ms
	}}
	w := newWorld(t, defaults(), &n, 1)
	w.run(time.Hour)
	want := []change{
		{ms, health.Up, "the required 4 of 6 targets answer"},
		{10101 * ms, health.Down, "6 of 6 targets silent for 0.1 s"},
		{10471 * ms, health.Up, "4 of 6 targets answer, only later than known of the line: it was slow for 0.5 s, not dead"},
	}
	if diff := cmp.Diff(want, w.changes); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if r := w.monitor.Report(w.now); r.Loss != 0 || r.RTT.Round(ms) != 450*ms {
		t.Errorf("after the late answers: loss %v, RTT %v", r.Loss, r.RTT)
	}
}

func TestLink(t *testing.T) {
	n := network{rtt: constant(ms)}
	p := defaults()
	m := health.New(p, rand.New(rand.NewPCG(1, 1)), start)
	if got := m.Poll(start); len(got) != 0 || !m.Wake().IsZero() {
		t.Errorf("asked before the link is known: %v, wake %v", got, m.Wake())
	}
	want := health.Report{Since: start, Reason: "not asked yet", Loss: math.NaN(), WeightPercent: 100}
	if diff := cmp.Diff(want, m.Report(start), cmp.Comparer(sameFloat)); diff != "" {
		t.Errorf("first report (-want +got):\n%s", diff)
	}

	w := newWorld(t, p, &n, 1)
	w.run(10 * time.Second)
	w.monitor.SetLink(w.now, true, "")
	inFlight := w.monitor.Poll(w.now)
	w.monitor.SetLink(w.now, false, "no carrier")
	w.note()
	for _, req := range inFlight {
		w.monitor.Answer(w.now, req.ID, ms, nil)
	}
	probes := w.probes
	w.run(time.Minute)
	w.monitor.SetLink(w.now, false, "no address")
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Reason != "no address" || !r.Since.Equal(start.Add(10*time.Second)) {
		t.Errorf("link without address: %+v", r)
	}
	w.monitor.Doubt(w.now, "neighbour failed")
	w.run(time.Minute)
	if w.probes != probes || !w.monitor.Wake().IsZero() {
		t.Errorf("%d probes while the link is unusable; wake %v", w.probes-probes, w.monitor.Wake())
	}
	w.monitor.SetLink(w.now, true, "")
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Reason != "link is back, no answer yet" {
		t.Errorf("link usable again: %+v", r)
	}
	w.run(time.Minute)
	wantChanges := []change{
		{ms, health.Up, "the required 4 of 6 targets answer"},
		{10 * time.Second, health.Down, "no carrier"},
		{131002 * ms, health.Up, "the required 4 of 6 targets answer again, down for 2 min"},
	}
	if diff := cmp.Diff(wantChanges, w.changes); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	n.cut = after(0)
	w.monitor.SetLink(w.now, false, "no carrier")
	w.monitor.SetLink(w.now, true, "")
	w.run(2 * time.Second)
	if r := w.monitor.Report(w.now); r.Reason != "6 of 6 targets silent for 20 ms" {
		t.Errorf("carrier back, provider not: %+v", r)
	}
}

func TestDoubt(t *testing.T) {
	p := defaults()
	p.Interval = time.Minute
	n := network{rtt: constant(ms), cut: after(10 * time.Second)}
	w := newWorld(t, p, &n, 1)
	w.run(5 * time.Second)
	w.monitor.Doubt(w.now, "traffic without replies")
	if !w.monitor.Report(w.now).Doubt {
		t.Error("no doubt after evidence")
	}
	w.run(100 * ms)
	if r := w.monitor.Report(w.now); r.State != health.Up || r.Doubt {
		t.Errorf("after all targets answered: %+v", r)
	}
	w.run(5 * time.Second)
	w.monitor.Doubt(w.now, "traffic without replies")
	w.run(time.Second)
	want := []change{
		{ms, health.Up, "the required 4 of 6 targets answer"},
		{10200 * ms, health.Down, "6 of 6 targets silent for 0.1 s (traffic without replies)"},
	}
	if diff := cmp.Diff(want, w.changes); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

// Weak evidence costs one probe; what that does not disprove is doubt, with its reason.
func TestCheck(t *testing.T) {
	p := defaults()
	p.Interval = time.Minute
	n := network{rtt: constant(ms), cut: after(10 * time.Second)}
	w := newWorld(t, p, &n, 1)
	w.run(5 * time.Second)
	w.probes = 0
	w.monitor.Check(w.now, w.now.Add(-20*ms), "1 packet sent, no reply for 20 ms")
	if !w.monitor.Report(w.now).Doubt {
		t.Error("evidence is not to be settled")
	}
	w.run(5 * time.Second)
	if r := w.monitor.Report(w.now); r.Doubt || w.probes != 1 {
		t.Errorf("the target answered: doubt %t after %d probes", r.Doubt, w.probes)
	}
	w.monitor.Check(w.now.Add(20*ms), w.now, "1 packet sent, no reply for 20 ms")
	w.run(time.Second)
	want := []change{
		{ms, health.Up, "the required 4 of 6 targets answer"},
		{10120 * ms, health.Down, "6 of 6 targets silent for 0.1 s (1 packet sent, no reply for 20 ms)"},
	}
	if diff := cmp.Diff(want, w.changes); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

// However often weak evidence comes, it costs little and never makes a verdict.
func TestCheckStorm(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: constant(ms), lossOut: 0.1}, 1)
	w.run(time.Second)
	for range 100_000 {
		w.monitor.Check(w.now, w.now.Add(-20*ms), "1 packet sent, no reply for 20 ms")
		w.monitor.Alive(w.now)
		w.run(10 * ms)
	}
	if w.count(health.Down) > 0 {
		t.Errorf("verdicts %v", w.changes)
	}
}

// However often doubts are raised, rounds keep their distance.
func TestDoubtStorm(t *testing.T) {
	w := newWorld(t, defaults(), &network{rtt: constant(ms)}, 1)
	w.run(time.Second)
	w.probes = 0
	for range 10_000 {
		w.monitor.Doubt(w.now, "traffic without replies")
		w.run(ms)
	}
	if w.probes > 6*(10_000/200+1) || w.count(health.Down) > 0 {
		t.Errorf("10,000 doubts in 10 s: %d probes, verdicts %v", w.probes, w.changes)
	}
}

func TestUpdate(t *testing.T) {
	n := network{rtt: constant(ms), dead: targets(3)}
	p := defaults()
	p.Required = 3
	w := newWorld(t, p, &n, 1)
	w.run(10 * time.Second)
	before := w.monitor.Report(w.now)
	w.monitor.Update(w.now, p)
	if w.monitor.Report(w.now).Doubt {
		t.Error("the same parameters raised a doubt")
	}
	p.Targets = append(targets(6)[3:], targets(8)[6:]...)
	p.Required = 5
	w.monitor.Update(w.now, p)
	w.sent = nil
	w.run(10 * time.Second)
	for _, req := range w.sent {
		if req.Target.Address.Less(targets(4)[3].Address) {
			t.Fatalf("asked %v, which is no target any more", req.Target)
		}
	}
	if r := w.monitor.Report(w.now); r.State != health.Up || !r.Since.Equal(before.Since) || r.Reason != before.Reason {
		t.Errorf("the verdict was lost: %+v, was %+v", r, before)
	}
	p.Targets, p.Required = targets(6), 4
	w.monitor.Update(w.now, p)
	w.run(10 * time.Second)
	if r := w.monitor.Report(w.now); r.State != health.Down || r.Reason != "3 of 6 targets silent for 3.6 s" {
		t.Errorf("a stricter quorum: %+v", r)
	}
	w.monitor.SetLink(w.now, false, "no carrier")
	p.Interval = time.Hour
	w.monitor.Update(w.now, p)
	if !w.monitor.Wake().IsZero() {
		t.Error("an update made an unusable link ask")
	}
}

// The program was not scheduled for a while: its own absence is not held against the path.
func TestLatePollForgives(t *testing.T) {
	m := health.New(defaults(), rand.New(rand.NewPCG(1, 1)), start)
	m.SetLink(start, true, "")
	now := start
	for _, req := range m.Poll(now) {
		m.Answer(now.Add(ms), req.ID, ms, nil)
	}
	now = now.Add(1001 * ms)
	calm := m.Poll(now)
	m.Doubt(now, "test")
	round := m.Poll(now)
	if len(calm) != 1 || len(round) != 6 {
		t.Fatalf("%d calm, %d probes in doubt", len(calm), len(round))
	}
	for range 2 {
		now = now.Add(100 * ms)
		round = append(round, m.Poll(now)...)
	}
	now = now.Add(500 * ms)
	if got := m.Poll(now); len(got) != 0 || m.Report(now).State != health.Up || !m.Report(now).Doubt {
		t.Fatalf("a late Poll: %v, %+v", got, m.Report(now))
	}
	for _, req := range append(calm, round...) {
		m.Answer(now.Add(ms), req.ID, 500*ms, nil)
	}
	if r := m.Report(now); r.State != health.Up || r.Doubt || r.Loss != 0 {
		t.Errorf("answers told after the late Poll: %+v", r)
	}
}

// What is late every time is judged all the same.
func TestLatenessIsNoExcuseForEver(t *testing.T) {
	m := health.New(defaults(), rand.New(rand.NewPCG(1, 1)), start)
	m.SetLink(start, true, "")
	now, polls := start, 0
	for m.Report(now).State != health.Down {
		m.Poll(now)
		now = m.Wake().Add(60 * ms)
		if polls++; polls > 50 {
			t.Fatal("never down")
		}
	}
}

func TestAnswerErrors(t *testing.T) {
	unreachable := errors.New("destination unreachable by 192.0.2.1")
	p := defaults()
	p.Targets, p.Required = targets(2), 2
	newRound := func() (*health.Monitor, []health.Request) {
		m := health.New(p, rand.New(rand.NewPCG(1, 1)), start)
		m.SetLink(start, true, "")
		return m, m.Poll(start)
	}

	m, reqs := newRound()
	m.Answer(start, 999, ms, nil)
	m.Answer(start, reqs[0].ID, 0, fmt.Errorf("probe: %w", context.DeadlineExceeded))
	if r := m.Report(start); r.State != health.Unknown || r.Loss != 1 || r.HasRTT {
		t.Errorf("one attempt timed out: %+v", r)
	}
	m.Answer(start, reqs[1].ID, 0, unreachable)
	if r := m.Report(start); r.State != health.Down || r.Reason != "1 of 2 targets silent: destination unreachable by 192.0.2.1" {
		t.Errorf("one target unreachable: %+v", r)
	}

	// An error of one attempt does not undo the answer to another.
	m, reqs = newRound()
	m.Answer(start.Add(ms), reqs[0].ID, ms, nil)
	again := m.Poll(start.Add(670 * ms))
	if len(again) != 1 || again[0].Target != reqs[1].Target {
		t.Fatalf("second attempts: %v", again)
	}
	m.Answer(start.Add(671*ms), reqs[1].ID, 671*ms, nil)
	m.Answer(start.Add(672*ms), again[0].ID, 0, unreachable)
	if r := m.Report(start); r.State != health.Up || r.Reason != "the required 2 of 2 targets answer" {
		t.Errorf("answered at last: %+v", r)
	}
	m.Answer(start.Add(673*ms), reqs[0].ID, ms, nil)
	if r := m.Report(start); math.Abs(r.Loss-1.0/3) > 1e-9 || !r.HasRTT {
		t.Errorf("told twice: %+v", r)
	}
}

func sameFloat(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// Paths that all had a round together do not go on in step.
func TestStagger(t *testing.T) {
	var next []time.Duration
	for i := range 4 {
		w := newWorld(t, defaults(), &network{rtt: constant(ms)}, 1)
		w.monitor.Stagger(float64(i) / 4)
		w.run(500 * ms)
		next = append(next, w.monitor.Wake().Sub(start))
	}
	want := []time.Duration{1001 * ms, 876 * ms, 751 * ms, 626 * ms}
	if diff := cmp.Diff(want, next); diff != "" {
		t.Errorf("the next calm probes (-want +got):\n%s", diff)
	}
}
