package status

import (
	"slices"
	"strings"
)

// unknown stands where there is no value.
const unknown = "–"

// gap is the number of columns between two cells.
const gap = 2

// cell is one value of a row.
type cell struct{ text, style string }

// field is one value of all rows, with its heading. Where it is not a column of the grid, it is told
// below its row.
type field struct {
	head     string
	label    string // before the value where it is told below the row; empty: it speaks for itself
	least    int    // columns to which it may be narrowed; 0: not at all
	optional bool   // may be told below the row
}

// grid lays out rows of cells in the columns of a terminal.
type grid struct {
	fields []field
	rows   [][]cell
	layout Layout
}

// render returns the lines; nil where even the necessary columns do not fit.
func (g grid) render() []string {
	shown, widths := g.choose()
	if shown == nil {
		return nil
	}
	heads := make([]cell, len(g.fields))
	for i, f := range g.fields {
		heads[i] = cell{f.head, faint}
	}
	lines := g.row(heads, shown, widths)
	for _, row := range g.rows {
		lines = append(lines, g.row(row, shown, widths)...)
		lines = append(lines, g.below(row, shown)...)
	}
	return lines
}

// choose returns which fields are columns, and how wide they are.
func (g grid) choose() (shown, widths []int) {
	natural, least := make([]int, len(g.fields)), make([]int, len(g.fields))
	for i, f := range g.fields {
		natural[i] = width(f.head)
		for _, row := range g.rows {
			natural[i] = max(natural[i], width(row[i].text))
		}
		least[i] = natural[i]
		if f.least > 0 {
			least[i] = min(natural[i], max(f.least, width(f.head)))
		}
	}
	room := g.layout.Width + gap
	for i, f := range g.fields {
		if !f.optional {
			shown, room = append(shown, i), room-least[i]-gap
		}
	}
	if room < 0 {
		return nil, nil
	}
	for i, f := range g.fields {
		if !f.optional || !g.any(i) {
			continue
		}
		if least[i]+gap > room {
			break // one without those before it would look as if they were missing
		}
		shown, room = append(shown, i), room-least[i]-gap
	}
	slices.Sort(shown)
	// What is left goes to those that were narrowed, a column at a time, so that all get their part.
	for grown := true; grown && room > 0; {
		grown = false
		for _, i := range shown {
			if least[i] < natural[i] && room > 0 {
				least[i], room, grown = least[i]+1, room-1, true
			}
		}
	}
	return shown, least
}

// any tells whether a field has a value in any row.
func (g grid) any(i int) bool {
	return slices.ContainsFunc(g.rows, func(row []cell) bool { return row[i].text != "" })
}

// row lays out the cells that are columns, each wrapped in its own.
func (g grid) row(cells []cell, shown, widths []int) []string {
	wrapped, height := make([][]string, len(shown)), 1
	for k, i := range shown {
		wrapped[k] = wrap(cells[i].text, widths[i])
		height = max(height, len(wrapped[k]))
	}
	lines := make([]string, height)
	for y := range lines {
		var line strings.Builder
		indent := 0
		for k, i := range shown {
			if y < len(wrapped[k]) && wrapped[k][y] != "" {
				line.WriteString(strings.Repeat(" ", indent) + g.layout.paint(cells[i].style, wrapped[k][y]))
				indent = widths[i] - width(wrapped[k][y]) + gap
				continue
			}
			indent += widths[i] + gap
		}
		lines[y] = line.String()
	}
	return lines
}

// below tells what has no column. What speaks for itself comes first: the reason.
func (g grid) below(cells []cell, shown []int) []string {
	var parts []string
	for i, f := range g.fields {
		text := cells[i].text
		switch {
		case slices.Contains(shown, i) || text == "" || text == unknown:
		case f.label == "":
			parts = slices.Insert(parts, 0, text)
		default:
			parts = append(parts, f.label+" "+text)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return g.layout.indented(strings.Join(parts, "; "), "  ", "  ", faint)
}

// cards writes each row as a list of its values, for narrow terminals.
func (g grid) cards() []string {
	label := 0
	for _, f := range g.fields {
		label = max(label, width(f.head))
	}
	var lines []string
	for n, row := range g.rows {
		if n > 0 {
			lines = append(lines, "")
		}
		for i, c := range row {
			if c.text == "" {
				continue
			}
			head := pad(g.fields[i].head, label) + "  "
			for y, part := range wrap(c.text, max(8, g.layout.Width-label-gap)) {
				if y > 0 {
					head = strings.Repeat(" ", label+gap)
				}
				lines = append(lines, g.layout.paint(faint, head)+g.layout.paint(c.style, part))
			}
		}
	}
	return lines
}

// indented wraps a text; first stands before its first line, rest before the others.
func (l Layout) indented(text, first, rest, style string) []string {
	lines := wrap(clean(text), max(8, l.Width-width(rest)))
	for i, line := range lines {
		lead := rest
		if i == 0 {
			lead = first
		}
		lines[i] = lead + l.paint(style, line)
	}
	return lines
}
