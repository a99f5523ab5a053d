package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate
	}{
		{"10", 10 * Mbit}, {" 1.5mbit ", 1500 * Kbit}, {"512kbit", 512 * Kbit}, {"1Gbit", Gbit},
		{"", 0}, {"0", 0}, {"-1", 0}, {"NaN", 0}, {"Inf", 0}, {"1e9", 0}, {"7kbit", 0}, {"10 apples", 0},
	} {
		got, err := ParseRate(c.text)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestParseLines(t *testing.T) {
	for _, c := range []struct {
		n              int
		rates, weights string
		want           string
	}{
		{0, "10,20,30", "", "10 Mbit/s w1, 20 Mbit/s w2, 30 Mbit/s w3"},
		{0, "10,20,30", "1,1,1", "10 Mbit/s w1, 20 Mbit/s w1, 30 Mbit/s w1"},
		{2, "8", "5", "8 Mbit/s w5, 8 Mbit/s w5"},
		{0, "1,1000", "", "1 Mbit/s w1, 1000 Mbit/s w256"},
		{3, "10,20", "", `rates "10,20": want one for all lines, or one for each of 3`},
		{1, "10", "", "1 lines: want 2 to 250"},
		{0, "10,20", "1,2,3", `weights "1,2,3": want one for all lines, or one for each of 2`},
		{0, "10,20", "1,257", `weight "257": want 1 to 256`},
		{0, "10,fast", "", `rate "fast": want Mbit/s as a number, or a number with kbit, mbit or gbit, from 8kbit to 100gbit`},
	} {
		lines, err := ParseLines(c.n, c.rates, c.weights)
		var words []string
		for _, l := range lines {
			words = append(words, fmt.Sprintf("%s w%d", l.Rate, l.Weight))
		}
		got := strings.Join(words, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("ParseLines(%d, %q, %q): %s, want %s", c.n, c.rates, c.weights, got, c.want)
		}
	}
}

func TestPlanGivesEveryLineItsOwn(t *testing.T) {
	lines := make([]Line, maxLines)
	for i := range lines {
		lines[i].SharedGateway = i%2 == 1
	}
	plan, err := NewPlan(lines)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, l := range plan.Lines {
		if got, ok := plan.LineOf(l.Address); !ok || got != i {
			t.Errorf("address %s of line %d is said to be line %d's", l.Address, i+1, got+1)
		}
		for _, own := range []string{l.Interface, l.Address.String(), l.core.String(), l.peer.String()} {
			if j, ok := seen[own]; ok {
				t.Errorf("lines %d and %d both have %s", j+1, i+1, own)
			}
			seen[own] = i
		}
		if l.SharedGateway != (l.Gateway.String() == "100.64.255.254") {
			t.Errorf("line %d has gateway %s", i+1, l.Gateway)
		}
	}
	if _, ok := plan.LineOf(netip.MustParseAddr("192.168.1.2")); ok {
		t.Error("the client's own address is said to be a line's")
	}
	if _, err := NewPlan(make([]Line, maxLines+1)); err == nil {
		t.Error("more lines than the plan holds were accepted")
	}
}

func TestConfigText(t *testing.T) {
	plan, err := NewPlan([]Line{{Weight: 3}, {Kind: PPP, Group: 2}, {Kind: DHCP, Group: -1}})
	if err != nil {
		t.Fatal(err)
	}
	text := ConfigText(plan, "/run/lab-1", ConfigOptions{Interval: 250 * time.Millisecond, Timeout: 2 * time.Second, Extra: "fwmark_mask: 0xff\n"})
	want := `uplinks:
- interface: wan1
  type: static
  ip: 100.64.1.2
  gateway: 100.64.1.1
  description: Provider 1
  priority_group: 1
  weight: 3
- interface: wan2
  type: ppp
  description: Provider 2
  priority_group: 2
- interface: wan3
  type: dhcp
  description: Provider 3
downlinks:
`
	if got, _, _ := strings.Cut(text, "  lan: lan0"); got != want {
		t.Error(cmp.Diff(want, got))
	}
	for _, part := range []string{"  interval: 250ms\n  timeout: 2\n", "state: \"/run/lab-1/state\"\n", "\nfwmark_mask: 0xff\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the configuration:\n%s", part, text)
		}
	}
}

