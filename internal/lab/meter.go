package lab

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Sample is one reading of the router's interface counters.
type Sample struct {
	Time time.Time
	// Down and Up are the bytes since the interface was made, by line; Present tells whether there is
	// an interface (a PPP line that is not connected has none).
	Down, Up []uint64
	Present  []bool
}

// Read reads the counters of all lines.
func (l *Lab) Read() (Sample, error) {
	n := len(l.Plan.Lines)
	s := Sample{Time: time.Now(), Down: make([]uint64, n), Up: make([]uint64, n), Present: make([]bool, n)}
	var text []byte
	err := l.Router.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read the counters of the lines: %w", err)
	}
	counters := parseCounters(string(text))
	for i, line := range l.Plan.Lines {
		c, ok := counters[line.Interface]
		s.Down[i], s.Up[i], s.Present[i] = c[0], c[1], ok
	}
	return s, nil
}

// parseCounters reads /proc/net/dev: received and sent bytes by interface.
func parseCounters(text string) map[string][2]uint64 {
	counters := map[string][2]uint64{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 9 {
			continue
		}
		down, err := strconv.ParseUint(fields[0], 10, 64)
		up, err2 := strconv.ParseUint(fields[8], 10, 64)
		if err == nil && err2 == nil {
			counters[strings.TrimSpace(name)] = [2]uint64{down, up}
		}
	}
	return counters
}

// Meter reads the counters at every interval until the context ends, and hands each sample to
// record.
func (l *Lab) Meter(ctx context.Context, interval time.Duration, record func(Sample)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s, err := l.Read()
		if err != nil {
			return err
		}
		record(s)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
