package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Tolerances of the scenario.
const (
	leastPayload = 0.95 // of what a line can carry
	mostPayload  = 1.10 // what TCP held back before the measurement may come in it
	mostTries    = 4    // of a measurement of speed, for a busy machine
	shareWithin  = 0.05 // of a line's weight
)

// undisturbed plays a step and then judges whether a line was taken out of use during it, though
// nothing was done to any: a full line is not a broken one.
func (s *Scenario) undisturbed(play func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		before := s.Board.takenOut()
		if err := play(ctx); err != nil {
			return err
		}
		sum, words := 0, []string(nil)
		for i, n := range s.Board.takenOut() {
			if n -= before[i]; n > 0 {
				sum, words = sum+n, append(words, fmt.Sprintf("line %d: %d", i+1, n))
			}
		}
		row := Row{What: "a healthy line is taken out", Expected: "never", Measured: "never", OK: sum == 0}
		if sum > 0 {
			row.Measured = "times: " + strings.Join(words, ", ")
		}
		s.Board.expect(row)
		return nil
	}
}

// oneByOne runs downloads alone, until each line had one and the number is full.
func (s *Scenario) oneByOne(ctx context.Context) error {
	n := len(s.lines)
	var words []string
	ok := true
	for k := 0; k < s.extent.downloads || (!s.Quick && k < 30*n && s.untried()); k++ {
		d, err := s.Lab.StartDownload(ctx, s.Lab.Plan.Servers[k%len(s.Lab.Plan.Servers)], 0, 0)
		if err != nil {
			return err
		}
		line := &s.lines[d.Line]
		if k >= s.extent.downloads && line.Single > 0 {
			d.Stop() // only a line that had none is still wanted
			continue
		}
		s.Board.track(d)
		s.Board.say(fmt.Sprintf("download %d runs on line %d", k+1, line.Number))
		speed, err := s.speed(ctx, d, line.Rate)
		d.Stop()
		if err != nil {
			return err
		}
		line.Single = speed
		words = append(words, fmt.Sprintf("line %d: %.1f", line.Number, speed))
		ok = ok && withinRate(speed, line.Rate)
	}
	var expected []string
	for _, line := range s.lines {
		expected = append(expected, fmt.Sprintf("%.1f", line.Rate.Payload()))
	}
	s.Board.expect(Row{
		What: "each runs at the rate of its line, Mbit/s", Expected: strings.Join(expected, ", ") + " (95 to 110 %)",
		Measured: strings.Join(words, ", "), OK: ok,
	})
	return nil
}

// untried tells whether a line had no download yet.
func (s *Scenario) untried() bool {
	for _, line := range s.lines {
		if line.Single == 0 {
			return true
		}
	}
	return false
}

// speed measures one download, after the first moments in which TCP looks for the rate.
func (s *Scenario) speed(ctx context.Context, d *Download, rate Rate) (float64, error) {
	speeds, err := s.speeds(ctx, []*Download{d}, s.extent.measure, func(speed float64) bool { return withinRate(speed, rate) })
	if err != nil {
		return 0, err
	}
	return speeds[0], nil
}

// speeds measures downloads together, until the sum of their speeds is good or there were enough tries.
func (s *Scenario) speeds(ctx context.Context, downloads []*Download, over time.Duration, good func(sum float64) bool) ([]float64, error) {
	if err := pause(ctx, s.extent.warmUp); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		speeds, err := Speed(ctx, downloads, over)
		sum := 0.0
		for _, speed := range speeds {
			sum += speed
		}
		if err != nil || good(sum) || try == mostTries {
			return speeds, err
		}
	}
}

// withinRate tells whether a line carried what it can.
func withinRate(mbits float64, rate Rate) bool {
	return rate == 0 || (mbits >= leastPayload*rate.Payload() && mbits <= mostPayload*rate.Payload())
}

