package config

import "time"

// testsIn returns how an uplink is judged. A metered line is asked less, unless it has an interval of
// its own.
func (u *uplinkDraft) testsIn(d *draft) Tests {
	t := u.tests
	t.inherit(&d.tests)
	interval := t.interval.value
	if u.metered.value && !u.tests.interval.given() {
		interval = max(interval, t.meteredInterval.value)
	}
	return t.config(interval)
}

// inherit takes what is absent from another section.
func (t *testsDraft) inherit(from *testsDraft) {
	inherit(&t.ips, from.ips)
	inherit(&t.targets, from.targets)
	inherit(&t.required, from.required)
	inherit(&t.retries, from.retries)
	inherit(&t.interval, from.interval)
	inherit(&t.meteredInterval, from.meteredInterval)
	inherit(&t.timeout, from.timeout)
	inherit(&t.minTimeout, from.minTimeout)
	inherit(&t.rise, from.rise)
	inherit(&t.fall, from.fall)
	inherit(&t.holdDown, from.holdDown)
	inherit(&t.maxHoldDown, from.maxHoldDown)
	inherit(&t.flapMemory, from.flapMemory)
	q := &t.quality
	inherit(&q.window, from.quality.window)
	inherit(&q.loss, from.quality.loss)
	inherit(&q.lossReturn, from.quality.lossReturn)
	inherit(&q.latency, from.quality.latency)
	inherit(&q.latencyReturn, from.quality.latencyReturn)
	inherit(&q.jitter, from.quality.jitter)
	inherit(&q.jitterReturn, from.quality.jitterReturn)
	inherit(&q.action, from.quality.action)
	inherit(&q.weight, from.quality.weight)
}

func inherit[T any](f *field[T], from field[T]) {
	if f.state == absent {
		*f = from
	}
}

// config makes the typed values. The shortest wait is never above the longest, also where only the
// longest was given.
func (t *testsDraft) config(interval time.Duration) Tests {
	q := &t.quality
	return Tests{
		Targets: t.distinct(), Required: int(t.required.value), Retries: int(t.retries.value),
		Interval: interval, Timeout: t.timeout.value, MinTimeout: min(t.minTimeout.value, t.timeout.value),
		Damping: Damping{
			Rise: int(t.rise.value), Fall: int(t.fall.value), FlapMemory: t.flapMemory.value,
			HoldDown: t.holdDown.value, MaxHoldDown: max(t.holdDown.value, t.maxHoldDown.value),
		},
		Quality: Quality{
			Window:  q.window.value,
			Loss:    limitOf(int(q.loss.value), int(q.lossReturn.value), q.lossReturn.given(), 2),
			Latency: limitOf(q.latency.value, q.latencyReturn.value, q.latencyReturn.given(), 4),
			Jitter:  limitOf(q.jitter.value, q.jitterReturn.value, q.jitterReturn.given(), 4),
			Action:  q.action.value, WeightPercent: int(q.weight.value),
		},
	}
}

// limitOf makes a limit; where no value for the return is given, it is so many fifths of the other.
// One that was inherited and does not fit the line's own is none.
func limitOf[T int | time.Duration](leave, back T, given bool, fifths T) Limit[T] {
	if !given || back > leave {
		back = leave / 5 * fifths
	}
	return Limit[T]{Leave: leave, Return: back}
}

// distinct returns the accepted targets without repetitions: a host has one vote for each method.
func (t *testsDraft) distinct() (list []Target) {
	seen := make(map[Target]bool, len(t.ips.value)+len(t.targets.value))
	for _, f := range t.all() {
		if f.given() && !seen[f.value] {
			seen[f.value] = true
			list = append(list, f.value)
		}
	}
	return list
}

// all returns the entries of both lists with their places.
func (t *testsDraft) all() (list []field[Target]) {
	for _, f := range t.ips.value {
		list = append(list, field[Target]{value: Echo(f.value), state: f.state, at: f.at, path: f.path})
	}
	return append(list, t.targets.value...)
}
