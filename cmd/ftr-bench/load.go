package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ftr/internal/lab"
)

// The load under which failures are measured.
const (
	perSecond      = 50              // new connections
	connectTimeout = 3 * time.Second // of connect(2): a lost SYN is sent again after 1 s and 2 s
	answerTimeout  = 3 * time.Second // of the answer, after it
	impatient      = 500 * time.Millisecond
)

// attempt is one new connection from the LAN.
type attempt struct {
	start   time.Time
	connect time.Duration // until it was completed
	err     error         // why it was not
	broken  error         // it was, but there was no answer
}

// slow tells whether a client with little patience would have given it up.
func (a attempt) slow() bool { return a.err != nil || a.connect > impatient }

// load opens connections until it is ended.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	all  []attempt
}

func startLoad(ctx context.Context, l *lab.Lab, of family) *load {
	ctx, stop := context.WithCancel(ctx)
	d := &load{stop: stop}
	d.done.Go(func() { d.run(ctx, l, of) })
	return d
}

func (d *load) run(ctx context.Context, l *lab.Lab, of family) {
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	servers := of.servers(l.Plan)
	for n := 0; ; n++ {
		server := netip.AddrPortFrom(servers[n%len(servers)], lab.WebPort)
		open.Go(func() {
			// The end of the load is no reason for a connection to fail.
			a := tryOnce(context.WithoutCancel(ctx), l.Client, server)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.all = append(d.all, a)
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tryOnce connects and asks for a page.
func tryOnce(ctx context.Context, from *lab.Host, to netip.AddrPort) attempt {
	a := attempt{start: time.Now()}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := from.Dial(limited, "tcp", to.String())
	a.connect = time.Since(a.start)
	if err != nil {
		a.err = err
		return a
	}
	defer conn.Close()
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to)
	_, err = conn.Write([]byte(request))
	err = errors.Join(err, conn.SetReadDeadline(time.Now().Add(answerTimeout)))
	if err == nil {
		var response *http.Response
		if response, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			err = response.Body.Close()
		}
	}
	a.broken = err
	return a
}

// end waits for the last connections and returns all, by their start.
func (d *load) end() []attempt {
	d.stop()
	d.done.Wait()
	slices.SortFunc(d.all, func(x, y attempt) int { return x.start.Compare(y.start) })
	return d.all
}

// between returns the attempts that were started from a time on and before another.
func between(all []attempt, from, to time.Time) []attempt {
	var part []attempt
	for _, a := range all {
		if !a.start.Before(from) && a.start.Before(to) {
			part = append(part, a)
		}
	}
	return part
}

// failures counts the connections that were not completed.
func failures(all []attempt) (n int) {
	for _, a := range all {
		if a.err != nil {
			n++
		}
	}
	return n
}

// outage returns how long impatient clients met trouble: until the start of the last that did.
func outage(all []attempt, since time.Time) (d time.Duration) {
	for _, a := range all {
		if a.slow() {
			d = max(d, a.start.Sub(since))
		}
	}
	return d
}

// firstError says why the first connection failed, and when, seen from an event.
func firstError(all []attempt, since time.Time) string {
	for _, a := range all {
		if a.err != nil {
			return fmt.Sprintf("first at %+.2f s: %v", a.start.Sub(since).Seconds(), a.err)
		}
	}
	return ""
}