// atOnce runs many downloads together. Which line each gets is chance; in the rare case that a line
// got none, they are drawn again.
func (s *Scenario) atOnce(ctx context.Context) error {
	var downloads []*Download
	stop := func() {
		for _, d := range downloads {
			d.Stop()
		}
	}
	defer func() { stop() }()
	draws := 0
	for draws < 5 {
		draws++
		stop()
		var err error
		downloads, err = s.startMany(ctx)
		if err != nil {
			return err
		}
		s.Board.track(downloads...)
		if s.countDownloads(downloads) {
			break
		}
	}
	speeds, err := s.speeds(ctx, downloads, 2*s.extent.measure, func(sum float64) bool { return sum >= leastPayload*s.Lab.Plan.Rate().Payload() })
	if err != nil {
		return err
	}
	s.rateTogether(downloads, speeds, draws)
	return nil
}

// startMany opens the downloads within half a second. All in the same moment would mostly meet full
// queues.
func (s *Scenario) startMany(ctx context.Context) ([]*Download, error) {
	downloads, errs := make([]*Download, s.extent.atOnce), make([]error, s.extent.atOnce)
	var group errgroup.Group
	for k := range downloads {
		group.Go(func() error {
			if errs[k] = pause(ctx, time.Duration(k)*20*time.Millisecond); errs[k] == nil {
				downloads[k], errs[k] = s.Lab.StartDownload(ctx, s.Lab.Plan.Servers[k%len(s.Lab.Plan.Servers)], 0, 0)
			}
			return nil
		})
	}
	_ = group.Wait()
	return slices.DeleteFunc(downloads, func(d *Download) bool { return d == nil }), errors.Join(errs...)
}

// countDownloads notes how many downloads each line has, and whether each has one.
func (s *Scenario) countDownloads(downloads []*Download) bool {
	for i := range s.lines {
		s.lines[i].Downloads = 0
	}
	for _, d := range downloads {
		s.lines[d.Line].Downloads++
	}
	var words []string
	all := true
	for _, line := range s.lines {
		words, all = append(words, strconv.Itoa(line.Downloads)), all && line.Downloads > 0
	}
	s.Board.say("on the lines: " + strings.Join(words, ", "))
	return all
}

// rateTogether judges the sum of all downloads.
func (s *Scenario) rateTogether(downloads []*Download, speeds []float64, draws int) {
	sum := 0.0
	for k, d := range downloads {
		s.lines[d.Line].Together += speeds[k]
		sum += speeds[k]
	}
	var words []string
	all := true
	for _, line := range s.lines {
		words, all = append(words, strconv.Itoa(line.Downloads)), all && line.Downloads > 0
	}
	measured := strings.Join(words, ", ")
	if draws > 1 {
		measured += fmt.Sprintf(" (draw %d)", draws)
	}
	s.Board.expect(Row{What: "all lines carry downloads", Expected: "each some", Measured: measured, OK: all})
	want := s.Lab.Plan.Rate().Payload()
	s.Board.expect(Row{
		What: "together, Mbit/s of payload", Expected: fmt.Sprintf("≥ %.1f (95 %% of %.1f)", leastPayload*want, want),
		Measured: fmt.Sprintf("%.1f (%.1f %%)", sum, 100*sum/want), OK: sum >= leastPayload*want,
	})
}

// spread opens many connections from one client to one server and counts them by line.
func (s *Scenario) spread(ctx context.Context) error {
	attempts := s.Lab.Spread(ctx, s.Lab.Plan.Servers[0], s.extent.connections, openTimeout)
	if err := ctx.Err(); err != nil {
		return err
	}
	shares, weights := attempts.Shares(len(s.lines)), 0
	for _, line := range s.lines {
		weights += line.Weight
	}
	var expected, words []string
	ok := true
	for i := range s.lines {
		want := float64(s.lines[i].Weight) / float64(weights)
		s.lines[i].Share = shares[i]
		expected = append(expected, fmt.Sprintf("%.1f", 100*want))
		words = append(words, fmt.Sprintf("%.1f", 100*shares[i]))
		ok = ok && math.Abs(shares[i]-want) <= shareWithin
	}
	s.Board.expect(Row{What: "all succeed", Expected: "0 fail", Measured: fmt.Sprintf("%d fail", attempts.Failed()), OK: attempts.Failed() == 0})
	s.Board.expect(Row{What: "shares follow the weights, %", Expected: strings.Join(expected, ", ") + " (±5)", Measured: strings.Join(words, ", "), OK: ok})
	return nil
}
