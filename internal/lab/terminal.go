package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"
)

// Screen shows a running scenario: live on a terminal, as plain lines elsewhere.
type Screen struct {
	out      io.Writer
	live     bool
	st       style
	size     func() int // columns
	shown    int        // rows of expectations printed so far
	step     string     // printed last
	height   int        // lines of the live part on the screen now
	spinning int
}

// NewScreen shows on a file; live only where that is a terminal that can.
func NewScreen(out *os.File) *Screen {
	live := term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	return &Screen{out: out, live: live, st: style{live && os.Getenv("NO_COLOR") == ""}, size: func() int {
		if columns, _, err := term.GetSize(int(out.Fd())); live && err == nil && columns > 0 {
			return columns
		}
		return 100
	}}
}

// Columns returns the width to write for, and whether colours are shown.
func (s *Screen) Columns() (int, bool) { return s.size(), s.st.color }

// Show follows a board until the context ends, then leaves only the lasting part.
func (s *Screen) Show(ctx context.Context, l *Lab, b *Board) {
	if s.live {
		fmt.Fprint(s.out, "\x1b[?25l")
		defer fmt.Fprint(s.out, "\x1b[?25h")
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		s.update(b.View(l), true)
		select {
		case <-ctx.Done():
			s.update(b.View(l), false)
			return
		case <-tick.C:
		}
	}
}

// update writes what is new, and the live part below it, in one piece: nothing flickers.
func (s *Screen) update(v View, running bool) {
	var b strings.Builder
	columns := s.size()
	if s.live {
		b.WriteString("\x1b[?2026h") // terminals that know it show all at once
		if s.height > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", s.height)
		}
		b.WriteString("\r")
	}
	end := "\n"
	if s.live {
		end = "\x1b[K\n"
	}
	for _, line := range s.news(v, columns) {
		b.WriteString(line + end)
	}
	if s.live {
		frame := s.frame(v, columns)
		if !running {
			frame = nil
		}
		for _, line := range frame {
			b.WriteString(clip(line, columns-1) + end)
		}
		b.WriteString("\x1b[J\x1b[?2026l")
		s.height = len(frame)
	}
	// A terminal that is gone is no reason to end the scenario.
	_, _ = io.WriteString(s.out, b.String())
}

// news returns the lasting lines that were not written yet.
func (s *Screen) news(v View, columns int) []string {
	var lines []string
	for _, row := range v.Rows[s.shown:] {
		lines = s.head(lines, row.Step, v)
		lines = append(lines, rowText(row, columns, s.st)...)
	}
	s.shown = len(v.Rows)
	if v.Step != "" && !s.live {
		lines = s.head(lines, v.Step, v)
	}
	return lines
}

// head adds the name of a step that was not written yet.
func (s *Screen) head(lines []string, step string, v View) []string {
	if step == s.step {
		return lines
	}
	s.step = step
	at := v.Elapsed
	if k := slices.IndexFunc(v.Steps, func(m Mark) bool { return m.Text == step }); k >= 0 {
		at = v.Steps[k].At
	}
	return append(lines, s.st.paint(dim, clock(at))+"  "+s.st.paint(bold, step))
}

// frame returns the live part.
func (s *Screen) frame(v View, columns int) []string {
	s.spinning++
	lines := []string{""}
	if v.Step != "" {
		spinner := string([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[s.spinning%10])
		line := s.st.paint(dim, clock(v.Elapsed)) + "  " + s.st.paint(cyan, spinner) + " " + s.st.paint(bold, v.Step)
		if v.Note != "" {
			line += s.st.paint(dim, " · "+v.Note)
		}
		lines = append(lines, line)
	}
	sum, most, room := 0.0, Rate(0), 0
	for _, line := range v.Lines {
		sum, most, room = sum+line.Mbits, max(most, line.Line.Rate), max(room, width(downloads(line.Downloads)))
	}
	for _, line := range v.Lines {
		lines = append(lines, s.lineText(line, most, columns, room))
	}
	return append(lines, fmt.Sprintf("  %-6s  %s %6.1f Mbit/s", "all", strings.Repeat(" ", s.bars(columns)), sum))
}

// bars returns the columns of the longest bar.
func (s *Screen) bars(columns int) int { return min(max(columns-62, 8), 40) }

// lineText draws one line: its bar is as long as its rate, compared with the fastest. Its downloads
// take loads columns.
func (s *Screen) lineText(v LineView, most Rate, columns, loads int) string {
	room, longest := s.bars(columns), s.bars(columns)
	part := 0.0
	if most > 0 && v.Line.Rate > 0 {
		room = max(1, int(float64(longest)*float64(v.Line.Rate)/float64(most)+0.5))
		part = v.Mbits / v.Line.Rate.Mbits()
	}
	state, color := "standby", yellow
	switch {
	case v.State != "" && v.InUse:
		state, color = "in use, "+v.State, yellow
	case v.State != "":
		state, color = "out, "+v.State, red
	case v.InUse:
		state, color = "in use", green
	}
	return fmt.Sprintf("  %-6s%s %s%s %6.1f of %s %s  %s", v.Line.Interface, s.st.paint(color, "●"),
		s.st.paint(color, bar(part, room)), strings.Repeat(" ", longest-room), v.Mbits, pad(v.Line.Rate.String(), 10),
		pad(downloads(v.Downloads), loads), s.st.paint(color, state))
}

func downloads(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "↓ 1 download"
	default:
		return fmt.Sprintf("↓ %d downloads", n)
	}
}

// clock writes a time as minutes and seconds.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
