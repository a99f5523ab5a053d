package daemon_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// Whatever happens to the lines, in whatever order, the kernel agrees with their health in the end.
func TestChaos(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, manyLines(8))
			stop := w.run()
			defer stop()
			dice := rand.New(rand.NewPCG(seed, 3))
			for range 200 {
				_, err := w.chaos.Step()
				w.must(err)
				if dice.IntN(10) == 0 {
					w.kernel.FailNext(errors.New("no buffer space available"))
				}
				if rules := rulesOf(w.have()); dice.IntN(10) == 0 && len(rules) > 0 {
					w.must(w.kernel.Play(routing.Step{Op: routing.Delete, Rule: &rules[dice.IntN(len(rules))]}))
				}
				time.Sleep(time.Duration(dice.IntN(3000)) * time.Millisecond)
			}
			w.until(10*time.Minute, "the kernel agrees with the health of the lines", func() bool {
				last := w.last()
				var up []string
				for i, u := range last.Uplinks {
					if u.Health.State == health.Up {
						up = append(up, fmt.Sprintf("%s*%d", u.Interface, w.cfg.Uplinks[i].Weight))
					}
				}
				return len(up) > 0 && w.defaults() == strings.Join(up, " ") && w.agreed()
			})
		})
	}
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		kind := []string{"ppp", "dhcp"}[i%2]
		fmt.Fprintf(&b, "- {interface: wan%d, type: %s, priority_group: 1, weight: %d}\n", i, kind, i+1)
	}
	return b.String()
}

// A daemon that is killed after any number of steps leaves nothing that the next one cannot go on from.
func TestKilledAtAnyStep(t *testing.T) {
	for steps := range 26 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, threeStatic)
			// All further steps fail: for the kernel that is the same as a program that is gone.
			obs, err := w.kernel.Observe(t.Context(), routing.ScopeOf(w.cfg))
			w.must(err)
			paths := routing.Resolve(w.cfg, &obs)
			selection := routing.Select(w.cfg, config.IPv4, paths, make([]health.Report, len(paths)), nil)
			plan := routing.Plan(w.cfg, obs.Have, routing.Want(w.cfg, &obs, paths, []routing.Selection{selection}))
			for _, s := range plan[:min(steps, len(plan))] {
				w.must(w.kernel.Apply(t.Context(), s))
			}
			stop := w.run()
			defer stop()
			w.until(2*time.Second, "the next run makes it whole", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		})
	}
}

// A restart adopts what is there: lines that were out stay out until they are found well, and nothing
// of the default route is written.
func TestRestartDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		stop := w.run()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*2" })
		w.silence("eth2", true)
		w.until(3*time.Second, "eth2 is out", func() bool { return w.defaults() == "eth1*1" })
		stop()
		before := len(w.kernel.Applied())
		stop = w.run()
		defer stop()
		time.Sleep(10 * time.Second)
		if steps := w.kernel.Applied()[before:]; len(steps) != 0 {
			t.Errorf("the restart changed the kernel: %v", steps)
		}
		w.silence("eth2", false)
		w.until(20*time.Second, "eth2 is back", func() bool { return w.defaults() == "eth1*1 eth2*2" })
	})
}

// What the original program left is taken over without a gap, for the same and a longer list of lines.
func TestAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeStatic)
		for _, text := range []struct {
			rule  routing.Rule
			count int
		}{
			{routing.Rule{Priority: 20000, From: prefix("192.0.2.2/32"), Table: 1}, 1},
			{routing.Rule{Priority: 20004, From: prefix("203.0.113.77/32"), Table: 5}, 1},
			{routing.Rule{Priority: 20005, Mark: 1, Mask: 0xffffffff, Table: 1}, 1},
			{routing.Rule{Priority: 20010, Table: 6}, 1},
		} {
			r := text.rule
			r.Family, r.SuppressPrefixLength, r.Protocol = config.IPv4, routing.NoSuppress, 3
			w.must(w.kernel.Play(routing.Step{Op: routing.Add, Rule: &r}))
		}
		for table, gateway := range map[uint32]string{1: "192.0.2.1", 5: "192.0.2.1", 6: "192.0.2.1"} {
			w.must(w.kernel.Play(routing.Step{Op: routing.Replace, Route: &routing.Route{
				Family: config.IPv4, Table: table, Type: routing.Unicast, Destination: prefix("0.0.0.0/0"), Protocol: 3,
				NextHops: []routing.NextHop{{Interface: "eth1", Gateway: prefix(gateway + "/32").Addr(), Weight: 1}},
			}}))
		}
		stop := w.run()
		defer stop()
		w.until(2*time.Second, "it agrees", func() bool { return w.defaults() == "eth1*1 eth2*2" && w.agreed() })
		scope := routing.ScopeOf(w.cfg)
		scope.Tables = append(scope.Tables, 5, 6)
		obs, err := w.kernel.Observe(t.Context(), scope)
		w.must(err)
		for _, r := range obs.Have.Routes {
			if r.Table == 5 || r.Table == 6 {
				t.Errorf("left over: %s", r)
			}
		}
		for _, r := range obs.Have.Rules {
			if r.Priority >= 19999 && r.Priority < 32766 && r.Protocol != routing.RuleProtocol {
				t.Errorf("left over: %s", r)
			}
		}
	})
}
