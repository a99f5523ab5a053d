package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name    string
		samples []float64
		never   int
		want    spread
	}{
		{"one", []float64{7}, 0, spread{1, 7, 7, 7, 7, 7}},
		{"interpolated", []float64{4, 1, 3, 2}, 0, spread{4, 1, 1.75, 2.5, 3.25, 4}},
		{"one never", []float64{1, 2}, 1, spread{3, 1, 1.5, 2, math.Inf(1), math.Inf(1)}},
		{"all never", nil, 2, spread{2, math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)}},
	} {
		f := Figure{Samples: c.samples, Never: c.never}
		if diff := cmp.Diff(c.want, f.spread(), cmp.AllowUnexported(spread{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		figure Figure
		want   string
	}{
		{Figure{Goal: both(10, 50), Samples: []float64{9, 10, 50}}, held},
		{Figure{Goal: both(10, 50), Samples: []float64{9, 10.1, 50}}, missed},
		{Figure{Goal: both(10, 50), Samples: []float64{9, 10, 50.1}}, missed},
		{Figure{Goal: median(10), Samples: []float64{9, 10, 1000}}, held},
		{Figure{Goal: median(10), Samples: []float64{9, 9}, Never: 1}, held},
		{Figure{Goal: worst(1000), Samples: []float64{9, 9}, Never: 1}, missed},
		{Figure{Goal: worst(0), Samples: []float64{0}}, held},
		{Figure{Goal: worst(0), Samples: []float64{1}}, missed},
		{Figure{Samples: []float64{1}}, measured},
		{Figure{Goal: worst(5)}, failed},
		{Figure{Goal: worst(5), Samples: []float64{1}, Error: "no"}, failed},
		{Figure{Skipped: "other program"}, skipped},
	} {
		if got := c.figure.Verdict(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.figure, got, c.want)
		}
	}
}

func TestHeldNeedsAllGoals(t *testing.T) {
	good, bad, none := &Figure{Goal: worst(0), Samples: []float64{0}}, &Figure{Goal: worst(0), Samples: []float64{1}}, &Figure{Error: "broken"}
	for _, c := range []struct {
		figures []*Figure
		want    bool
	}{{nil, false}, {[]*Figure{good}, true}, {[]*Figure{good, bad}, false}, {[]*Figure{good, none}, false}} {
		if got := (&result{Figures: c.figures}).held(); got != c.want {
			t.Errorf("%d figures: %v, want %v", len(c.figures), got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, v := range map[string]float64{
		"–": math.NaN(), "never": math.Inf(1), "0": 0, "3": 3, "1500": 1500, "123": 123.4, "12.3": 12.34, "1.23": 1.234, "0.012": 0.0123, "-0.57": -0.571,
	} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestUsers(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	bad := errors.New("i/o timeout")
	all := &trials{
		list: []trial{{broken: at(10), restored: at(14)}, {broken: at(20), restored: at(24)}},
		attempts: []attempt{
			{start: at(9), err: bad}, // before everything
			{start: at(9.95), connect: time.Second},
			{start: at(10.2), connect: time.Second},
			{start: at(10.3), connect: time.Millisecond},
			{start: at(15), err: bad},
			{start: at(20.1), err: bad},
		},
	}
	got := map[string][]float64{}
	for _, f := range all.users("x") {
		got[f.What] = f.Samples
	}
	want := map[string][]float64{
		"x: connect() not completed within 3 s, for each failure": {0, 1},
		"x: new connections fail for clients that wait 0.5 s":     {200, 100},
		"x ends: connections that fail at failback":               {1, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSpared(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	all := &trials{
		list: []trial{{line: 1, broken: at(10), restored: at(14)}},
		moves: []move{
			{at(11), 1, false}, // broken
			{at(15), 1, true},
			{at(12), 2, false}, // another line
			{at(20), 1, false}, // well again
		},
	}
	if got := all.spared().Samples[0]; got != 2 {
		t.Errorf("%v healthy lines taken out, want 2", got)
	}
}

func TestReplaceSection(t *testing.T) {
	for _, c := range []struct{ name, old, want string }{
		{"new file", "", "# Benchmarks\n\n## Failover\n\nnew\n"},
		{"at the end", "# Benchmarks\n\n## Traffic\n\ntext\n", "# Benchmarks\n\n## Traffic\n\ntext\n\n## Failover\n\nnew\n"},
		{"in the middle", "# B\n\n## Failover\n\nold\n\n### part\n\n## Traffic\n\ntext\n", "# B\n\n## Failover\n\nnew\n\n## Traffic\n\ntext\n"},
		{"last", "# B\n\n## Failover\n\nold\n", "# B\n\n## Failover\n\nnew\n"},
		{"other headings", "# B\n\n## Failover times\n\nold\n", "# B\n\n## Failover times\n\nold\n\n## Failover\n\nnew\n"},
	} {
		if diff := cmp.Diff(c.want, replaceSection(c.old, "## Failover", "## Failover\n\nnew\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReportAndChart(t *testing.T) {
	r := &result{Program: "a<b & c", Figures: []*Figure{
		{Phase: "carrier", What: "route changed", Unit: "ms", Goal: both(10, 50), Samples: []float64{5, 6, 60}, Note: "why"},
		{Phase: "flow", What: "flow resumes", Unit: "ms", Never: 2, Limit: 30 * time.Second},
		{Phase: "cost", What: "memory", Unit: "MB", Goal: worst(25), Samples: []float64{20}},
	}}
	text := r.section("bench.svg")
	for _, want := range []string{
		"| carrier | route changed | median ≤ 10, worst ≤ 50 ms | 6 ms | 60 ms | 5 / 5.50 / 6 / 33 / 60 | 3 | **missed** |",
		"| cost | memory | ≤ 25 MB | 20 MB | 20 MB | – | 1 | held |", "- carrier: route changed: why", "- flow: flow resumes: 2 times not within 30s",
		"](bench.svg)", "| the original, example file (interval 60) | 81.6 s | – | never |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	d := xml.NewDecoder(strings.NewReader(r.chart()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
	if strings.Contains(r.chart(), "memory") || !strings.Contains(r.chart(), "never") {
		t.Error("the chart must hold the times, and what never happened, and nothing else")
	}
}

func TestReadings(t *testing.T) {
	net := "Inter-|   Receive\n face |bytes\n  wan1: 100 2 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n"
	if got := parseCounters(net)["wan1"]; got != (counters{150, 3}) {
		t.Errorf("counters of wan1: %+v", got)
	}
	netstat := "TcpExt: InOctets\nTcpExt: 5\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 1 40 60\n"
	if got := octets(netstat); got != 100 {
		t.Errorf("octets: %v, want 100", got)
	}
	snmp6 := "ifIndex\t2\nIp6InReceives\t3\nIp6OutRequests\t2\nIp6InOctets\t150\nIp6OutOctets\t100\n"
	if got := parseSNMP6(snmp6); got != (counters{250, 5}) {
		t.Errorf("counters of IPv6: %+v, want 250 bytes in 5 packets", got)
	}
	stat := "12 (a (b) c) S 1 1 1 0 -1 4194560 1 2 3 4 10 20 3 4 20 0 5 0 100"
	if got, err := cpuTime(stat); got != 370*time.Millisecond || err != nil {
		t.Errorf("CPU time: %s, %v, want 370 ms", got, err)
	}
	if _, err := cpuTime("12 (a"); err == nil {
		t.Error("a short line has no CPU time")
	}
	if got := kilobytes("Name: x\nVmRSS:\t   1000 kB\n", "VmRSS:"); got != 1.024 {
		t.Errorf("memory: %v MB, want 1.024", got)
	}
	if got := field("Name: x\nThreads:\t9\nEmpty:\n", "Threads:"); got != 9 {
		t.Errorf("threads: %v, want 9", got)
	}
}

// What the first and the last flaps have in common is no growth, even where single samples stick out.
func TestGrowth(t *testing.T) {
	steady := []process{{files: 30}, {files: 31}, {files: 90}, {files: 31}, {files: 32}, {files: 31}}
	leak := make([]process, 400)
	for k := range leak {
		leak[k].files = 30 + k/50
	}
	for _, c := range []struct {
		name    string
		samples []process
		want    string
	}{
		{"steady", steady, held},
		{"one in 50 flaps is lost", leak, missed},
	} {
		f := growth("descriptors", "", 2, c.samples, func(p process) float64 { return float64(p.files) })
		if got := f.Verdict(); got != c.want {
			t.Errorf("%s: %v (%s): %s, want %s", c.name, f.Samples, f.Note, got, c.want)
		}
	}
}

// Phases that are measured again take the place of those of an earlier run, and the others stay.
func TestAddEarlierRun(t *testing.T) {
	r := func(runs int, phases ...string) *result {
		r := &result{Runs: runs, Took: time.Minute}
		for _, p := range phases {
			r.Figures = append(r.Figures, &Figure{Phase: p, Samples: []float64{float64(runs)}})
			r.Noise = append(r.Noise, PhaseNoise{Phase: p})
		}
		return r
	}
	now := r(5, "footprint", "silent")
	now.add(r(20, "carrier", "silent", "idle", "footprint"))
	var got []string
	for i, f := range now.Figures {
		got = append(got, fmt.Sprintf("%s %v", f.Phase, f.Samples[0]))
		if now.Noise[i].Phase != f.Phase {
			t.Errorf("noise of %s beside %s", now.Noise[i].Phase, f.Phase)
		}
	}
	if want := []string{"carrier 20", "silent 5", "idle 20", "footprint 5"}; !slices.Equal(got, want) || now.Took != 2*time.Minute {
		t.Errorf("%v in %v, want %v", got, now.Took, want)
	}
}

// A run over IPv6 has a section of its own, and takes nothing from one over IPv4.
func TestFamilies(t *testing.T) {
	r := &result{Family: ipv6, Program: "p", Figures: []*Figure{{Phase: "silent", What: "route changed", Unit: "ms", Samples: []float64{5}}}}
	old := "# B\n\n## Failover\n\nfour\n\n## Failover over IPv6\n\nold\n"
	text := replaceSection(old, r.heading(), r.section(""))
	for want, there := range map[string]bool{
		"## Failover\n\nfour\n": true, "## Failover over IPv6\n\nWritten by": true, "| silent | route changed |": true, "\nold\n": false, "the original, example file": false,
	} {
		if strings.Contains(text, want) != there {
			t.Errorf("%q: want %v in\n%s", want, there, text)
		}
	}
	path := filepath.Join(t.TempDir(), "bench.json")
	for content, want := range map[string]string{`{}`: "is one of IPv4, and IPv6 is measured now", `{"family": 6}`: "<nil>"} {
		if err := store(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := recall(path, ipv6); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
}
