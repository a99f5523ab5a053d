package e2e_test

import (
	"strings"
	"testing"
	"time"
)

// A route of another protocol that replaces one of ours, or is put before it, is replaced in turn within a
// second. What was there before the start stays, and is told.
func TestForeignRoutes(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	foreign := "via " + b.Plan.Lines[0].Gateway.String() + " dev " + b.Plan.Lines[0].Interface
	b.must(b.Router.Batch("route add default " + foreign + " table 4 metric 1 proto static"))
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	if got := b.table(4); !strings.Contains(got, "proto static") {
		t.Errorf("table 4 had another's route before the start, and has now:\n%s", got)
	}
	b.says("metric 1 protocol 4\", which is not ours", time.Time{}, soon)

	state := func() string { return b.tables() }
	want := state()
	for _, command := range []string{
		"route replace default " + foreign + " table 2 proto static",
		"route prepend default " + foreign + " table 2 proto static",
		"route replace blackhole default table 2 proto static",
		"route replace default " + foreign + " table 4 proto static",
		"route replace default " + foreign + " table 1 proto dhcp",
	} {
		since := time.Now()
		b.must(b.Router.Batch(command))
		b.wait("what "+command+" did is undone", soon, func() bool { return state() == want })
		b.says("put back what another program removed or changed", since, soon)
	}
	// Once it is gone, the place is ours too.
	b.must(b.Router.Batch("route del default table 4 metric 1 proto static"))
	b.wait("ours in its place", soon, func() bool {
		return !strings.Contains(b.table(4), "proto static") && strings.Count(b.table(4), "default") == 2
	})
	want = state()
	b.must(b.Router.Batch("route replace default " + foreign + " table 4 metric 1 proto static"))
	b.wait("it is undone", soon, func() bool { return state() == want })
	b.noLeaks()
}
