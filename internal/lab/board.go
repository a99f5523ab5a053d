package lab

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Board is the running scenario as others may look at it at any time.
type Board struct {
	mu       sync.Mutex
	start    time.Time
	step     string
	note     string
	rows     []Row
	steps    []Mark
	selected []bool
	taken    []int // how often each line was taken out of use
	tracked  []*Download
	samples  []Sample
	keepAll  bool // samples; otherwise only as many as a view needs
}

// recentSamples make the throughput that is shown: half a second, since shorter would flicker and
// longer would hide a stall.
const recentSamples = 6

// View is one look at a board.
type View struct {
	Elapsed time.Duration
	Step    string // empty: none runs
	Note    string // how the step stands
	Rows    []Row
	Steps   []Mark // when each began
	Lines   []LineView
}

// LineView is one line of a view.
type LineView struct {
	Line      PlanLine
	State     string  // what was done to it; example "cut"
	InUse     bool    // new connections may use it
	Mbits     float64 // over the latest half second
	Downloads int     // that run on it
}

// begin starts a step.
func (b *Board) begin(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.step, b.note = name, ""
	b.steps = append(b.steps, Mark{At: time.Since(b.start), Line: -1, Text: name, Done: true})
}

// say notes how the step stands.
func (b *Board) say(note string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note = note
}

// expect adds a row.
func (b *Board) expect(row Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	row.Step = b.step
	b.rows = append(b.rows, row)
}

// track shows downloads as long as they run.
func (b *Board) track(downloads ...*Download) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tracked = slices.DeleteFunc(append(b.tracked, downloads...), func(d *Download) bool { return !d.Alive() })
}

// sample adds a reading of the counters.
func (b *Board) sample(s Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.samples); !b.keepAll && n > recentSamples {
		b.samples = b.samples[n-recentSamples:]
	}
	b.samples = append(b.samples, s)
}

// uses notes which lines new connections may use.
func (b *Board) uses(hops []NextHop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := slices.Clone(b.selected)
	clear(b.selected)
	for _, h := range hops {
		b.selected[h.Line] = true
	}
	for i, was := range before {
		if was && !b.selected[i] {
			b.taken[i]++
		}
	}
}

// takenOut returns how often each line was taken out of use so far.
func (b *Board) takenOut() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.taken)
}

// View returns how it all stands now.
func (b *Board) View(l *Lab) View {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := View{Elapsed: time.Since(b.start), Step: b.step, Note: b.note, Rows: slices.Clone(b.rows), Steps: slices.Clone(b.steps)}
	recent := points(b.samples[max(0, len(b.samples)-recentSamples):])
	for i, line := range l.Plan.Lines {
		lv := LineView{Line: line, InUse: b.selected[i], State: l.trouble(i)}
		for _, p := range recent {
			lv.Mbits += p.Mbits[i] / float64(len(recent))
		}
		for _, d := range b.tracked {
			if d.Line == i && d.Alive() {
				lv.Downloads++
			}
		}
		v.Lines = append(v.Lines, lv)
	}
	return v
}

// trouble says what was done to line i; empty: nothing.
func (l *Lab) trouble(i int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	words := l.state[i].troubles()
	if l.state[i].rate != l.Plan.Lines[i].Rate {
		words = append(words, "now "+l.state[i].rate.String())
	}
	return strings.Join(words, ", ")
}
