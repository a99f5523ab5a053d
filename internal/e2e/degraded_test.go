package e2e_test

import (
	"encoding/json"
	"testing"
	"time"
)

// A line that loses packets keeps a part of its weight with action weight: in the kernel's next hops, in
// what ftr status says, and in the connections that are made.
func TestDegradedWeight(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.start(edit(t, b.Config(), "tests:\n", "tests:\n  min_timeout: 0.1\n  quality: {loss: 15, action: weight, weight: 10}\n", "interval: 1\n", "interval: 0.1\n"))
	b.uses(10*time.Second, 0, 1, 2)
	b.must(b.Lose(0, 15, 0))
	weights := func(want ...int) func() bool {
		return func() bool {
			hops, err := b.Selected()
			b.must(err)
			ok := len(hops) == len(want)
			for _, h := range hops {
				ok = ok && h.Weight == want[h.Line]
			}
			return ok
		}
	}
	b.wait("next hops with less weight for line 1", time.Minute, weights(1, 10, 10))
	var shown struct {
		Uplinks []struct {
			State   string  `json:"state"`
			Percent int     `json:"weight_percent"`
			Share   float64 `json:"share"`
		} `json:"uplinks"`
	}
	text, code := b.output("status", "--json")
	b.must(json.Unmarshal([]byte(text), &shown))
	if u := shown.Uplinks[0]; code != 1 || u.State != "up" || u.Percent != 10 || u.Share != 0.0476 {
		t.Errorf("status: exit code %d, %+v", code, u)
	}
	b.wait("a plan that keeps the weights", 15*time.Second, func() bool {
		text, code := b.output("plan")
		return code == 0 && text == "# nothing: the kernel agrees with the configuration\n"
	})
	b.must(b.StopDaemon())
	before := b.tables()
	b.restart()
	for range 10 {
		b.pause(200 * time.Millisecond)
		if after := b.tables(); after != before {
			t.Fatalf("after a restart the routes are\n%s\nwant\n%s", after, before)
		}
	}
	attempts := b.Spread(t.Context(), b.Plan.Servers[0], 300, 5*time.Second)
	if share := attempts.Shares(3)[0]; share > 0.12 {
		t.Errorf("the bad line carried %.3f of the connections, want about 0.048", share)
	}
	b.must(b.Restore(0))
	b.wait("equal weights again", time.Minute, weights(1, 1, 1))
}
