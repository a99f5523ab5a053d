package lab

import (
	"fmt"
	"strings"
	"time"
)

// column is one column of a text table.
type column struct {
	head  string
	right bool
}

// table lays out rows in columns that fit into a width. Where they do not, each row becomes a list of
// its cells, one a line.
func table(columns []column, rows [][]string, limit int, st style) []string {
	widths, total := make([]int, len(columns)), 2*(len(columns)-1)
	for i, c := range columns {
		widths[i] = width(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], width(row[i]))
		}
		total += widths[i]
	}
	if total > limit {
		return cards(columns, rows, limit, st)
	}
	line := func(cells []string) string {
		parts := make([]string, len(cells))
		for i, cell := range cells {
			w := widths[i]
			if columns[i].right {
				w = -w
			}
			parts[i] = pad(cell, w)
		}
		return strings.TrimRight(strings.Join(parts, "  "), " ")
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	lines := []string{st.paint(dim, line(heads))}
	for _, row := range rows {
		lines = append(lines, line(row))
	}
	return lines
}

// cards writes each row as a list, for narrow terminals.
func cards(columns []column, rows [][]string, limit int, st style) []string {
	label := 0
	for _, c := range columns {
		label = max(label, width(c.head))
	}
	var lines []string
	for _, row := range rows {
		lines = append(lines, clip(row[0], limit))
		for i, cell := range row[1:] {
			if cell != "" {
				lines = append(lines, clip("  "+st.paint(dim, pad(columns[i+1].head, label))+"  "+cell, limit))
			}
		}
	}
	return lines
}

// Table writes the outcome as text for a terminal of some columns.
func (r *Result) Table(columns int, color bool) string {
	st := style{color}
	var lines []string
	lines = append(lines, "", st.paint(bold, "What each line did"))
	lines = append(lines, table([]column{
		{"line", false}, {"Mbit/s", true}, {"weight", true}, {"share", true}, {"alone", true}, {"at once", true}, {"new connections failed", false}, {"established", false}, {"incoming", true}, {"carried", true},
	}, r.lineCells(), columns, st)...)
	lines = append(lines, "", st.paint(bold, "What was expected and measured"))
	lines = append(lines, r.rowLines(columns, st)...)
	lines = append(lines, "", r.verdict(st))
	return strings.Join(lines, "\n") + "\n"
}

// lineCells returns the table of lines, with their sum.
func (r *Result) lineCells() [][]string {
	var cells [][]string
	var rate Rate
	var together float64
	var count, weights int
	var bytes uint64
	for _, l := range r.Lines {
		single := "–"
		if l.Single > 0 {
			single = fmt.Sprintf("%.1f", l.Single)
		}
		cells = append(cells, []string{
			l.Interface, fmt.Sprint(l.Rate.Mbits()), fmt.Sprint(l.Weight), fmt.Sprintf("%.1f %%", 100*l.Share), single,
			fmt.Sprintf("%d: %.1f", l.Downloads, l.Together), l.Failing, l.Established, l.Incoming, megabytes(l.Bytes),
		})
		rate, together, count, weights, bytes = rate+l.Rate, together+l.Together, count+l.Downloads, weights+l.Weight, bytes+l.Bytes
	}
	return append(cells, []string{"all", fmt.Sprint(rate.Mbits()), fmt.Sprint(weights), "", "", fmt.Sprintf("%d: %.1f", count, together), "", "", "", megabytes(bytes)})
}

// rowLines returns the expectations, under the step that each belongs to.
func (r *Result) rowLines(columns int, st style) []string {
	var lines []string
	step := ""
	for _, row := range r.Rows {
		if row.Step != step {
			step = row.Step
			lines = append(lines, st.paint(cyan, clip(step, columns)))
		}
		lines = append(lines, rowText(row, columns, st)...)
	}
	return lines
}

// rowText writes one expectation; what does not fit into one line goes on in more.
func rowText(row Row, columns int, st style) []string {
	sign := st.paint(green, "✓")
	if !row.OK {
		sign = st.paint(red, "✗")
	}
	text := pad(row.What, 40) + "  " + pad(row.Measured, 26) + "  " + st.paint(dim, row.Expected)
	if width(text)+4 <= columns && row.OK {
		return []string{"  " + sign + " " + text}
	}
	lines := []string{clip("  "+sign+" "+row.What, columns)}
	measured := wrap(row.Measured, max(20, columns-6))
	for _, m := range measured {
		lines = append(lines, clip("      "+m, columns))
	}
	return append(lines, clip("      "+st.paint(dim, "expected: "+row.Expected), columns))
}

// verdict says in one line whether all held.
func (r *Result) verdict(st style) string {
	took := r.Duration.Round(time.Second)
	switch {
	case r.OK():
		return st.paint(green, fmt.Sprintf("All %d expectations held", len(r.Rows))) + fmt.Sprintf(" in %s.", took)
	case r.Error != "":
		return st.paint(red, "The scenario ended early") + fmt.Sprintf(" after %s: %s", took, r.Error)
	default:
		return st.paint(red, fmt.Sprintf("%d of %d expectations did not hold", r.Broken(), len(r.Rows))) + fmt.Sprintf(" in %s.", took)
	}
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
