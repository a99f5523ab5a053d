package daemon_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ftr/internal/config"
	"ftr/internal/daemon"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/sim"
	"ftr/internal/status"
)

const bothFamilies = `uplinks:
- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, description: one, priority_group: 1, ipv6: auto}
- {interface: eth2, type: static, ip: 198.51.100.130, gateway: 198.51.100.129, description: two, priority_group: 1, weight: 2,
   ipv6: {gateway: "fe80::1", nat: none, prefix_file: /run/pd/eth2}}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, description: three, priority_group: 2, ipv6: auto}
- {interface: eth4, type: dhcp, description: four, priority_group: 2}
downlinks: {lan: lan0}
tests:
  ips: [198.51.100.1, 198.51.100.2, 198.51.100.3, "2001:db8:ff::1", "2001:db8:ff::2", "2001:db8:ff::3"]
  required_successful: 2
  interval: 1
base_priority: 20000
`

func parseWhole(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("test", []byte(text))
	if len(problems) != 0 {
		t.Fatalf("configuration: %v", problems)
	}
	return cfg
}

// defaults6 are the interfaces and weights of the IPv6 default route, if its spare is the same.
func (w *world) defaults6() string {
	var found [2]string
	for _, r := range w.have6().Routes {
		if r.Family != config.IPv6 || r.Table != w.cfg.Numbers.DefaultTable || r.Metric != 1024 && r.Metric != 1025 {
			continue
		}
		var hops []string
		for _, h := range r.NextHops {
			hops = append(hops, fmt.Sprintf("%s*%d", h.Interface, h.Weight))
		}
		found[r.Metric-1024] = strings.Join(hops, " ")
	}
	if found[0] != found[1] {
		return "spare differs: " + found[0] + " and " + found[1]
	}
	return found[0]
}

// have6 is what the simulated kernel holds of both families.
func (w *world) have6() routing.State {
	obs, err := w.kernel.Observe(context.Background(), routing.ScopeOf(w.cfg).Whole())
	if err != nil {
		w.t.Fatal(err)
	}
	return obs.Have
}

func (w *world) silence6(device string, silent bool) {
	w.network.SetFamily(device, config.IPv6, sim.Condition{RTT: 10 * time.Millisecond, Silent: silent})
}

// An uplink whose IPv6 alone dies: IPv4 stays on it, IPv6 moves, and only its connections are released.
func TestIPv6AloneDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, bothFamilies))
		opts := w.options(w.kernel)
		opts.Flows = w.kernel
		ctx, cancel := context.WithCancel(t.Context())
		d := daemon.New(opts)
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		start := func() bool { return w.defaults() == "eth1*1 eth2*2" && w.defaults6() == "eth1*1 eth2*2" }
		w.until(time.Second, "start", start)
		time.Sleep(20 * time.Second)
		for _, f := range []config.Family{config.IPv4, config.IPv6} {
			w.kernel.AddFlows(f, 1, 10)
			w.kernel.AddFlows(f, 2, 10)
		}
		w.silence6("eth1", true)
		took := w.until(5*time.Second, "IPv6 leaves eth1", func() bool { return w.defaults6() == "eth2*1" })
		if took > 1300*time.Millisecond {
			t.Errorf("the silence was noticed after %v, an interval is 1 s", took)
		}
		w.until(time.Second, "its IPv6 connections are released", func() bool { return w.kernel.Flows(config.IPv6, 1) == 0 })
		time.Sleep(time.Minute)
		if w.defaults() != "eth1*1 eth2*2" || w.kernel.Flows(config.IPv4, 1) != 10 || w.kernel.Flows(config.IPv6, 2) != 10 {
			t.Errorf("IPv4 uses %q, and has %d connections; the other line has %d over IPv6", w.defaults(), w.kernel.Flows(config.IPv4, 1), w.kernel.Flows(config.IPv6, 2))
		}
		if n := w.mailCount(); n != 1 || !strings.Contains(w.lastMail(), "Uplink one (eth1) IPv6: ip 2001:db8::2, gateway fe80::1, up --> down, routing --> standby (") ||
			!strings.Contains(w.lastMail(), "Uplink one (eth1): ip 192.0.2.2, gateway 192.0.2.1, up, routing\n") {
			t.Errorf("%d mails, the last:\n%s", n, w.lastMail())
		}
		if line := status.Line(w.last()); !strings.HasPrefix(line, "IPv4: 4 of 4 uplinks up: one, two, three, four; IPv6: 2 of 3 uplinks up: two, three; down: one (") {
			t.Errorf("the line for service managers: %s", line)
		}
		// The other way round, and the last group.
		w.silence6("eth2", true)
		w.until(5*time.Second, "IPv6 is on the next group", func() bool { return w.defaults6() == "eth3*1" })
		w.silence6("eth1", false)
		w.until(20*time.Second, "IPv6 is back on eth1", func() bool { return w.defaults6() == "eth1*1" })
		w.network.SetFamily("eth1", config.IPv4, sim.Condition{Silent: true})
		w.until(5*time.Second, "IPv4 leaves eth1", func() bool { return w.defaults() == "eth2*1" && w.defaults6() == "eth1*1" })
		w.network.SetFamily("eth1", config.IPv4, sim.Condition{RTT: 10 * time.Millisecond})
		w.silence6("eth2", false)
		w.until(30*time.Second, "all is well", start)
		// What the kernel says of the link is about both.
		w.must(w.kernel.SetCarrier("eth2", false))
		w.until(100*time.Millisecond, "both leave eth2", func() bool { return w.defaults() == "eth1*1" && w.defaults6() == "eth1*1" })
	})
}

