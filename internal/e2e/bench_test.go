//go:build bench

package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"ftr/internal/lab"
)

// The figures of docs/benchmarks.md. Nothing is judged here: what is measured is printed.

// TestBenchNoise measures the machine: new connections over lines that nothing happens to.
func TestBenchNoise(t *testing.T) {
	b := newBed(t, three())
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	knocks := b.knockOnce()
	b.pause(20 * time.Second)
	attempts := knocks.end()
	var took []time.Duration
	for _, a := range attempts {
		took = append(took, a.Took)
	}
	load, err := os.ReadFile("/proc/loadavg")
	b.must(err)
	fmt.Printf("noise: %d connections, %d failed; took %s; load average %s", len(attempts), attempts.Failed(), quantiles(took), load)
}

// TestBenchFailover measures for how long new connections fail.
func TestBenchFailover(t *testing.T) {
	for _, c := range []struct {
		name, config, how string
		interval          time.Duration
		runs              int
	}{
		{"interval 1", "", "silent", time.Second, 10},
		{"interval 1", "", "carrier", time.Second, 10},
		{"form of 2016, interval 60", "original-2016.conf", "silent", time.Minute, 3},
		{"form of 2016, interval 60", "original-2016.conf", "carrier", 0, 10},
		{"form of 2015, interval 60", "original-2015.conf", "silent", time.Minute, 2},
		{"form of 2015, interval 60", "original-2015.conf", "carrier", 0, 10},
	} {
		t.Run(strings.NewReplacer(" ", "-", ",", "").Replace(c.name+"-"+c.how), func(t *testing.T) {
			b := newFailoverBed(t, c.config)
			b.uses(15*time.Second, 0, 1, 2)
			b.pause(2 * time.Second)
			var lasted []time.Duration
			failed, tried := 0, 0
			for run := range c.runs {
				// At another time between two probes in each run.
				phase := c.interval * time.Duration(run) / time.Duration(c.runs)
				o := b.measure(b.breaks(c.how), phase, 80*time.Second)
				lasted = append(lasted, o.lasted)
				failed, tried = failed+o.failed, tried+o.tried
			}
			fmt.Printf("failover: %s, %s: %s; %d of %d connections failed; %v\n", c.name, c.how, quantiles(lasted), failed, tried, rounded(lasted))
		})
	}
}

// TestBenchTraffic measures shares, rates and the size of the daemon.
func TestBenchTraffic(t *testing.T) {
	b := newBed(t, unequal())
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	fmt.Printf("shares of 1,000 connections, weights 1/2/3: %.3f\n", b.spread("1,000 connections", 1000))
	for i, line := range b.Plan.Lines {
		fmt.Printf("alone on %s: %.2f Mbit/s of payload, the line can carry %.2f\n", line.Rate, b.alone(i), line.Rate.Payload())
	}
	for range 5 {
		got, want := b.together(24), b.Plan.Rate().Payload()
		fmt.Printf("24 downloads at once: %.2f Mbit/s of payload, %.1f %% of %.2f\n", got, 100*got/want, want)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.DaemonPID()))
	b.must(err)
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "Threads") {
			fmt.Print("daemon: ", line)
		}
	}
}

// together measures n downloads at once. Their lines are chance: where one got none (once in 80 times
// for 24 on the smallest of weights 1, 2, 3), they are drawn again.
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

// quantiles says how durations are spread.
func quantiles(list []time.Duration) string {
	sorted := slices.Sorted(slices.Values(list))
	at := func(q float64) time.Duration {
		return sorted[int(q*float64(len(sorted)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("min %s, median %s, 99 %% %s, max %s", at(0), at(0.5), at(0.99), at(1))
}

func rounded(list []time.Duration) []time.Duration {
	out := make([]time.Duration, len(list))
	for i, d := range list {
		out[i] = d.Round(10 * time.Millisecond)
	}
	return out
}
