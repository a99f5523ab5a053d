package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// patience is how long something may take that must happen: a guard, also on a busy machine.
const patience = 30 * time.Second

// The watch tells when a line leaves the default route, whoever changes it.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, of := range []family{ipv4, ipv6} {
		t.Run(of.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, of, 2)
			hop := func(i int) string { return " nexthop" + way(of, l, i) }
			if err := l.Router.Batch("route add "+of.everywhere()+" table 7"+hop(0)+hop(1), "route add "+of.everywhere()+" table 8"+way(of, l, 0)); err != nil {
				t.Fatal(err)
			}
			w, err := newWatch(l.Router, l.Plan, of)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			if err := w.look(func(s *state) { s.table = s.balanced() }); err != nil {
				t.Fatal(err)
			}
			out := w.expect(func(s *state) bool { return !s.uses(0) })
			before := time.Now()
			if err := l.Router.Batch("route change " + of.everywhere() + " table 7" + hop(1)); err != nil {
				t.Fatal(err)
			}
			at, ok, err := out.wait(t.Context(), patience)
			if !ok || err != nil || at.Before(before) || at.After(time.Now()) {
				t.Fatalf("line 1 left the route at %s, %v, %v, want after %s", at, ok, err, before)
			}
			var object string
			if err := w.look(func(s *state) {
				if len(s.moves) != 1 || s.moves[0].line != 0 || s.moves[0].in || s.table != 7 {
					t.Errorf("moves of table %d: %+v, want line 1 out of table 7", s.table, s.moves)
				}
				for o := range s.present {
					if strings.HasPrefix(nameOf(o), "route of table 8, metric ") {
						object = o
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			if object == "" {
				t.Fatal("the route of table 8 is not among what is there")
			}
		})
	}
}

// way is the path of line i's routes, for ip(8).
func way(of family, l *lab.Lab, i int) string {
	gateway := l.Plan.Lines[i].Gateway
	if of == ipv6 {
		gateway = lab.Gateway6
	}
	return " via " + gateway.String() + " dev " + l.Plan.Lines[i].Interface
}

// Broken silently: nothing comes back, not even an error; carrier and gateway stay.
func TestSilentFault(t *testing.T) {
	t.Parallel()
	for _, of := range []family{ipv4, ipv6} {
		t.Run(of.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, of, 1)
			e, err := startEcho(t.Context(), l, of)
			if err != nil {
				t.Fatal(err)
			}
			defer e.close()
			if err := l.Router.Batch("route add " + of.everywhere() + way(of, l, 0)); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Router.Dial(t.Context(), of.datagrams(), netip.AddrPortFrom(of.servers(l.Plan)[0], echoPort).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			answered := func(wait time.Duration) bool {
				_, err := conn.Write([]byte("12345678x"))
				if err == nil {
					err = conn.SetReadDeadline(time.Now().Add(wait))
				}
				if err == nil {
					_, err = conn.Read(make([]byte, 64))
				}
				if e, ok := err.(net.Error); err != nil && (!ok || !e.Timeout()) {
					t.Errorf("the provider said something: %v", err)
				}
				return err == nil
			}
			d := &bed{Lab: l, bench: &bench{settings: settings{family: of}}}
			for _, broken := range []bool{false, true, false} {
				if _, err := silent().set(d, 0, broken); err != nil {
					t.Fatal(err)
				}
				wait := patience
				if broken {
					wait = 300 * time.Millisecond
				}
				if got := answered(wait); got == broken {
					t.Errorf("broken %v: answered %v", broken, got)
				}
			}
		})
	}
}

// The relay delays each packet by what it should.
func TestRelay(t *testing.T) {
	t.Parallel()
	for _, of := range []family{ipv4, ipv6} {
		t.Run(of.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, of, 1)
			e, err := startEcho(t.Context(), l, of)
			if err != nil {
				t.Fatal(err)
			}
			defer e.close()
			const rtt = 50 * time.Millisecond
			r, err := startRelay(l, of, 0, rtt/2)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.close(); err != nil {
					t.Error(err)
				}
			}()
			if err := l.Router.Batch("route add " + of.everywhere() + way(of, l, 0)); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Router.Dial(t.Context(), of.datagrams(), netip.AddrPortFrom(of.servers(l.Plan)[0], echoPort).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			var took []time.Duration
			for range 40 {
				start := time.Now()
				if _, err := conn.Write([]byte("12345678x")); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Read(make([]byte, 64)); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			// A busy machine delays most of them: none may be early, and the one that it delayed least is exact.
			if least := slices.Min(took); least < rtt || least > rtt+rtt/10 {
				t.Errorf("the shortest of %d round trips took %s, the longest %s, want %s", len(took), least, slices.Max(took), rtt)
			}
		})
	}
}