// Nobody well over IPv6: its last selection stays, and IPv4 is as it was.
func TestIPv6AllDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, bothFamilies))
		defer w.run()()
		w.until(time.Second, "start", func() bool { return w.defaults6() == "eth1*1 eth2*2" })
		time.Sleep(20 * time.Second)
		for _, device := range []string{"eth1", "eth2", "eth3"} {
			w.silence6(device, true)
		}
		w.until(10*time.Second, "all are down", func() bool { return strings.Contains(w.lastMail(), "No uplink is well over IPv6") })
		time.Sleep(time.Minute)
		if w.defaults6() != "eth1*1 eth2*2" || w.defaults() != "eth1*1 eth2*2" {
			t.Errorf("IPv6 uses %q, IPv4 %q", w.defaults6(), w.defaults())
		}
		if v := status.NewView(w.last(), "", time.Now()); v.State != status.Degraded {
			t.Errorf("the state is %s: %s", v.State, v.Summary)
		}
	})
}

// Switching forwarding on does not cost the routes of router advertisements; neither does a restart.
func TestRouterAdvertisements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, bothFamilies))
		stop := w.run()
		w.until(time.Second, "start", func() bool { return w.defaults6() == "eth1*1 eth2*2" })
		values := map[string]string{}
		for _, s := range w.have6().Sysctls {
			values[s.Key] = s.Value
		}
		for key, want := range map[string]string{
			"net/ipv6/conf/all/forwarding": "1", "net/ipv6/fib_multipath_hash_policy": "1",
			"net/ipv6/conf/eth1/accept_ra": "2", "net/ipv6/conf/eth1/ignore_routes_with_linkdown": "1",
		} {
			if values[key] != want {
				t.Errorf("%s is %q, want %q", key, values[key], want)
			}
		}
		stop()
		steps := len(w.kernel.Applied())
		defer w.run()()
		time.Sleep(time.Minute)
		if again := w.kernel.Applied()[steps:]; len(again) != 0 || w.defaults6() != "eth1*1 eth2*2" {
			t.Errorf("after a restart: %q, and steps %v", w.defaults6(), again)
		}
		// The line's router is another one: its table follows, and it is judged anew.
		w.must(w.kernel.Advertise("eth1", netip.MustParseAddr("fe80::9")))
		w.until(time.Second, "the new router is used", func() bool {
			return slices.ContainsFunc(w.have6().Routes, func(r routing.Route) bool {
				return r.Table == 1 && r.Metric == 1024 && r.NextHops[0].Gateway == netip.MustParseAddr("fe80::9")
			})
		})
	})
}

// Where the kernel has missed the advertisements, since it was forwarding before, routers are asked: at once,
// and no more than three times where none answers.
func TestRoutersAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, bothFamilies))
		w.must(w.kernel.Play(routing.Step{Op: routing.Set, Sysctl: &routing.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"}}))
		w.kernel.SetRouter("eth1", netip.MustParseAddr("fe80::1"))
		began := time.Now()
		defer w.run()()
		asked := func(device string) int { return w.kernel.Solicitations(device) }
		w.until(time.Second, "eth1 has a router", func() bool { return w.defaults6() == "eth1*1 eth2*2" && asked("eth1") == 1 })
		for n, at := range []time.Duration{0, 4 * time.Second, 8 * time.Second} {
			w.until(time.Until(began.Add(at+time.Second)), "eth3 is asked again", func() bool { return asked("eth3") == n+1 })
			if since := time.Since(began); since < at {
				t.Errorf("eth3 was asked for the time %d after %s", n+1, since)
			}
		}
		time.Sleep(time.Minute)
		if one, two, three := asked("eth1"), asked("eth2"), asked("eth3"); one != 1 || two != 0 || three != 3 {
			t.Errorf("routers were asked %d, %d and %d times, want 1, 0 and 3", one, two, three)
		}
		if n := w.logs.count("no router has advertised itself: asking for one on eth3"); n != 1 {
			t.Errorf("it was told %d times", n)
		}
		// A line that comes back is asked anew.
		w.must(w.kernel.SetCarrier("eth3", false))
		time.Sleep(time.Second)
		w.must(w.kernel.SetCarrier("eth3", true))
		w.until(time.Second, "eth3 is asked anew", func() bool { return asked("eth3") == 4 })
	})
}

