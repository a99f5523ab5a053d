//go:build bench

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"ftr/internal/lab"
)

// changePackets is how many packets the measurement sends over the lines that nothing happens to.
const changePackets = 100_000

// TestBenchChange counts what a change of selection costs the connections of other lines: line 1 fails and comes
// back in every way there is, while paced datagrams of sixteen flows and two downloads run over lines 2 and 3.
// No datagram and no answer may be lost, and none may come from another address.
func TestBenchChange(t *testing.T) {
	b, text := newManagedBed(t, three())
	text = edit(t, text, "tests:\n", "tests:\n  min_timeout: 0.1\n  hold_down: 0\n  quality: {loss: 15, action: weight, weight: 10}\n", "interval: 1\n", "interval: 0.1\n")
	b.begin(text)
	downloads := []*lab.Download{b.download(1), b.download(2)}
	s := b.stream([]int{1, 2}, 8)
	for _, d := range downloads {
		d.ResetGap()
	}
	before, changes := s.dropped(), 0
	for round := 0; s.sent.Load() < changePackets; round++ {
		all := b.changes(text)
		if round%5 == 0 { // it takes its time
			all = append(all, b.qualities()...)
		}
		for _, c := range all {
			c.do()
			changes++
			t.Logf("%s: %d sent, %d arrived, %d answered", c.name, s.sent.Load(), s.arrived.Load(), s.answered.Load())
		}
	}
	s.end()
	sent, arrived, answered, moved := s.sent.Load(), s.arrived.Load(), s.answered.Load(), s.moved.Load()
	b.undisturbed("changes of selection", downloads...)
	b.noLeaks()
	fmt.Printf("%d changes of selection: of %d datagrams of %d flows over other lines %d were lost, of %d answers %d; %d came from another address\n",
		changes, sent, len(s.flows), sent-arrived, arrived, arrived-answered, moved)
	if sent != answered || moved > 0 {
		t.Errorf("none may be lost and none may move; what the machine itself dropped, before %v, after %v", before, s.dropped())
	}
	if sent < changePackets {
		t.Errorf("%d datagrams are too few", sent)
	}
}

// change is something that happens to line 1, and its end.
type change struct {
	name string
	do   func()
}

func (b *bed) changes(text string) []change {
	command := func(args ...string) {
		b.t.Helper()
		if out, code := b.output(args...); code != 0 {
			b.t.Fatalf("%v: exit code %d: %s", args, code, out)
		}
	}
	line := b.Plan.Lines[0].Interface
	return []change{
		{"carrier lost", func() { b.must(b.CutCarrier(0)); b.uses(5*time.Second, 1, 2) }},
		{"carrier back", func() { b.must(b.Restore(0)); b.uses(15*time.Second, 0, 1, 2) }},
		{"silent", func() { b.must(b.Cut(0)); b.uses(5*time.Second, 1, 2) }},
		{"silent no more", func() { b.must(b.Restore(0)); b.uses(15*time.Second, 0, 1, 2) }},
		{"taken out", func() { command("uplink", line, "down"); b.uses(5*time.Second, 1, 2) }},
		{"given back", func() { command("uplink", line, "auto"); b.uses(15*time.Second, 0, 1, 2) }},
		{"another weight", func() {
			b.must(b.WriteConfig(edit(b.t, text, b.lineKeys(0), b.lineKeys(0)+"  weight: 3\n")))
			command("reload")
			b.weighs(5*time.Second, 3, 1, 1)
		}},
		{"the weight of before", func() {
			b.must(b.WriteConfig(text))
			command("reload")
			b.weighs(5*time.Second, 1, 1, 1)
		}},
	}
}

// qualities are the changes of weight that the line's own quality makes.
func (b *bed) qualities() []change {
	return []change{
		{"bad quality", func() { b.must(b.Lose(0, 20, 0)); b.weighs(time.Minute, 1, 10, 10) }},
		{"good quality", func() { b.must(b.Restore(0)); b.weighs(time.Minute, 1, 1, 1) }},
	}
}

// weighs waits until the default route has all lines with these weights.
func (b *bed) weighs(limit time.Duration, want ...int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("the weights %v", want), limit, func() bool {
		hops, err := b.Selected()
		b.must(err)
		ok := len(hops) == len(want)
		for _, h := range hops {
			ok = ok && h.Weight == want[h.Line]
		}
		return ok
	})
}
