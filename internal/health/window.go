package health

import "math"

// windowSize is how many of the latest probes the loss is measured over: its resolution is 1 %.
const windowSize = 100

// window is a ring of the outcomes of the latest probes. Only judged probes enter: what is in flight
// is not lost. A late answer turns its loss back.
type window struct {
	ring [windowSize]outcome
	next int // where the next outcome goes
	used int // how many places hold one
	lost int // how many of them are lost
}

type outcome struct {
	id   uint64
	lost bool
}

// add enters the outcome of a probe, over the oldest one where the ring is full.
func (w *window) add(id uint64, lost bool) {
	w.count(w.ring[w.next].lost, -1)
	w.ring[w.next] = outcome{id, lost}
	w.count(lost, 1)
	w.next = (w.next + 1) % windowSize
	w.used = min(w.used+1, windowSize)
}

// unlose turns the loss of a probe into an answer, if it is still remembered.
func (w *window) unlose(id uint64) {
	for i := range w.ring[:w.used] {
		if w.ring[i].id == id {
			w.count(w.ring[i].lost, -1)
			w.ring[i].lost = false
		}
	}
}

// loss is the share of lost probes, 0 to 1; NaN before the first outcome.
func (w *window) loss() float64 {
	if w.used == 0 {
		return math.NaN()
	}
	return float64(w.lost) / float64(w.used)
}

func (w *window) count(lost bool, n int) {
	if lost {
		w.lost += n
	}
}
