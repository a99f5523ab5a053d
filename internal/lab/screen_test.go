package lab

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// example is an outcome with something of everything.
func example() *Result {
	r := &Result{
		Started: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Duration: 95 * time.Second, Interval: time.Second,
		Lines: []LineResult{
			{Number: 1, Interface: "wan1", Rate: 10 * Mbit, Weight: 1, Share: 0.17, Single: 9.56, Downloads: 5, Together: 9.5, Established: "went on", Incoming: "100 of 100", Bytes: 12_345_678},
			{Number: 2, Interface: "wan2", Rate: 20 * Mbit, Weight: 2, Share: 0.83, Downloads: 19, Together: 19, Failure: "silent cut", FailedFor: 1250 * time.Millisecond, Established: "stalled 3.2 s, went on", Incoming: "99 of 100", Bytes: 30_000_000},
		},
		Rows: []Row{
			{Step: "lines come up", What: "all lines in use", Expected: "within 5 s", Measured: "0.30 s", OK: true},
			{Step: "incoming connections", What: "router answers", Expected: "200 of 200", Measured: "199 of 200: <script>alert(1)</script>", OK: false},
		},
		Steps:  []Mark{{At: 0, Line: -1, Text: "lines come up", Done: true}, {At: 2 * time.Second, Line: -1, Text: "incoming connections", Done: true}},
		Events: []Mark{{At: time.Second, Line: 1, Text: "is cut silently upstream", Done: true}, {At: 2 * time.Second, Line: -1, Text: "Uplinks status change"}},
	}
	for k := range 40 {
		r.Points = append(r.Points, Point{At: time.Duration(k+1) * 100 * time.Millisecond, Mbits: []float64{10, float64(k) / 2}})
	}
	return r
}

func TestTable(t *testing.T) {
	want := `
What each line did
                              wan1                    wan2      all
rate, Mbit/s                    10                      20       30
weight                           1                       2        3
share of connections        17.0 %                  83.0 %
one download, Mbit/s           9.6                       –
downloads at once                5                      19       24
together, Mbit/s               9.5                    19.0     28.5
new connections failed                  1.25 s, silent cut
established download       went on  stalled 3.2 s, went on
incoming answered       100 of 100               99 of 100
carried                    12.3 MB                 30.0 MB  42.3 MB

What did not hold
incoming connections
  ✗ router answers
      199 of 200: <script>alert(1)</script>
      expected: 200 of 200

1 of 2 expectations did not hold in 1m35s.
`
	if diff := cmp.Diff(want, example().Table(100, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, line := range strings.Split(example().Table(40, true), "\n") {
		if width(line) > 40 && !strings.Contains(line, "did not hold") {
			t.Errorf("on 40 columns: %d: %q", width(line), line)
		}
	}
}

// The page needs nothing else, and what programs said cannot become part of it.
func TestReport(t *testing.T) {
	var b bytes.Buffer
	if err := example().WriteReport(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url(", "<link"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	for _, part := range []string{
		"&lt;script&gt;alert(1)", "1 of 2 expectations did not hold", "0:01  line 2 is cut silently upstream",
		`"wan1","values":[10,10,`, `<meta name="viewport"`, "prefers-color-scheme: dark", `class="limit"`,
	} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has text that was not escaped, or that the template refused")
	}
}

func TestChart(t *testing.T) {
	r := &Result{
		Lines:  []LineResult{{Interface: "wan1", Rate: 10 * Mbit}},
		Points: []Point{{time.Second, []float64{0}}, {2 * time.Second, []float64{11}}, {4 * time.Second, []float64{99}}},
		Events: []Mark{{At: time.Second, Line: 0, Text: "is cut", Done: true}, {At: time.Second, Line: 0, Text: "said"}},
	}
	want := chart{
		Title: "wan1 · 10 Mbit/s", Curve: "M250 100L500 0L1000 0", Area: "M250 100L500 0L1000 0L1000 100L250 100Z",
		Top: 11, Limit: 9.09, Marks: []chartMark{{X: 250, Left: 25, Name: "is cut", Text: "0:01 is cut"}},
	}
	if diff := cmp.Diff(want, charts(r)[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	spread := []chartMark{{Left: 1}, {Left: 2}, {Left: 50}, {Left: 97}, {Left: 98}}
	part(spread)
	var lefts []float64
	for _, m := range spread {
		lefts = append(lefts, m.Left)
	}
	if diff := cmp.Diff([]float64{1, 5, 50, 96, 100}, lefts); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if n := len(ticks(4 * time.Second)); n != 5 {
		t.Errorf("%d ticks over 4 s, want 5", n)
	}
	// Without any sample there is still a page.
	if c := charts(&Result{Lines: r.Lines})[1]; c.Curve != "" {
		t.Errorf("without samples: %q", c.Curve)
	}
}

// The live part never wraps, whatever the width, and goes up by exactly what it wrote before.
func TestScreenFitsTheTerminal(t *testing.T) {
	plan, err := NewPlan([]Line{{Rate: 10 * Mbit}, {Rate: 300 * Mbit}, {}})
	if err != nil {
		t.Fatal(err)
	}
	v := View{
		Elapsed: 65 * time.Second, Step: "line 2 cut silently upstream", Note: "new connections are tried 50 times a second",
		Rows:  []Row{{Step: "lines come up", What: "all lines in use", Expected: "within 5 s", Measured: "0.30 s", OK: true}},
		Lines: []LineView{{Line: plan.Lines[0], InUse: true, Mbits: 9.5, Downloads: 1}, {Line: plan.Lines[1], State: "cut, 300 Mbit/s", Mbits: 312}, {Line: plan.Lines[2]}},
	}
	for columns := 20; columns <= 200; columns++ {
		var out bytes.Buffer
		s := &Screen{out: &out, live: true, st: style{true}, size: func() int { return columns }}
		s.update(v, true)
		height := s.height
		for _, line := range s.frame(v, columns) {
			if w := width(clip(line, columns-1)); w >= columns {
				t.Fatalf("on %d columns a line takes %d: %q", columns, w, line)
			}
		}
		out.Reset()
		s.update(v, true)
		if up := fmt.Sprintf("\x1b[%dA\r", height); !strings.Contains(out.String(), up) || strings.Count(out.String(), "\n") != height {
			t.Fatalf("on %d columns the second frame is not where the first was: %q", columns, out.String())
		}
	}
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{out: &out, size: func() int { return 100 }}
	v := View{Step: "lines come up", Steps: []Mark{{Text: "lines come up"}}}
	s.update(v, true)
	v.Rows = []Row{{Step: "lines come up", What: "all lines in use", Expected: "within 5 s", Measured: "0.30 s", OK: true}}
	v.Step, v.Elapsed = "3 downloads", 61*time.Second
	v.Steps = append(v.Steps, Mark{At: 61 * time.Second, Text: "3 downloads"})
	s.update(v, true)
	s.update(v, false)
	want := "0:00  lines come up\n  ✓ all lines in use                                0.30 s                      within 5 s\n1:01  3 downloads\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClipAndBar(t *testing.T) {
	if got := clip("\x1b[32mgreen\x1b[0m and more", 8); width(got) != 8 || !strings.HasSuffix(got, "…\x1b[0m") {
		t.Errorf("clip: %q, %d columns", got, width(got))
	}
	for part, want := range map[float64]string{0: "····", 0.5: "██··", 0.53125: "██▏·", 1: "████", 7: "████", -1: "····"} {
		if got := bar(part, 4); got != want {
			t.Errorf("bar(%v) = %q, want %q", part, got, want)
		}
	}
}
