package e2e_test

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ftr/internal/lab"
)

// A line that has no address at the start, gets one, gets another and loses it never disturbs the
// others: no connection of theirs fails, and their routes are not even written.
func TestPPP(t *testing.T) {
	t.Parallel()
	for name, firewall := range firewalls() {
		t.Run(name, func(t *testing.T) { linePPP(t, firewall) })
	}
}

func linePPP(t *testing.T, firewall string) {
	t.Parallel()
	b := newBed(t, []lab.Line{{Kind: lab.PPP}, {}, {}})
	b.must(b.HangUp(0))
	b.start(b.Config() + firewall)
	b.uses(10*time.Second, 1, 2)
	b.wait("the rules", soon, func() bool { return strings.Contains(b.ip("rule"), "lookup 4") })

	written := b.monitorRoutes()
	others := []*lab.Download{b.download(1), b.download(2)}
	knocks := b.knockOnce()
	var gone [][2]time.Time // from when it breaks until new connections do not use it
	hangUp := func() {
		start := time.Now()
		b.must(b.HangUp(0))
		b.uses(soon, 1, 2)
		gone = append(gone, [2]time.Time{start.Add(-inTime), time.Now()})
	}
	for _, host := range []string{"100.64.1.2 100.64.1.1", "100.64.1.77 100.64.1.78", "100.64.1.9 100.64.1.78"} {
		own, peer, _ := strings.Cut(host, " ")
		b.must(b.Connect(0, addr(own), addr(peer)))
		b.uses(20*time.Second, 0, 1, 2)
		b.wait("the route as "+own, soon, func() bool {
			return strings.Contains(b.table(1), "default via "+peer+" dev wan1 proto 117 src "+own)
		})
		if share := b.spread("as "+own, 60); share[0] == 0 {
			t.Errorf("as %s: the line carried none of 60 connections", own)
		}
		hangUp()
	}
	attempts := knocks.end()
	b.undisturbed("the PPP line comes and goes", others...)
	// Those that had chosen the line before it broke are lost with it.
	kept := slices.DeleteFunc(slices.Clone(attempts), func(a lab.Attempt) bool {
		return a.Err != nil && slices.ContainsFunc(gone, func(g [2]time.Time) bool { return a.Start.After(g[0]) && a.Start.Before(g[1]) })
	})
	b.allSucceed("the PPP line comes and goes", kept)
	for _, line := range strings.Split(written(), "\n") {
		if strings.Contains(line, "table 2") || strings.Contains(line, "table 3") {
			t.Errorf("a route of another line was written: %s", line)
		}
	}
	b.noLeaks()
}

// monitorRoutes records what is written to the router's routes, until the returned function is called.
func (b *bed) monitorRoutes() func() string {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	cmd := exec.CommandContext(ctx, "ip", "-4", "monitor", "route")
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(b.Router.Start(cmd))
	first := make(chan struct{})
	var text strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for started := false; ; started = true {
			n, err := out.Read(buffer)
			text.Write(buffer[:n])
			if !started {
				close(first)
			}
			if err == io.EOF || err != nil {
				return
			}
		}
	})
	end := sync.OnceFunc(func() {
		cancel()
		reading.Wait()
		_ = cmd.Wait()
	})
	b.t.Cleanup(end)
	// It listens once it reports a change of our own.
	b.wait("ip monitor", soon, func() bool {
		b.must(b.Router.Batch("route replace 192.0.2.77/32 dev lan0", "route del 192.0.2.77/32 dev lan0"))
		select {
		case <-first:
			return true
		default:
			return false
		}
	})
	return func() string {
		end()
		return text.String()
	}
}
