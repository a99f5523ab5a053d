package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// outer is the line that carries a tunnel's own packets, as the far end sees it.
func (b *bed) outer(v *lab.VPN) int {
	line, ok := b.Plan.LineOf(v.Client())
	if !ok {
		return -1
	}
	return line
}

// follows waits until a tunnel's own packets come over another line than the one that was cut.
func (b *bed) follows(v *lab.VPN, cut int, since time.Time) {
	b.t.Helper()
	b.wait("the tunnel's packets over another line", 10*time.Second, func() bool { line := b.outer(v); return line >= 0 && line != cut })
	b.t.Logf("line %d fell silent, and %s later the tunnel's packets came over line %d", cut+1, time.Since(since), b.outer(v)+1)
}

// released returns when connections of a line were last released since a time; the zero time if they were not.
func (b *bed) released(name string, since time.Time) (last time.Time) {
	for _, e := range b.Log().Entries() {
		if !e.Time.Before(since) && strings.Contains(e.Text, name+": its connections were released") {
			last = e.Time
		}
	}
	return last
}

// ask asks the web server at the far end of a tunnel, and tells whether it answered at once.
func (b *bed) ask(from *lab.Host, address netip.Addr) bool {
	ctx, cancel := context.WithTimeout(b.t.Context(), 200*time.Millisecond)
	defer cancel()
	response, err := from.Get(ctx, netip.AddrPortFrom(address, lab.WebPort), "/")
	if err == nil {
		response.Body.Close()
	}
	return err == nil
}

// A tunnel that the router carries itself is the preferred line, over two others. Nothing of it ever goes
// into it, and when the line under it falls silent it goes on over the other, though its socket keeps the
// source address.
func TestTunnelUplink(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, []lab.Line{{Kind: lab.Tunnel}, {Group: 2}, {Group: 2}})
	v := b.VPN(0)
	b.start(text)
	b.uses(20*time.Second, 0)
	b.through("all is well", v)
	out, _ := b.output("status")
	if !strings.Contains(out, "The router's own use: Provider 2 50 %, Provider 3 50 %.") {
		t.Errorf("status said:\n%s", out)
	}
	out, _ = b.output("explain", "router", b.Plan.Servers[0].String(), "tcp", "80")
	if !strings.Contains(out, "Now: no policy matches: Provider 2 (wan2) 50 %, Provider 3 (wan3) 50 %") || !strings.Contains(out, "is a tunnel, which what the router itself sends never uses") {
		t.Errorf("explain said:\n%s", out)
	}
	if out, code := b.output("check"); code != 0 || strings.Contains(out, "tunnel") {
		t.Errorf("check: exit code %d, said:\n%s", code, out)
	}

	for range 2 { // the second time over the line that had carried it first
		under := b.outer(v)
		knocks := b.knock(3 * time.Second)
		b.must(b.Cut(under))
		cut := time.Now()
		b.wait("the line under the tunnel out of use", 10*time.Second, func() bool { return !strings.Contains(b.table(11699), b.Plan.Lines[under].Interface) })
		b.follows(v, under, cut)
		b.uses(10*time.Second, 0)
		b.through(fmt.Sprintf("line %d is silent", under+1), v)
		b.pause(300 * time.Millisecond)
		b.allSucceed("the line under the tunnel fell silent", slices.DeleteFunc(knocks.end(), func(a lab.Attempt) bool {
			return a.Start.Before(cut) || a.Start.Before(b.released("Provider 1", cut)) // what has begun in a tunnel that is found dead, too, ends with it
		}))
		d := b.download(0)
		b.must(b.Restore(under))
		b.wait("the line back", 15*time.Second, func() bool { return strings.Contains(b.table(11699), b.Plan.Lines[under].Interface) })
		b.uses(10*time.Second, 0)
		b.undisturbed("the line under the tunnel came back", d)
		if now := b.outer(v); now == under {
			t.Errorf("the tunnel's packets went back to line %d by themselves", under+1)
		}
	}
	b.noLeaks()
}

