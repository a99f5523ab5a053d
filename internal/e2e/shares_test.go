package e2e_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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
		for i, share := range b.spread(fmt.Sprint(weights), 1000) {
			if want := float64(weights[i]) / float64(sum); math.Abs(share-want) > 0.05 {
				t.Errorf("weights %v: line %d carried %.3f of the connections, want %.3f", weights, i+1, share, want)
			}
		}
		b.must(b.StopDaemon())
	}
	b.noLeaks()
}

// Each line alone carries what it can, and many downloads at once carry 95 % of what all can. It runs
// before the parallel tests, since it needs the machine.
func TestRates(t *testing.T) {
	b := newBed(t, []lab.Line{{Rate: 10 * lab.Mbit, Weight: 1}, {Rate: 20 * lab.Mbit, Weight: 2}, {Rate: 30 * lab.Mbit, Weight: 3}})
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	for i, line := range b.Plan.Lines {
		d, err := b.DownloadOn(t.Context(), i, 0)
		b.must(err)
		b.pause(time.Second)
		got := b.speed(time.Second, d)
		d.Stop()
		if want := line.Rate.Payload(); math.Abs(got/want-1) > 0.05 {
			t.Errorf("alone on line %d: %.2f Mbit/s of payload, want %.2f", i+1, got, want)
		}
	}
	got, want := b.together(24), b.Plan.Rate().Payload()
	t.Logf("24 downloads at once: %.2f Mbit/s of payload, the lines can carry %.2f", got, want)
	if got < 0.95*want {
		t.Errorf("24 downloads at once: %.2f Mbit/s of payload, want 95 %% of %.2f", got, want)
	}
}

// together measures n downloads at once. Their lines are chance: where one got none (once in 80 times
// for 24 on the smallest of weights 1, 2, 3), more are drawn.
func (b *bed) together(n int) float64 {
	var downloads []*lab.Download
	for draw := 0; draw < 5 && !onAll(downloads, len(b.Plan.Lines)); draw++ {
		stopAll(downloads)
		downloads = make([]*lab.Download, n)
		var group errgroup.Group
		for k := range downloads {
			group.Go(func() (err error) {
				downloads[k], err = b.StartDownload(b.t.Context(), b.Plan.Servers[k%len(b.Plan.Servers)], 0, 0)
				return err
			})
		}
		b.must(group.Wait())
	}
	defer func() { stopAll(downloads) }()
	b.pause(2 * time.Second)
	return b.speed(3*time.Second, downloads...)
}

func onAll(downloads []*lab.Download, lines int) bool {
	used := map[int]bool{}
	for _, d := range downloads {
		used[d.Line] = true
	}
	return len(used) == lines
}

func stopAll(downloads []*lab.Download) {
	for _, d := range downloads {
		d.Stop()
	}
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
