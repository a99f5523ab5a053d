package lab

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The drawing area of every chart, in its own units; the page stretches it.
const (
	chartWidth  = 1000.0
	chartHeight = 100.0
)

// chart is the throughput of one line, or of all, over time.
type chart struct {
	Title string
	Color int // of the palette
	Area  string
	Curve string
	Top   float64 // Mbit/s at the upper edge
	Limit float64 // height of the line's own rate, in units from above; negative: not drawn
	Marks []chartMark
}

// chartMark is a vertical line at a moment.
type chartMark struct {
	X    float64 // in units
	Left float64 // of its name, in percent
	Name string
	Text string
}

// charts draws all lines together and each line alone, with marks where its steps began and where
// something was done to it.
func charts(r *Result) []chart {
	most := r.length()
	limit := 0.0
	for _, l := range r.Lines {
		limit += l.Rate.Mbits()
	}
	all := make([]float64, len(r.Points))
	for k, p := range r.Points {
		for _, m := range p.Mbits {
			all[k] += m
		}
	}
	list := []chart{draw("all lines together", -1, r.Points, all, limit, most)}
	for k, step := range r.Steps {
		list[0].Marks = append(list[0].Marks, markAt(step, most, strconv.Itoa(k+1)))
	}
	part(list[0].Marks)
	for i, l := range r.Lines {
		values := make([]float64, len(r.Points))
		for k, p := range r.Points {
			values[k] = p.Mbits[i]
		}
		c := draw(fmt.Sprintf("%s · %s", l.Interface, l.Rate), i%6, r.Points, values, l.Rate.Mbits(), most)
		for _, e := range r.Events {
			if e.Done && e.Line == i {
				c.Marks = append(c.Marks, markAt(e, most, e.Text))
			}
		}
		list = append(list, c)
	}
	return list
}

// part moves the names of marks apart, so that they can be read; the marks themselves stay.
func part(marks []chartMark) {
	const apart = 4 // percent
	for k := 1; k < len(marks); k++ {
		marks[k].Left = max(marks[k].Left, marks[k-1].Left+apart)
	}
	most := 100.0
	for k := len(marks) - 1; k >= 0; k-- {
		marks[k].Left = min(marks[k].Left, most)
		most = marks[k].Left - apart
	}
}

// length returns the time that the charts cover.
func (r *Result) length() time.Duration {
	if n := len(r.Points); n > 0 {
		return r.Points[n-1].At
	}
	return max(r.Duration, time.Second)
}

func markAt(m Mark, most time.Duration, name string) chartMark {
	at := min(max(float64(m.At)/float64(most), 0), 1)
	return chartMark{X: round(at * chartWidth), Left: round(at * 100), Name: name, Text: clock(m.At) + " " + m.Text}
}

// draw turns values into an area and its upper edge. Values above the scale (one sample may hold
// what was queued during the one before) are cut at its edge.
func draw(title string, color int, points []Point, values []float64, limit float64, most time.Duration) chart {
	top := limit * 1.1
	if limit == 0 {
		for _, v := range values {
			top = max(top, v*1.1)
		}
	}
	top = max(top, 0.1)
	c := chart{Title: title, Color: color, Top: round(top), Limit: -1}
	if limit > 0 {
		c.Limit = round(chartHeight * (1 - limit/top))
	}
	if len(points) == 0 {
		return c
	}
	var b strings.Builder
	x := func(p Point) float64 { return round(float64(p.At) / float64(most) * chartWidth) }
	for k, p := range points {
		command := "L"
		if k == 0 {
			command = "M"
		}
		fmt.Fprintf(&b, "%s%g %g", command, x(p), round(chartHeight*(1-min(values[k]/top, 1))))
	}
	c.Curve = b.String()
	c.Area = fmt.Sprintf("%sL%g %gL%g %gZ", c.Curve, x(points[len(points)-1]), chartHeight, x(points[0]), chartHeight)
	return c
}

// ticks returns the marks of the time axis: round numbers, at most about eight.
func ticks(most time.Duration) []chartMark {
	step := time.Second
	for _, s := range []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600} {
		if step = time.Duration(s) * time.Second; most/step <= 8 {
			break
		}
	}
	var list []chartMark
	for at := time.Duration(0); at <= most; at += step {
		list = append(list, markAt(Mark{At: at}, most, clock(at)))
	}
	return list
}

func round(f float64) float64 { return math.Round(f*100) / 100 }
