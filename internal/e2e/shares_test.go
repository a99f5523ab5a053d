package e2e_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"ftr/internal/lab"
)

// One client and one server, 1,000 connections: each line's share is within 5 points of its weight,
// which is more than three standard deviations of a random choice.
func TestShares(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
		sum := 0
		for i, w := range weights {
			b.Plan.Lines[i].Weight, sum = w, sum+w
		}
		b.start(b.Config())
		b.wait("the weights in the kernel", 10*time.Second, func() bool {
			hops, err := b.Selected()
			b.must(err)
			ok := len(hops) == 3
			for _, h := range hops {
				ok = ok && h.Weight == weights[h.Line]
			}
			return ok
		})
		b.pause(time.Second) // the rules that lead there come after the routes
		for i, share := range b.spread(fmt.Sprint(weights), 1000) {
			if want := float64(weights[i]) / float64(sum); math.Abs(share-want) > 0.05 {
				t.Errorf("weights %v: line %d carried %.3f of the connections, want %.3f", weights, i+1, share, want)
			}
		}
		b.must(b.StopDaemon())
	}
	b.noLeaks()
}

// A download alone runs at the rate of its line. It runs before the parallel tests, since it needs the
// machine. Many downloads at once are part of the lab's scenario, which internal/lab tests.
func TestRates(t *testing.T) {
	b := newBed(t, unequal())
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	for i, line := range b.Plan.Lines {
		got, want := b.alone(i), line.Rate.Payload()
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("alone on line %d: %.2f Mbit/s of payload, want %.2f", i+1, got, want)
		}
	}
}

// unequal are lines of the article's kind, with weights as their rates.
func unequal() []lab.Line {
	return []lab.Line{{Rate: 10 * lab.Mbit, Weight: 1}, {Rate: 20 * lab.Mbit, Weight: 2}, {Rate: 30 * lab.Mbit, Weight: 3}}
}

// alone measures one download on a line, after the first moments in which TCP looks for the rate.
func (b *bed) alone(line int) float64 {
	b.t.Helper()
	d, err := b.DownloadOn(b.t.Context(), line, 0)
	b.must(err)
	defer d.Stop()
	b.pause(time.Second)
	return b.speed(time.Second, d)
}

// speed measures the Mbit/s of payload of all downloads together.
func (b *bed) speed(over time.Duration, downloads ...*lab.Download) float64 {
	b.t.Helper()
	speeds, err := lab.Speed(b.t.Context(), downloads, over)
	b.must(err)
	sum := 0.0
	for _, s := range speeds {
		sum += s
	}
	return sum
}
