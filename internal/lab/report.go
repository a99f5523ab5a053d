package lab

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed report.html
var reportText string

// page is what the report's template reads.
type page struct {
	*Result
	Charts  []chart
	Ticks   []chartMark
	Tiles   []tile
	Heads   []string
	Cells   [][]string
	Steps   []stepRows
	Said    []Mark
	Verdict string
	Series  []series
}

// tile is one number to see at a glance.
type tile struct{ Value, Unit, What string }

// stepRows are the expectations of one step.
type stepRows struct {
	Number int
	Name   string
	At     string
	Rows   []Row
}

// series is what the page's script shows under the pointer.
type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// WriteReport writes the outcome as one HTML page that needs nothing else.
func (r *Result) WriteReport(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"clock":   clock,
		"date":    func(t time.Time) string { return t.Format("2006-01-02 15:04") },
		"seconds": func(d time.Duration) string { return d.Round(time.Second).String() },
		"line":    func(i int) string { return fmt.Sprintf("line %d", i+1) },
	}).Parse(reportText)
	if err != nil {
		return fmt.Errorf("read the report's template: %w", err)
	}
	p := page{Result: r, Charts: charts(r), Ticks: ticks(r.length()), Tiles: tiles(r), Heads: lineHeads[:], Cells: r.lineCells(), Verdict: r.verdict(style{}), Steps: r.bySteps()}
	p.Said = r.Events
	for i, l := range r.Lines {
		s := series{Name: l.Interface}
		for _, point := range r.Points {
			s.Values = append(s.Values, round(point.Mbits[i]))
		}
		p.Series = append(p.Series, s)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// bySteps sorts the expectations under their steps.
func (r *Result) bySteps() []stepRows {
	list := make([]stepRows, len(r.Steps))
	for k, step := range r.Steps {
		list[k] = stepRows{Number: k + 1, Name: step.Text, At: clock(step.At)}
		for _, row := range r.Rows {
			if row.Step == step.Text {
				list[k].Rows = append(list[k].Rows, row)
			}
		}
	}
	return list
}

// tiles picks the numbers that people ask for first.
func tiles(r *Result) []tile {
	var together float64
	var rate Rate
	for _, l := range r.Lines {
		together, rate = together+l.Together, rate+l.Rate
	}
	list := []tile{
		{fmt.Sprintf("%d of %d", len(r.Rows)-r.Broken(), len(r.Rows)), "", "expectations held"},
		{fmt.Sprintf("%.1f", together), "Mbit/s", fmt.Sprintf("of payload over all lines; %.1f can be carried", rate.Payload())},
	}
	for _, l := range r.Lines {
		if l.Failure != "" {
			list = append(list, tile{fmt.Sprintf("%.2f", l.FailedFor.Seconds()), "s", "new connections failed: " + l.Failure + " on " + l.Interface})
		}
	}
	return list
}
