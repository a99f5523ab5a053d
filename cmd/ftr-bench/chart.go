package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart: times on a logarithmic scale, in milliseconds.
const (
	chartWidth  = 960
	chartLeft   = 400.0 // of the scale
	chartRight  = 900.0
	chartTop    = 70.0
	rowHeight   = 24.0
	leastMillis = 1.0
	mostMillis  = 100_000.0
)

// bar is one row of the chart: a range with its median, in milliseconds.
type bar struct {
	name           string
	low, mid, high float64
	ours           bool
	endless        bool
}

// bars are the rows: what was measured, then the others.
func (r *result) bars() []bar {
	var list []bar
	for _, f := range r.Figures {
		s := f.spread()
		if s.n == 0 || f.Skipped != "" || f.Unit != "ms" || f.Phase == "heal" || f.Phase == "flaps" || strings.HasPrefix(f.What, "…") {
			continue
		}
		list = append(list, bar{r.Program + ": " + f.What, s.min, s.median, s.max, true, math.IsInf(s.median, 1)})
	}
	for _, l := range baselines() {
		for _, kind := range []struct {
			name string
			v    [2]float64
		}{{"silent", l.silent}, {"carrier", l.carrier}} {
			if kind.v == [2]float64{} {
				continue
			}
			low, high := kind.v[0]*1000, kind.v[1]*1000
			list = append(list, bar{kind.name + ": " + l.name, low, (low + high) / 2, high, false, low < 0})
		}
	}
	return list
}

// scale places a time.
func scale(millis float64) float64 {
	share := math.Log10(min(max(millis, leastMillis), mostMillis)/leastMillis) / math.Log10(mostMillis/leastMillis)
	return chartLeft + share*(chartRight-chartLeft)
}

// chart draws all rows. It needs no other file, and fits light and dark pages.
func (r *result) chart() string {
	list := r.bars()
	height := chartTop + rowHeight*float64(len(list)) + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" role="img" aria-label="Time until traffic flows again after a failure">
<style>
text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:16px;font-weight:600}.s{fill:#666}.g{stroke:#ddd}
.o{fill:#0b6bcb}.ol{stroke:#0b6bcb}.x{fill:#999}.xl{stroke:#999}line{stroke-width:1}.ol,.xl{stroke-width:5;stroke-opacity:.45;stroke-linecap:round}
</style>
<rect width="100%%" height="100%%" fill="#fff"/>
<text class="t" x="16" y="26">Time until traffic flows again after a failure</text>
<text class="s" x="16" y="44">Dot: median; bar: from the least to the worst; logarithmic scale. Grey: others, quoted; new connections of clients that wait 0.5 s.</text>
`, chartWidth, height)
	bottom := chartTop + rowHeight*float64(len(list))
	for _, tick := range []struct {
		at   float64
		name string
	}{{1, "1 ms"}, {10, "10 ms"}, {100, "0.1 s"}, {1000, "1 s"}, {10_000, "10 s"}, {100_000, "100 s"}} {
		x := scale(tick.at)
		fmt.Fprintf(&b, `<line class="g" x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f"/><text class="s" text-anchor="middle" x="%.1f" y="%.0f">%s</text>`+"\n",
			x, chartTop-8, x, bottom, x, bottom+18, tick.name)
	}
	for i, row := range list {
		b.WriteString(row.draw(chartTop + rowHeight*(float64(i)+0.5)))
	}
	return b.String() + "</svg>\n"
}

// mostName is how many characters of a name fit.
const mostName = 62

func (row bar) draw(y float64) string {
	name, dot, line := row.name, "x", "xl"
	if row.ours {
		dot, line = "o", "ol"
	}
	if runes := []rune(name); len(runes) > mostName {
		name = string(runes[:mostName-1]) + "…"
	}
	text := fmt.Sprintf(`<text x="16" y="%.1f"><title>%s</title>%s</text>`, y+4, html.EscapeString(row.name), html.EscapeString(name))
	if row.endless {
		return text + fmt.Sprintf(`<text text-anchor="end" x="%.0f" y="%.1f">never</text>`+"\n", chartRight, y+4)
	}
	return text + fmt.Sprintf(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><circle class="%s" cx="%.1f" cy="%.1f" r="5"/><text class="s" x="%.1f" y="%.1f">%s</text>`+"\n",
		line, scale(row.low), y, scale(row.high), y, dot, scale(row.mid), y, scale(row.high)+9, y+4, inWords(row.mid))
}

// inWords writes milliseconds as people read them.
func inWords(millis float64) string {
	if millis >= 1000 {
		return number(millis/1000) + " s"
	}
	return number(millis) + " ms"
}