// A delegated prefix that comes and changes is followed within a second or so.
func TestDelegatedPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, bothFamilies))
		defer w.run()()
		w.until(time.Second, "start", func() bool { return w.defaults6() == "eth1*1 eth2*2" })
		prefixes := func() string {
			var from []string
			for _, r := range rulesOf(w.have6()) {
				if r.Family == config.IPv6 && r.From.IsValid() && !r.From.IsSingleIP() {
					from = append(from, r.String())
				}
			}
			return strings.Join(from, "; ")
		}
		if got := prefixes(); got != "" {
			t.Errorf("rules before a prefix is known: %s", got)
		}
		for _, p := range []string{"2001:db8:1200::/48", "2001:db8:3400::/56"} {
			w.kernel.SetPrefix("/run/pd/eth2", prefix(p))
			w.until(1500*time.Millisecond, p, func() bool { return prefixes() == "from "+p+" lookup 2 priority 20001 protocol 117" })
		}
		w.kernel.SetPrefix("/run/pd/eth2", netip.Prefix{})
		w.until(1500*time.Millisecond, "the prefix is gone", func() bool { return prefixes() == "" })
		if n := w.mailCount(); n != 0 {
			t.Errorf("%d mails, the last: %s", n, w.lastMail())
		}
	})
}

// The firewall follows a delegated prefix, and IPv6 has a deal of its own.
func TestFirewallFollowsPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, parseWhole(t, strings.Replace(bothFamilies, "nat: none", "nat: prefix", 1)+"firewall: managed\n"))
		opts := w.options(w.kernel)
		opts.Firewall, opts.Flows = w.kernel, w.kernel
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- daemon.New(opts).Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		chain := func(name string) string {
			for _, o := range w.kernel.Firewall().Objects {
				if o.Name == name {
					return strings.Join(o.Lines, "; ")
				}
			}
			return ""
		}
		w.until(5*time.Second, "start", func() bool { return w.defaults6() == "eth1*1 eth2*2" && chain("leave2") != "" })
		if got := chain("leave2"); strings.Contains(got, "prefix") || !strings.HasSuffix(got, "ip6 saddr != fe80::/10 masquerade") {
			t.Errorf("before a prefix is known: %s", got)
		}
		if four, six := chain("deal"), chain("deal6"); four == "" || four != six {
			t.Errorf("IPv4 is dealt %q, IPv6 %q", four, six)
		}
		for _, p := range []string{"2001:db8:1200::/48", "2001:db8:3400::/56"} {
			w.kernel.SetPrefix("/run/pd/eth2", prefix(p))
			w.until(1500*time.Millisecond, p, func() bool { return strings.Contains(chain("leave2"), "snat ip6 prefix to "+p+";") })
			// Connections that were translated to it are released when it changes, and no others.
			for _, f := range []config.Family{config.IPv4, config.IPv6} {
				w.until(time.Second, "connections of the prefix before are gone", func() bool { return w.kernel.Flows(config.IPv6, 2) == 0 })
				w.kernel.AddFlows(f, 2, 10)
			}
			w.kernel.AddFlows(config.IPv6, 1, 1)
		}
		if four, other := w.kernel.Flows(config.IPv4, 2), w.kernel.Flows(config.IPv6, 1); four != 20 || other != 2 {
			t.Errorf("%d connections over IPv4 and %d of the other line are left", four, other)
		}
	})
}

// A configuration without IPv6 takes away what the one before had, also after a restart.
func TestIPv6IsRemoved(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorldOf(t, parseWhole(t, bothFamilies))
			ctx, cancel := context.WithCancel(t.Context())
			d := daemon.New(w.options(w.kernel))
			done := make(chan error, 1)
			go func() { done <- d.Run(ctx) }()
			w.until(time.Second, "start", func() bool { return w.defaults6() == "eth1*1 eth2*2" })
			without := parse(t, threeStatic)
			if restart {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				w.cfg = without
				defer w.run()()
			} else {
				if err := d.Reload(ctx, without); err != nil {
					t.Error(err)
				}
				w.cfg = without
				defer func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}()
			}
			w.until(time.Second, "nothing of ours is left over IPv6", func() bool {
				have := w.have6()
				ours := slices.ContainsFunc(have.Rules, func(r routing.Rule) bool { return r.Family == config.IPv6 && r.Protocol == routing.RuleProtocol })
				return !ours && !slices.ContainsFunc(have.Routes, func(r routing.Route) bool { return r.Family == config.IPv6 })
			})
			time.Sleep(5 * time.Second)
			for _, u := range w.last().Uplinks {
				if u.Family != config.IPv4 || u.Health.State != health.Up {
					t.Errorf("uplink %s %s is %s", u.Name, u.Family, u.Health.State)
				}
			}
		})
	}
}
