package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// How new connections are tried while a line breaks and comes back.
const (
	knocksPerSecond = 50
	knockTimeout    = 900 * time.Millisecond // less than the second after which TCP tries again
	longestPause    = time.Second            // of a download that nothing was done to
	// A client that uses the port of a connection to the same server that got stuck meets that one's
	// entry in connection tracking, which leads to the broken line until it expires or is released.
	stuckPart  = 0.05
	keeperPart = 0.4 // of its line's rate: the queue stays short, so that connections are quick
)

// knocking opens new connections until it is stopped.
type knocking struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	attempts Attempts
}

func (s *Scenario) startKnocking(ctx context.Context) *knocking {
	ctx, stop := context.WithCancel(ctx)
	k := &knocking{stop: stop}
	k.done.Go(func() {
		s.Lab.Knock(ctx, knocksPerSecond, knockTimeout, func(a Attempt) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.attempts = append(k.attempts, a)
		})
	})
	return k
}

// end stops and returns what was recorded.
func (k *knocking) end() Attempts {
	k.stop()
	k.done.Wait()
	return k.attempts
}

// carried counts the connections since a time that each of the lines carried, and all of them.
func (k *knocking) carried(lines int, since time.Time) (by []int, all int) {
	by = make([]int, lines)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.attempts {
		if !a.Start.Before(since) {
			all++
			if a.Err == nil {
				by[a.Line]++
			}
		}
	}
	return by, all
}

// luck is how likely it may be that a line carried nothing by mere chance.
const luck = 1e-6

