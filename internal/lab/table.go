package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// column is one column of a text table.
type column struct {
	head  string
	right bool
}

// table lays out rows in columns; nil where they do not fit into the limit.
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
		return nil
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

// Table writes what each line did, and the expectations that did not hold, as text for a terminal of
// some columns.
func (r *Result) Table(columns int, color bool) string {
	st := style{color}
	lines := []string{"", st.paint(bold, "What each line did")}
	lines = append(lines, r.lineTable(columns, st)...)
	if r.Broken() > 0 {
		lines = append(lines, "", st.paint(bold, "What did not hold"))
	}
	for _, row := range r.Rows {
		if !row.OK {
			lines = append(lines, st.paint(cyan, clip(row.Step, columns)))
			lines = append(lines, rowText(row, columns, st)...)
		}
	}
	lines = append(lines, "", r.verdict(st))
	return strings.Join(lines, "\n") + "\n"
}

// lineHeads are the columns of the cells of a line.
var lineHeads = [...]string{
	"line", "rate, Mbit/s", "weight", "share of connections", "one download, Mbit/s", "downloads at once", "together, Mbit/s",
	"new connections failed", "established download", "incoming answered", "carried",
}

// lineTable has a column per line, or a list per line where they do not fit.
func (r *Result) lineTable(limit int, st style) []string {
	cells := r.lineCells()
	columns, rows := []column{{head: ""}}, make([][]string, len(lineHeads)-1)
	for _, c := range cells {
		columns = append(columns, column{c[0], true})
	}
	for i := range rows {
		rows[i] = []string{lineHeads[i+1]}
		for _, c := range cells {
			rows[i] = append(rows[i], c[i+1])
		}
	}
	if lines := table(columns, rows, limit, st); lines != nil {
		return lines
	}
	columns = nil
	for _, head := range lineHeads {
		columns = append(columns, column{head: head})
	}
	return cards(columns, cells, limit, st)
}

// lineCells returns the cells of all lines, and of their sum.
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
			l.Interface, mbits(l.Rate), strconv.Itoa(l.Weight), fmt.Sprintf("%.1f %%", 100*l.Share), single,
			strconv.Itoa(l.Downloads), fmt.Sprintf("%.1f", l.Together), l.failing(), l.Established, l.Incoming, megabytes(l.Bytes),
		})
		rate, together, count, weights, bytes = rate+l.Rate, together+l.Together, count+l.Downloads, weights+l.Weight, bytes+l.Bytes
	}
	return append(cells, []string{
		"all", mbits(rate), strconv.Itoa(weights), "", "", strconv.Itoa(count), fmt.Sprintf("%.1f", together), "", "", "", megabytes(bytes),
	})
}

// rowText writes one expectation; what does not fit into one line goes on in more.
func rowText(row Row, columns int, st style) []string {
	sign := st.paint(green, "✓")
	if !row.OK {
		sign = st.paint(red, "✗")
	}
	text := pad(row.What, 46) + "  " + pad(row.Measured, 26) + "  " + st.paint(dim, row.Expected)
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

func mbits(r Rate) string { return strconv.FormatFloat(r.Mbits(), 'f', -1, 64) }

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
