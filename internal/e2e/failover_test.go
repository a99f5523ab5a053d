package e2e_test

import (
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// clientPatience is how long a client of the failover measurements waits for its connection.
const clientPatience = 500 * time.Millisecond

// outage is what clients see of a line that breaks.
type outage struct {
	lasted        time.Duration // from the failure to the start of the last connection that failed
	failed, tried int
}

// measure breaks line 1 while new connections are opened, until it is out of use, and restores it. The
// line breaks a while after it was found up: phase says where between two probes that is.
func (b *bed) measure(breaks func(int) error, phase, limit time.Duration) outage {
	b.t.Helper()
	b.uses(20*time.Second, 0, 1, 2)
	b.pause(phase)
	knocks := b.knock(clientPatience)
	b.pause(300 * time.Millisecond)
	cut := time.Now()
	b.must(breaks(0))
	b.uses(limit, 1, 2)
	b.pause(clientPatience + 500*time.Millisecond)
	attempts := knocks.end()
	b.must(b.Restore(0))
	return outage{attempts.Outage(cut), attempts.Failed(), len(attempts)}
}

// The time after which nobody meets a broken line any more follows from the configuration. What the
// kernel itself tells does not wait for the next probe, whatever the interval.
func TestFailover(t *testing.T) {
	t.Parallel()
	const (
		interval = time.Second
		timeout  = 2 * time.Second // of a probe: the original's, and the default
		margin   = time.Second     // of a busy machine
	)
	for _, c := range []struct {
		name, config string
		limit        map[string]time.Duration
	}{
		{"interval 1", "", map[string]time.Duration{"silent": interval + 2*timeout + margin, "carrier": margin}},
		{"form of 2016", "original-2016.conf", map[string]time.Duration{"carrier": margin}},
		{"form of 2015", "original-2015.conf", map[string]time.Duration{"carrier": margin}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			b := newFailoverBed(t, c.config)
			for how, limit := range c.limit {
				o := b.measure(b.breaks(how), 0, 20*time.Second)
				t.Logf("%s: connections failed for %s, %d of %d", how, o.lasted, o.failed, o.tried)
				if o.lasted > limit {
					t.Errorf("%s: connections failed for %s, want at most %s", how, o.lasted, limit)
				}
				if how == "silent" && o.failed == 0 {
					t.Errorf("%s: no connection failed: the line was not broken", how)
				}
			}
		})
	}
}

func (b *bed) breaks(how string) func(int) error {
	if how == "silent" {
		return b.Cut
	}
	return b.CutCarrier
}

// newFailoverBed starts the program with a file of the original, or with an interval of 1 s.
func newFailoverBed(t *testing.T, config string) *bed {
	if config == "" {
		b := newBed(t, three())
		b.start(b.Config())
		return b
	}
	b, text := newOriginalBed(t, three(), config)
	b.start(text)
	return b
}

// newOriginalBed makes a lab for a file of the original program. The file is used as it is, but for
// the place of its log, which is the host's; the directories that the original did not know are given
// on the command line.
func newOriginalBed(t *testing.T, lines []lab.Line, file string) (*bed, string) {
	t.Helper()
	dir := "/run/" + strings.ReplaceAll(t.Name(), "/", "-")
	b := newBed(t, lines, "env", "STATE_DIRECTORY="+dir+"/state", "RUNTIME_DIRECTORY="+dir+"/runtime")
	return b, edit(t, fixture(t, file), "/var/log/", b.Dir+"/")
}