// through wants the client's new connections in the tunnel, the router's own and the tunnel itself beside it.
func (b *bed) through(what string, v *lab.VPN) {
	b.t.Helper()
	if shares := b.spread(what, 20); shares[0] != 1 {
		b.t.Errorf("%s: the lines carried %v, want all in the tunnel", what, shares)
	}
	for i := range 10 {
		response, err := b.Router.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[i%len(b.Plan.Servers)], lab.WebPort), "/")
		b.must(err)
		if line := response.Header.Get(lab.LineHeader); line != "2" && line != "3" {
			b.t.Errorf("%s: a connection of the router's own used line %s", what, line)
		}
		response.Body.Close()
	}
	if n := v.Loops(); n > 0 {
		b.t.Errorf("%s: %d of the tunnel's packets were sent into it", what, n)
	}
}

// Sockets of the router that are bound to an address of a line, in both families: each moves when the line is
// found dead in its family, and stays where it is when the line comes back.
func TestDatagramsMove(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.FixedIPv6)
	b.start6(text)
	line := b.Plan.Lines[0]
	four := b.flow(b.Router, &net.UDPAddr{IP: line.Address.AsSlice()}, b.Plan.Servers[0])
	six := b.flow(b.Router, &net.UDPAddr{IP: line.Address6.AsSlice()}, b.Plan.Servers6[0])
	four.on(b, 0, 5)
	six.on(b, 0, 5)
	b.must(b.CutFamily6(0))
	b.wait("datagrams over IPv6 on another line", soon, func() bool { return six.line.Load() != 0 })
	four.on(b, 0, 5)
	b.must(b.Cut(0))
	b.wait("datagrams over IPv4 on another line", soon, func() bool { return four.line.Load() != 0 })
	kept4, kept6 := four.line.Load(), six.line.Load()
	four.on(b, kept4, 20)
	six.on(b, kept6, 20)
	b.must(b.Restore(0))
	b.uses(20*time.Second, 0, 1, 2)
	b.uses6(20*time.Second, 0, 1, 2)
	b.wait("no rule left for datagrams", soon, func() bool { return !strings.Contains(b.ip("rule")+b.ip("-6", "rule"), "ipproto udp") })
	four.on(b, kept4, 20)
	six.on(b, kept6, 20)
	b.noLeaks()
}

// A tunnel that is no uplink, with a network behind it: it goes on when the line that it uses dies, by
// itself, and again on the next.
func TestTunnelMoves(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	own, far := netip.MustParsePrefix("10.77.0.2/24"), netip.MustParseAddr("10.77.0.1")
	b.start(text)
	b.uses(20*time.Second, 0, 1, 2)
	v, err := b.OpenTunnel("vpn0", own, far)
	b.must(err)
	b.must(b.Internet.Batch("route add 192.168.1.0/24 dev vpn0"))
	b.wait("the far end", soon, func() bool { return b.ask(b.Router, far) })
	first := v.Source()
	for range 2 {
		under := b.outer(v)
		b.must(b.Cut(under))
		cut := time.Now()
		for b.outer(v) == under { // it moves only while it is used
			if time.Since(cut) > 10*time.Second {
				t.Fatalf("after %s the tunnel still uses the dead line %d", time.Since(cut), under+1)
			}
			b.ask(b.Client, far)
		}
		t.Logf("line %d fell silent, and %s later the tunnel used line %d", under+1, time.Since(cut), b.outer(v)+1)
		b.wait("the network behind the tunnel", soon, func() bool { return b.ask(b.Client, far) })
	}
	if v.Source() != first {
		t.Errorf("the tunnel's socket sends from %s, and began with %s: the test shows nothing", v.Source(), first)
	}
	rules := b.ip("rule")
	if n := strings.Count(rules, "ipproto udp"); n != 2*2 { // without mark, and with that of wg-quick
		t.Errorf("%d rules for datagrams of two dead lines:\n%s", n, rules)
	}
	// Another run finds it all as it should be.
	if out, code := b.output("plan"); code != 0 || !strings.HasPrefix(out, "# nothing") {
		t.Errorf("plan: exit code %d, said:\n%s", code, out)
	}
	b.must(b.KillDaemon())
	since := time.Now()
	b.must(b.StartDaemon(t.Context()))
	b.says("Initial default route uplinks", since, 10*time.Second)
	if now := b.ip("rule"); now != rules || !b.ask(b.Client, far) {
		t.Errorf("a restart changed the rules from\n%s\nto\n%s", rules, now)
	}
	for i := range 3 {
		b.must(b.Restore(i))
	}
	b.uses(20*time.Second, 0, 1, 2)
	b.wait("no rule left for datagrams", soon, func() bool { return !strings.Contains(b.ip("rule"), "ipproto udp") })
	b.noLeaks()
}
