package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Attempt is one new connection from the client to the internet host.
type Attempt struct {
	Start  time.Time
	Took   time.Duration
	Line   int // that carried it, from 0; meaningful only without an error, as Resent
	Resent int // segments that the client sent again: some were lost, or late
	Err    error
}

// Attempt opens one new connection, asks for a page and tells how it went.
func (l *Lab) Attempt(ctx context.Context, server netip.Addr, timeout time.Duration) Attempt {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := Attempt{Start: time.Now()}
	a.Line, a.Resent, a.Err = l.ask(ctx, netip.AddrPortFrom(server, WebPort))
	a.Took = time.Since(a.Start)
	return a
}

// ask gets the page of a web server for the client; it returns the line that the server saw, and how many segments were
// sent again.
func (l *Lab) ask(ctx context.Context, to netip.AddrPort) (line, resent int, err error) {
	response, err := l.Client.Get(ctx, to, "/")
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, 0, err
	}
	if resent, err = resentBy(response); err != nil {
		return 0, 0, err
	}
	line, err = lineOf(response)
	return line, resent, err
}

// words gets the page of a web server over a new connection, in words.
func words(ctx context.Context, from *Host, to netip.AddrPort) ([]string, error) {
	response, err := from.Get(ctx, to, "/")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return strings.Fields(string(page)), err
}

// Attempts is the record of many connections, in the order of their start.
type Attempts []Attempt

// Spread opens n connections, some at once, and returns how they went.
func (l *Lab) Spread(ctx context.Context, server netip.Addr, n int, timeout time.Duration) Attempts {
	attempts := make(Attempts, n)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range attempts {
		group.Go(func() error {
			attempts[i] = l.Attempt(ctx, server, timeout)
			return nil
		})
	}
	_ = group.Wait()
	return attempts
}

// Knock opens perSecond new connections a second until the context ends, waits for the last one, and
// hands each result to record, one at a time.
func (l *Lab) Knock(ctx context.Context, perSecond int, timeout time.Duration, record func(Attempt)) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var running sync.WaitGroup
	var mu sync.Mutex
	for n := 0; ; n++ {
		server := l.Plan.Servers[n%len(l.Plan.Servers)]
		running.Go(func() {
			// The end of the loop is no reason for an attempt to fail.
			a := l.Attempt(context.WithoutCancel(ctx), server, timeout)
			mu.Lock()
			defer mu.Unlock()
			record(a)
		})
		select {
		case <-ctx.Done():
			running.Wait()
			return
		case <-tick.C:
		}
	}
}

// Failed returns how many connections failed.
func (a Attempts) Failed() int {
	n := 0
	for _, attempt := range a {
		if attempt.Err != nil {
			n++
		}
	}
	return n
}

// Failures says how many failed, with when and why the first did, seen from an event. Example "2 of 90
// fail, first at 0.31 s: i/o timeout".
func (a Attempts) Failures(since time.Time) string {
	text := fmt.Sprintf("%d of %d fail", a.Failed(), len(a))
	for _, attempt := range a.Sorted() {
		if attempt.Err != nil {
			return text + fmt.Sprintf(", first at %.2f s: %v", attempt.Start.Sub(since).Seconds(), attempt.Err)
		}
	}
	return text
}

// Shares returns the part of the successful connections that each of n lines carried, 0 to 1.
func (a Attempts) Shares(n int) []float64 {
	shares, total := make([]float64, n), 0
	for _, attempt := range a {
		if attempt.Err == nil {
			shares[attempt.Line]++
			total++
		}
	}
	for i := range shares {
		shares[i] /= float64(max(1, total))
	}
	return shares
}

// Outage returns for how long connections kept failing after an event: until the start of the last
// one that failed. 0: none failed.
func (a Attempts) Outage(since time.Time) time.Duration {
	var last time.Duration
	for _, attempt := range a {
		if attempt.Err != nil {
			last = max(last, attempt.Start.Sub(since))
		}
	}
	return last
}

// Sorted returns the attempts by their start.
func (a Attempts) Sorted() Attempts {
	return slices.SortedFunc(slices.Values(a), func(x, y Attempt) int { return x.Start.Compare(y.Start) })
}

// Incoming opens n connections from the internet host to the address of line i, to the router's own
// web server or to the one in the DMZ, and returns how many were answered by the right host and the
// first error. TCP takes an answer only from the address that was called; the provider drops answers
// that leave through another line than they came in on (see Foreign).
func (l *Lab) Incoming(ctx context.Context, i, n int, dmz bool, timeout time.Duration) (int, error) {
	address, err := l.Address(i)
	if err != nil {
		return 0, err
	}
	if public := l.Plan.Lines[i].Public; public.IsValid() {
		address = public
	}
	to, want := netip.AddrPortFrom(address, RouterPort), "router"
	if dmz {
		to, want = netip.AddrPortFrom(address, WebPort), "server"
	}
	results := make([]error, n)
	var group errgroup.Group
	group.SetLimit(8)
	for k := range results {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			page, err := words(ctx, l.Internet, to)
			if err == nil && (len(page) == 0 || page[0] != want) {
				err = fmt.Errorf("%s was answered by %q, want %s", to, page, want)
			}
			results[k] = err
			return nil
		})
	}
	_ = group.Wait()
	failed := slices.DeleteFunc(slices.Clone(results), func(err error) bool { return err == nil })
	return n - len(failed), errors.Join(failed[:min(1, len(failed))]...)
}

// Address returns the first IPv4 address that line i has on the router now.
func (l *Lab) Address(i int) (address netip.Addr, err error) {
	if err := l.known(i); err != nil {
		return netip.Addr{}, err
	}
	name := l.Plan.Lines[i].Interface
	err = l.Router.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("address of line %d: %w", i+1, err)
		}
		addresses, err := link.Addrs()
		if err != nil {
			return fmt.Errorf("address of line %d: %w", i+1, err)
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				address = p.Addr()
				return nil
			}
		}
		return errors.New("line " + strconv.Itoa(i+1) + " has no address on " + name)
	})
	return address, err
}