// each goes on knocking until each of the lines has carried a connection since a time, or so many were made
// that none of them had to be left out by chance.
func (s *Scenario) each(ctx context.Context, k *knocking, since time.Time, lines ...int) error {
	weights := 0
	for _, line := range s.lines {
		weights += line.Weight
	}
	for {
		by, all := k.carried(len(s.lines), since)
		waiting := slices.ContainsFunc(lines, func(i int) bool {
			without := 1 - float64(s.lines[i].Weight)/float64(weights)
			return by[i] == 0 && math.Pow(without, float64(all)) > luck
		})
		if !waiting {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// keep sees to it that each line has an established download.
func (s *Scenario) keep(ctx context.Context) error {
	for i, line := range s.Lab.Plan.Lines {
		d := s.keepers[i]
		if d != nil && d.Alive() {
			if d.Gap() < longestPause {
				continue
			}
			d.Stop() // it still hangs from an earlier step
		}
		s.Board.say(fmt.Sprintf("a download on line %d", i+1))
		rate := int64(keeperPart * line.Rate.Payload() * 1e6 / 8)
		if line.Rate == 0 {
			rate = 1 << 20
		}
		d, err := s.Lab.DownloadOn(ctx, i, rate)
		if err != nil {
			return err
		}
		s.keepers[i] = d
		s.Board.track(d)
	}
	for _, d := range s.keepers {
		d.ResetGap()
	}
	return nil
}

// DownloadOn opens endless downloads of rate bytes a second until one runs on line i.
func (l *Lab) DownloadOn(ctx context.Context, i int, rate int64) (*Download, error) {
	tries := 100 * len(l.Plan.Lines)
	for k := range tries {
		d, err := l.StartDownload(ctx, l.Plan.Servers[k%len(l.Plan.Servers)], 0, rate)
		if err != nil {
			return nil, err
		}
		if d.Line == i {
			return d, nil
		}
		d.Stop()
	}
	return nil, fmt.Errorf("none of %d new connections used line %d", tries, i+1)
}

// broken breaks line i and measures for how long users notice.
func (s *Scenario) broken(ctx context.Context, i int, breaks func(int) error, how string) error {
	if err := s.keep(ctx); err != nil {
		return err
	}
	s.Board.say("all is well")
	knocks := s.startKnocking(ctx)
	defer knocks.end()
	if err := pause(ctx, s.extent.calm); err != nil {
		return err
	}
	since := time.Now()
	if err := breaks(i); err != nil {
		return err
	}
	s.Board.say("broken; new connections are tried 50 times a second")
	limit := s.Lab.options.Config.noticed()
	took, out, err := s.waited(ctx, limit+10*time.Second, func() (bool, error) {
		used, err := s.Lab.Uses(i)
		return !used, err
	})
	if err != nil {
		return err
	}
	outAt := time.Now()
	s.Board.say("the daemon took it out")
	if err := pause(ctx, s.extent.calm+knockTimeout); err != nil {
		return err
	}
	attempts := knocks.end()
	outage := attempts.Outage(since)
	s.Board.expect(Row{What: fmt.Sprintf("line %d is taken out", i+1), Expected: "within " + inSeconds(limit), Measured: measured(took, out), OK: out && took <= limit})
	s.Board.expect(Row{
		What: "new connections fail for", Expected: "≤ " + inSeconds(limit),
		Measured: fmt.Sprintf("%.2f s, %d of %d", outage.Seconds(), attempts.Failed(), len(attempts)), OK: outage <= limit,
	})
	after := slices.DeleteFunc(slices.Clone(attempts), func(a Attempt) bool { return a.Start.Before(outAt) })
	s.Board.expect(Row{What: "once it is out, new connections", Expected: "≤ 5 % fail", Measured: after.Failures(outAt), OK: float64(after.Failed()) <= stuckPart*float64(len(after))})
	s.others(i)
	s.lines[i].Failure, s.lines[i].FailedFor = how, outage
	return nil
}

// others judges the downloads on the lines that nothing was done to.
func (s *Scenario) others(broken int) {
	ok, worst := true, time.Duration(0)
	for i, d := range s.keepers {
		if i == broken {
			continue
		}
		ok = ok && d.Alive()
		worst = max(worst, d.Gap())
		if s.lines[i].Established == "" {
			s.lines[i].Established = "went on"
		}
	}
	ended := ""
	if !ok {
		ended = ", one ended"
	}
	s.Board.expect(Row{
		What: "downloads on other lines go on", Expected: "pauses < " + inSeconds(longestPause),
		Measured: fmt.Sprintf("longest pause %.2f s%s", worst.Seconds(), ended), OK: ok && worst < longestPause,
	})
}

// restored repairs line i and waits until new connections use it again.
func (s *Scenario) restored(ctx context.Context, i int) error {
	knocks := s.startKnocking(ctx)
	defer knocks.end()
	since := time.Now()
	if err := s.Lab.Restore(i); err != nil {
		return err
	}
	limit := s.back()
	took, ok, err := s.waited(ctx, limit, func() (bool, error) { return s.Lab.Uses(i) })
	if err != nil {
		return err
	}
	s.Board.say("the daemon uses it again")
	if err := errors.Join(s.each(ctx, knocks, time.Now(), i), pause(ctx, s.extent.calm)); err != nil {
		return err
	}
	attempts := knocks.end()
	s.Board.expect(Row{What: fmt.Sprintf("line %d is in use again", i+1), Expected: "within " + inSeconds(limit), Measured: measured(took, ok), OK: ok})
	used := 0
	for _, a := range attempts {
		if a.Err == nil && a.Line == i {
			used++
		}
	}
	s.Board.expect(Row{
		What: "new connections use it, none fails", Expected: "> 0 use it, 0 fail",
		Measured: fmt.Sprintf("%d use it, %s", used, attempts.Failures(since)), OK: used > 0 && attempts.Failed() == 0,
	})
	s.lines[i].Established = s.fate(i)
	return nil
}

// back returns how long a restored line may take until it is used: several good rounds and a
// hold-down.
func (s *Scenario) back() time.Duration {
	return 30*time.Second + 3*s.Lab.options.Config.withDefaults().Interval
}

// fate says what became of the established download of a line that was broken.
func (s *Scenario) fate(i int) string {
	d := s.keepers[i]
	d.mu.Lock()
	idle, gap := time.Since(d.last), d.gap
	d.mu.Unlock()
	switch {
	case !d.Alive():
		return "broke"
	case idle > longestPause:
		return fmt.Sprintf("stalled, silent for %.1f s", idle.Seconds())
	default:
		return fmt.Sprintf("stalled %.1f s, went on", gap.Seconds())
	}
}
