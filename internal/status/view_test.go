package status_test

import (
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
	"ftr/internal/status"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata, or elsewhere.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", name, diff)
	}
}

var (
	noon    = time.Date(2026, 11, 22, 12, 3, 0, 0, time.UTC)
	started = time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC)
)

// up1 and up2 are two lines that are well.
func up1() status.Uplink {
	return status.Uplink{
		Name: "Fibre", Interface: "eth1", Family: config.IPv4, Address: addr("192.0.2.2"), Gateway: addr("192.0.2.1"),
		Health: health.Report{
			State: health.Up, Since: started, Reason: "the required 4 of 6 targets answer",
			RTT: 8200 * time.Microsecond, HasRTT: true, Jitter: 400 * time.Microsecond, Loss: 0,
		},
		Verdict: health.Up, Routing: true, Weight: 3, Grouped: true, Group: 1, Configured: 3,
	}
}

func up2() status.Uplink {
	u := up1()
	u.Name, u.Interface, u.Address, u.Gateway = "Cable", "eth2", addr("198.51.100.130"), addr("198.51.100.129")
	u.Weight, u.Configured = 1, 1
	u.Health.RTT, u.Health.Jitter, u.Health.Loss = 31*time.Millisecond, 3*time.Millisecond, 0.0156
	return u
}

// dead is a silent line.
func dead() status.Uplink {
	u := up2()
	u.Health.State, u.Verdict, u.Routing, u.Weight = health.Down, health.Down, false, 0
	u.Health.Since, u.Health.Reason, u.Health.Loss = noon.Add(-2*time.Minute), "6 of 6 targets silent for 0.3 s", 1
	u.Last = status.Event{Time: noon.Add(-2 * time.Minute), Text: "up --> down, routing --> standby"}
	return u
}

func unjudged() status.Uplink {
	u := up2()
	u.Name, u.Interface, u.Gateway, u.Routing, u.Weight = "ppp0", "ppp0", addr(""), false, 0
	u.Health = health.Report{State: health.Unknown, Since: noon, Reason: "not asked yet", Loss: math.NaN()}
	return u
}

// crowd has one of everything, with names that are hard to lay out.
func crowd() *status.Snapshot {
	degraded, held, hand, forced, ipv6 := up2(), dead(), up2(), up2(), up1()
	degraded.Name, degraded.Interface, degraded.Metered = "光回線 東京 (NTT)", "enp3s0f1", true
	degraded.Health.Degraded, degraded.Health.WeightPercent, degraded.Health.Doubt = "12 % of 60 round trips lost within 1 min", 25, true
	held.Name, held.Interface = "The old ADSL line in the cellar, which nobody wants to pay for any longer", "ppp0"
	held.Health.HeldUntil, held.Health.Flaps, held.Health.Flapping = noon.Add(90*time.Second), 5, true
	hand.Name, hand.Interface, hand.Mode = "LTE\x1b[31m", "wwan0", status.ForcedDown
	hand.Health.State, hand.Health.Reason, hand.Routing, hand.Weight = health.Down, "taken out of use by hand", false, 0
	forced.Name, forced.Interface, forced.Mode, forced.Grouped, forced.Routing, forced.Weight = "Satellite", "eth0.100", status.ForcedUp, false, false, 0
	forced.Health.Reason = "forced up by hand: 6 of 6 targets silent: network is unreachable"
	ipv6.Family, ipv6.Address, ipv6.Gateway, ipv6.Weight = config.IPv6, addr("2001:db8:1234:5678:9abc:def0:1234:5678"), addr("fe80::1"), 1
	return &status.Snapshot{
		Time:    noon,
		Uplinks: []status.Uplink{up1(), degraded, held, hand, forced, unjudged(), ipv6},
		Warnings: []routing.Warning{{
			Code: "fight", Subject: "ip rule add priority 20005 lookup 105",
			Text: "another program undoes this each time; it is put back only every 10 s now",
			Cure: "find the program (ip monitor shows when it acts) and keep it from our tables and rules",
		}},
		Configuration: status.Configuration{
			File: config.DefaultPath, Loaded: started,
			Refused: &status.LoadError{File: config.DefaultPath, Time: noon.Add(-time.Hour), Problems: mistakes()},
		},
	}
}