func TestSelected(t *testing.T) {
	plan, err := NewPlan(make([]Line, 3))
	if err != nil {
		t.Fatal(err)
	}
	const others = `{"type":"unicast","dst":"default","gateway":"100.64.1.1","dev":"wan1","table":"1","flags":[]},{"dst":"default","gateway":"192.0.2.1","dev":"lan0","flags":[]},`
	for name, c := range map[string]struct {
		routes string
		want   []NextHop
	}{
		"none": {`[` + others + `{"dst":"default","dev":"wan2","table":"2"}]`, nil},
		"one": {`[` + others + `{"dst":"default","gateway":"100.64.2.1","dev":"wan2","table":"4","flags":[]}]`,
			[]NextHop{{1, netip.MustParseAddr("100.64.2.1"), 1}}},
		"several, the lower metric counts, one without carrier": {`[{"dst":"default","dev":"wan1","table":"4","metric":1,"flags":[]},` + others +
			`{"dst":"default","table":"4","flags":[],"nexthops":[{"gateway":"100.64.1.1","dev":"wan1","weight":2,"flags":["linkdown"]},{"gateway":"100.64.3.1","dev":"wan3","weight":5,"flags":[]}]}]`,
			[]NextHop{{2, netip.MustParseAddr("100.64.3.1"), 5}}},
	} {
		got, err := plan.selected(c.routes, "4")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAttempts(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	failed := errors.New("failed")
	at := func(ms, line int, err error) Attempt {
		return Attempt{Start: start.Add(time.Duration(ms) * time.Millisecond), Line: line, Err: err}
	}
	a := Attempts{at(-50, 0, failed), at(0, 0, nil), at(1500, 0, failed), at(700, 0, failed), at(1600, 2, nil), at(1700, 2, nil), at(1800, 1, nil)}
	if got := a.Outage(start); got != 1500*time.Millisecond {
		t.Errorf("outage %s, want 1.5s", got)
	}
	if diff := cmp.Diff([]float64{0.25, 0.25, 0.5}, a.Shares(3)); diff != "" || a.Failed() != 3 {
		t.Errorf("%d failed, want 3; shares (-want +got):\n%s", a.Failed(), diff)
	}
	if got := (Attempts{at(-50, 0, failed)}).Outage(start); got != 0 {
		t.Errorf("a failure before the event counts as %s", got)
	}
}

func TestCountersAndPoints(t *testing.T) {
	got := parseCounters("Inter-|   Receive   |  Transmit\n face |bytes    packets\n  wan1: 100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n    lo:7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n broken: x\n")
	if diff := cmp.Diff(map[string][2]uint64{"wan1": {100, 50}, "lo": {7, 8}}, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	samples := []Sample{
		{Time: start, Down: []uint64{0, 1000}, Up: []uint64{0, 0}},
		{Time: start.Add(100 * time.Millisecond), Down: []uint64{125000, 1000}, Up: []uint64{0, 12500}},
		// Line 2's interface was made anew.
		{Time: start.Add(200 * time.Millisecond), Down: []uint64{125000, 500}, Up: []uint64{12500, 125}},
	}
	want := []Point{{100 * time.Millisecond, []float64{10, 1}}, {200 * time.Millisecond, []float64{1, 0.05}}}
	if diff := cmp.Diff(want, points(samples), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint64{137500, 13125}, carried(samples, 2)); diff != "" {
		t.Errorf("carried (-want +got):\n%s", diff)
	}
}

func TestMissingToolsAreNamedWithTheirPackages(t *testing.T) {
	missing := map[string]bool{"ip": true, "tc": true, "nft": true}
	err := checkTools(tools(nil), func(name string) error {
		if missing[name] {
			return exec.ErrNotFound
		}
		return nil
	})
	want := "the lab needs ip, tc, nft: apt-get install iproute2 nftables"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := checkTools(tools([]Line{{Kind: DHCP}}), func(name string) error {
		if name == "dnsmasq" {
			return exec.ErrNotFound
		}
		return nil
	}); err == nil || !strings.Contains(err.Error(), "apt-get install dnsmasq-base") {
		t.Errorf("without dnsmasq: %v", err)
	}
}

func TestStateInWords(t *testing.T) {
	for want, s := range map[string]lineState{
		"10 Mbit/s":                           {rate: 10 * Mbit},
		"not limited, cut":                    {cut: true},
		"1.5 Mbit/s, unplugged, cut":          {cut: true, unplugged: true, rate: 1500 * Kbit},
		"1 Mbit/s, loses 5 %":                 {rate: Mbit, lossUp: 5, lossDown: 5},
		"1 Mbit/s, loses 0 % up and 7 % down": {rate: Mbit, lossDown: 7},
	} {
		if got := s.String(); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
	want := []string{"flush chain inet lab impair", "add rule inet lab impair drop",
		`add rule inet lab impair iifname "core" drop`, `add rule inet lab impair iifname "customer" numgen random mod 100 < 5 drop`}
	if diff := cmp.Diff(want, lineState{cut: true, lossUp: 5, lossDown: 100}.rules()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
