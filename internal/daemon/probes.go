package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// request is a probe that a monitor asks for.
type request struct {
	path int // position in paths
	health.Request
}

// poll lets the monitors judge what is due and collects the probes that they want sent.
func (l *loop) poll(now time.Time) []request {
	var requests []request
	for i, m := range l.monitors {
		for _, r := range m.Poll(now) {
			requests = append(requests, request{path: i, Request: r})
		}
	}
	return requests
}

// send starts the probes. Each ends by its own timeout at the latest, and is waited for by run.
func (l *loop) send(ctx context.Context, requests []request) {
	for _, r := range requests {
		path, monitor, traffic := l.paths[r.path], l.monitors[r.path], l.traffics[r.path]
		name := l.Config.Uplinks[path.Uplink].Name + routing.Suffix(path.Family) // another configuration may be in force when the answer comes
		if r.Target.Method == config.Gateway {
			r.Target.Address = path.Gateway
		}
		l.probes.Go(func() {
			probe, cancel := context.WithTimeout(ctx, r.Timeout)
			defer cancel()
			rtt, err := l.Prober.Probe(probe, path.Interface, path.Source, r.Target, r.Proven)
			if ctx.Err() != nil {
				return
			}
			l.Logger.Debug(name + ": " + outcome(r.Target, rtt, err))
			select {
			case l.answers <- answer{monitor: monitor, traffic: traffic, id: r.ID, rtt: rtt, err: err}:
			case <-ctx.Done():
			}
		})
	}
}

// outcome says what came of a probe.
func outcome(target config.Target, rtt time.Duration, err error) string {
	if err != nil {
		return fmt.Sprintf("%s: %v", target, err)
	}
	return fmt.Sprintf("%s answers in %.1f ms", target, float64(rtt)/float64(time.Millisecond))
}

// take gives the answer to the monitor that asked. That an address is not there to ask from is no verdict on the
// line: the kernel is looked at before others are asked, which would all fail at once.
func (l *loop) take(now time.Time, a answer) {
	a.monitor.Answer(now, a.id, a.rtt, a.err)
	if a.err == nil {
		a.traffic.Proven(now)
	}
	if errors.Is(a.err, syscall.EADDRNOTAVAIL) {
		l.lookAt = earliest(l.lookAt, l.looked.Add(breath))
	}
}

// drain gives all answers that are waiting to the monitors that asked, so that one turn serves them
// all and none of them is taken for silence.
func (l *loop) drain(now time.Time) {
	for {
		select {
		case a := <-l.answers:
			l.take(now, a)
		default:
			return
		}
	}
}
