package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/routing"
	"ftr/internal/sim"
)

// released is a kernel that notes which connections it was told to forget, by their mark. The routes must
// lead elsewhere by then.
type released struct {
	*sim.Kernel
	world *world
	mu    sync.Mutex
	asked []uint32
	full  atomic.Bool // nothing can be written
}

func (r *released) Apply(ctx context.Context, s routing.Step) error {
	if r.full.Load() {
		return errors.New("no buffer space available")
	}
	return r.Kernel.Apply(ctx, s)
}

func (r *released) Release(ctx context.Context, f config.Family, mark, mask uint32) (int, error) {
	n, err := r.Kernel.Release(ctx, f, mark, mask)
	r.mu.Lock()
	defer r.mu.Unlock()
	if device := r.world.cfg.Uplinks[mark-1].Interface; strings.Contains(r.world.defaults(), device) {
		r.world.t.Errorf("connections of %s are released while routes lead to %s", device, r.world.defaults())
	}
	r.asked = append(r.asked, mark)
	return n, err
}

// take returns what was asked since the last time.
func (r *released) take() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	slices.Sort(asked)
	return asked
}

// threeGroups are two lines of group 1, one of 2 and one of 3.
func threeGroups(failback1, failback2 string) string {
	return fmt.Sprintf(`- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, priority_group: 1}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 2}
- {interface: eth4, type: static, ip: 203.0.113.130, gateway: 203.0.113.129, priority_group: 3}
groups: [{priority_group: 1, failback: %s}, {priority_group: 2, failback: %s}]
`, failback1, failback2)
}

// What becomes of the connections on standby lines when better ones carry again.
func TestFailback(t *testing.T) {
	type step struct {
		plug, unplug []string
		defaults     string   // that it leads to
		released     []uint32 // marks
	}
	out := func(defaults string, released []uint32, devices ...string) step {
		return step{unplug: devices, defaults: defaults, released: released}
	}
	in := func(defaults string, released []uint32, devices ...string) step {
		return step{plug: devices, defaults: defaults, released: released}
	}
	down12 := []uint32{1, 2}
	for _, tt := range []struct {
		name, first, second string
		steps               []step
	}{
		{"keep", "keep", "keep", []step{
			out("eth3*1", down12, "eth1", "eth2"),
			in("eth1*1 eth2*1", nil, "eth1", "eth2"),
		}},
		{"move", "move", "keep", []step{
			out("eth3*1", down12, "eth1", "eth2"),
			in("eth1*1", []uint32{3}, "eth1"),
			in("eth1*1 eth2*1", nil, "eth2"),
		}},
		{"a line of the same group", "move", "move", []step{
			out("eth2*1", []uint32{1}, "eth1"),
			in("eth1*1 eth2*1", nil, "eth1"),
		}},
		{"the group in between keeps, the best one moves all", "move", "keep", []step{
			out("eth4*1", []uint32{1, 2, 3}, "eth1", "eth2", "eth3"),
			in("eth3*1", nil, "eth3"),
			in("eth1*1", []uint32{3, 4}, "eth1"),
		}},
		{"only the group in between moves", "keep", "move", []step{
			out("eth4*1", []uint32{1, 2, 3}, "eth1", "eth2", "eth3"),
			in("eth3*1", []uint32{4}, "eth3"),
			in("eth1*1", nil, "eth1"),
		}},
		{"all dead in between", "move", "move", []step{
			out("eth3*1", down12, "eth1", "eth2"),
			out("", nil, "eth3", "eth4"),
			in("eth1*1", []uint32{3, 4}, "eth1"),
		}},
		{"it moves once", "move", "move", []step{
			out("eth3*1", down12, "eth1", "eth2"),
			in("eth1*1", []uint32{3}, "eth1"),
			out("eth3*1", []uint32{1}, "eth1"),
			in("eth1*1", []uint32{3}, "eth1"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, threeGroups(tt.first, tt.second))
				k := &released{Kernel: w.kernel, world: w}
				opts := w.options(w.kernel)
				opts.Flows = k
				_, stop := w.startWith(opts)
				defer stop()
				w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*1" })
				time.Sleep(5 * time.Second)
				for i, s := range tt.steps {
					for _, name := range s.unplug {
						w.must(w.kernel.SetCarrier(name, false))
					}
					for _, name := range s.plug {
						w.must(w.kernel.SetCarrier(name, true))
					}
					w.until(time.Minute, fmt.Sprintf("step %d leads to %s", i, s.defaults), func() bool {
						return s.defaults == "" || w.defaults() == s.defaults
					})
					time.Sleep(10 * time.Second)
					if diff := cmp.Diff(s.released, k.take()); diff != "" {
						t.Errorf("step %d, released (-want +got):\n%s", i, diff)
					}
				}
			})
		})
	}
}

// What the router itself sends moves back to a better group though a tunnel carries all else; the tunnel
// keeps its connections.
func TestFailbackUnderTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, `- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1, tunnel: yes}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, priority_group: 2}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 3}
groups: [{priority_group: 1, failback: keep}, {priority_group: 2, failback: move}]
`)
		k := &released{Kernel: w.kernel, world: w}
		opts := w.options(w.kernel)
		opts.Flows = k
		_, stop := w.startWith(opts)
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1" })
		for _, step := range []struct {
			plugged bool
			want    []uint32
		}{{false, []uint32{2}}, {true, []uint32{3}}, {false, []uint32{2}}, {true, []uint32{3}}} {
			w.must(w.kernel.SetCarrier("eth2", step.plugged))
			time.Sleep(time.Minute)
			if diff := cmp.Diff(step.want, k.take()); diff != "" {
				t.Errorf("eth2 plugged in %t, released (-want +got):\n%s", step.plugged, diff)
			}
		}
		if w.defaults() != "eth1*1" {
			t.Errorf("routes lead to %s", w.defaults())
		}
	})
}

// The routes come first: while the kernel does not take them, nothing is moved, and what is selected again
// by then stays.
func TestFailbackWaitsForTheRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, threeGroups("move", "move"))
		k := &released{Kernel: w.kernel, world: w}
		opts := w.options(k)
		opts.Flows = k
		_, stop := w.startWith(opts)
		defer stop()
		w.until(time.Second, "start", func() bool { return w.defaults() == "eth1*1 eth2*1" })
		w.must(errors.Join(w.kernel.SetCarrier("eth1", false), w.kernel.SetCarrier("eth2", false)))
		w.until(time.Second, "standby", func() bool { return w.defaults() == "eth3*1" })
		time.Sleep(time.Minute)
		k.take()
		w.kernel.AddFlows(config.IPv4, 3, 7)

		k.full.Store(true)
		w.must(w.kernel.SetCarrier("eth1", true))
		w.until(time.Minute, "the kernel refuses", func() bool { return w.logs.count("the kernel does not agree yet") > 0 })
		time.Sleep(2 * time.Second)
		if asked := k.take(); len(asked) != 0 || w.kernel.Flows(config.IPv4, 3) != 7 {
			t.Errorf("released before the routes were there: %v", asked)
		}
		k.full.Store(false)
		w.until(time.Minute, "the connections are moved", func() bool { return w.kernel.Flows(config.IPv4, 3) == 0 })
		if diff := cmp.Diff([]uint32{3}, k.take()); diff != "" {
			t.Errorf("released (-want +got):\n%s", diff)
		}
		if w.logs.count("eth3: its connections were released: preferred lines carry again") != 1 {
			t.Error("it was not told")
		}
	})
}