// mistakes are the problems of a wrong file.
func mistakes() []config.Problem {
	return []config.Problem{
		{File: config.DefaultPath, Line: 5, Column: 3, Path: "uplinks[0].wait", Message: "is not a known key here", Suggestion: "weight"},
		{File: config.DefaultPath, Line: 9, Column: 13, Path: "uplinks[1].weight", Value: "900", Message: "is out of range", Allowed: "a number from 1 to 256"},
		{Severity: config.Warning, File: config.DefaultPath, Path: "email", Message: "is sent without encryption"},
	}
}

func pair() *status.Snapshot {
	return &status.Snapshot{
		Time: noon, Uplinks: []status.Uplink{up1(), up2()},
		Configuration: status.Configuration{File: config.DefaultPath, Loaded: started},
	}
}

func view(s *status.Snapshot) status.View { return status.NewView(s, "1.2.3", started) }

func TestViewInJSON(t *testing.T) {
	failing := pair()
	failing.Uplinks[1] = dead()
	failing.Uplinks[0].Weight = 3
	text, err := json.MarshalIndent(view(failing), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/view.json", string(text)+"\n")
	document(t, "../../docs/api.md", "status", "```json\n"+string(text)+"\n```\n")

	text, err = json.MarshalIndent(view(crowd()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/crowd.json", string(text)+"\n")
	var back status.View
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(back, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		t.Errorf("what a program reads is not what was written (-written +read):\n%s", diff)
	}
}

// document holds an example in the documentation to what the program writes.
func document(t *testing.T, file, name, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`(?s)(<!-- ` + name + `: made by a test -->\n).*?(<!-- end -->\n)`)
	m := place.FindStringSubmatchIndex(string(text))
	if m == nil {
		t.Fatalf("%s has no place for the example %s", file, name)
	}
	golden(t, file, string(text[:m[3]])+want+string(text[m[4]:]))
}

// An empty snapshot, and one of zero values, still make valid JSON without null lists.
func TestViewOfNothing(t *testing.T) {
	for _, s := range []*status.Snapshot{{}, {Uplinks: []status.Uplink{{Health: health.Report{Loss: math.Inf(1)}}}}} {
		text, err := json.Marshal(view(s))
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{"problems", "uplinks", "selections", "warnings"} {
			if strings.Contains(string(text), `"`+list+`":null`) {
				t.Errorf("%s is null: %s", list, text)
			}
		}
	}
}

func TestOverall(t *testing.T) {
	hand, forced, held := up2(), up2(), dead()
	hand.Mode, hand.Health.State, hand.Routing, hand.Weight = status.ForcedDown, health.Down, false, 0
	forced.Mode = status.ForcedUp
	held.Health.HeldUntil = noon
	spare := up2()
	spare.Grouped, spare.Routing, spare.Weight = false, false, 0
	silent := dead()
	silent.Interface, silent.Name, silent.Routing, silent.Weight = "eth1", "Fibre", true, 3
	silent6 := silent
	silent6.Family = config.IPv6
	refused := status.Configuration{Refused: &status.LoadError{File: "x", Err: errors.New("read x: no such file or directory")}}
	for _, tt := range []struct {
		name     string
		snapshot status.Snapshot
		state    status.Overall
		summary  string
	}{
		{"all well", status.Snapshot{Uplinks: []status.Uplink{up1(), up2()}}, status.OK, "All 2 uplinks are well."},
		{"one line", status.Snapshot{Uplinks: []status.Uplink{up1()}}, status.OK, "The only uplink is well."},
		{"maintenance", status.Snapshot{Uplinks: []status.Uplink{up1(), hand}}, status.OK, "1 uplink well, 1 out of use by hand."},
		{"forced", status.Snapshot{Uplinks: []status.Uplink{up1(), forced}}, status.Degraded, "Cable (eth2) is forced up."},
		{"one down", status.Snapshot{Uplinks: []status.Uplink{up1(), dead()}}, status.Degraded, "Cable (eth2) is down."},
		{"held back", status.Snapshot{Uplinks: []status.Uplink{up1(), held}}, status.Degraded, "Cable (eth2) is held back."},
		{"start", status.Snapshot{Uplinks: []status.Uplink{up1(), unjudged()}}, status.Degraded, "ppp0 is not judged yet."},
		{"reload", status.Snapshot{Uplinks: []status.Uplink{up1()}, Configuration: refused}, status.Degraded, "the configuration was not reloaded."},
		{"warnings", status.Snapshot{Uplinks: []status.Uplink{up1()}, Warnings: make([]routing.Warning, 2)}, status.Degraded, "2 warnings."},
		{"all dead, the last stays", status.Snapshot{Uplinks: []status.Uplink{silent, dead()}, Kept: []config.Family{config.IPv4}}, status.Failed, "No uplink is known to work."},
		{"none carries", status.Snapshot{Uplinks: []status.Uplink{dead(), spare}}, status.Failed, "No uplink is known to work."},
		{"none is meant to carry", status.Snapshot{Uplinks: []status.Uplink{spare}}, status.OK, "The only uplink is well."},
		{"one family is dead", status.Snapshot{Uplinks: []status.Uplink{up1(), silent6}, Kept: []config.Family{config.IPv6}}, status.Degraded, "Fibre (eth1) IPv6 is down."},
		{"many", status.Snapshot{Uplinks: []status.Uplink{up1(), dead(), dead(), dead(), dead(), dead()}}, status.Degraded,
			"Cable (eth2) is down; Cable (eth2) is down; Cable (eth2) is down; 2 more problems."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := view(&tt.snapshot)
			if v.State != tt.state || v.Summary != tt.summary {
				t.Errorf("%s: %q, want %s: %q", v.State, v.Summary, tt.state, tt.summary)
			}
			if (v.State == status.OK) != (len(v.Problems) == 0) && v.State != status.Failed {
				t.Errorf("%s with the problems %q", v.State, v.Problems)
			}
		})
	}
}

func TestFind(t *testing.T) {
	twin := up2()
	twin.Interface = "eth9"
	confusing := up1()
	confusing.Name, confusing.Interface = "eth1", "eth7"
	v := view(&status.Snapshot{Uplinks: []status.Uplink{up1(), up2(), twin, confusing}})
	for _, tt := range []struct{ name, want string }{
		{"Fibre", "eth1"},
		{"fibre", "eth1"},
		{"eth1", "eth1"},
		{"eth2", "eth2"},
		{"ETH9", "eth9"},
		{"Cable", `"Cable" is the name of several uplinks: name one by its interface: eth2, eth9`},
		{"Fiber", `there is no uplink "Fiber": did you mean "Fibre"?`},
		{"eth12", `there is no uplink "eth12": did you mean "eth1"?`},
		{"satellite", `there is no uplink "satellite"; there are: Fibre, Cable, eth1`},
	} {
		found, err := v.Find(tt.name)
		got := ""
		if err != nil {
			got = err.Error()
		} else if len(found) == 1 {
			got = found[0].Interface
		}
		if got != tt.want {
			t.Errorf("find %s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What happened to an uplink last is remembered over cycles in which nothing happens.
func TestLast(t *testing.T) {
	before := take(nil, false, well1, well2)
	if before.Uplinks[0].Last != (status.Event{}) {
		t.Errorf("an event at the start: %v", before.Uplinks[0].Last)
	}
	after := take(before, false, dead1, moved2)
	still := take(after, false, dead1, moved2)
	still.Time = noon
	for i, want := range []string{"up --> down, routing --> standby", "ip 10.0.0.2 --> 10.9.9.9, gateway 10.0.0.1 --> 10.9.9.1"} {
		if got := still.Uplinks[i].Last; got.Text != want || !got.Time.Equal(after.Time) {
			t.Errorf("last event %v, want %q at %v", got, want, after.Time)
		}
	}
}

func TestMode(t *testing.T) {
	for _, m := range []status.Mode{status.Auto, status.ForcedDown, status.ForcedUp} {
		text, err := m.MarshalText()
		var back status.Mode = 99
		if err != nil || back.UnmarshalText(text) != nil || back != m {
			t.Errorf("%v is %q, read as %v", m, text, back)
		}
	}
	var m status.Mode
	if err := m.UnmarshalText([]byte("DOWN")); err == nil {
		t.Error("DOWN is a mode")
	}
}
