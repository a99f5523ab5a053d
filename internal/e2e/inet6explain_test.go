package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ftr/internal/lab"
)

// explained is what explain says of a new connection to a web server over IPv6.
type explained struct {
	Policy string
	Fate   string
	Lines  []struct{ Interface string }
	Differ []string `json:"differs"`
	Kernel []string
}

// explains asks what becomes of a connection, wants the kernel to agree, and returns the lines, from 0.
func (b *bed) explains(from, to netip.Addr) (explained, []int) {
	b.t.Helper()
	out, code := b.output("explain", "--json", from.String(), to.String(), "tcp", "80")
	var e explained
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 0 || len(e.Differ) != 0 || len(e.Kernel) == 0 {
		b.t.Errorf("explain %s %s: %d, %v:\n%s", from, to, code, err, out)
	}
	var lines []int
	for _, l := range e.Lines {
		lines = append(lines, slices.IndexFunc(b.Plan.Lines, func(p lab.PlanLine) bool { return p.Interface == l.Interface }))
	}
	slices.Sort(lines)
	return e, lines
}

// What explain says of connections over IPv6 is what the kernel answers and what becomes of them, for policies,
// for all others, and for hosts with an address of a line that is not translated.
func TestIPv6Explained(t *testing.T) {
	t.Parallel()
	b, text := newInet6Bed(t, lab.FixedIPv6)
	third := b.Plan.Lines[2]
	gateway := fmt.Sprintf("{ip: %q, gateway: \"fe80::1\"", third.Address6)
	text = edit(t, text, gateway, fmt.Sprintf("%s, nat: none, prefix: %q", gateway, third.Delegated6)) + fmt.Sprintf(`policies:
  - {name: pair, destination: %q, uplinks: [wan1, wan2]}
  - {name: strict, destination: %q, uplinks: wan1, last_resort: block}
`, b.Plan.Servers6[2], b.Plan.Servers6[3])
	own := third.Delegated6.Addr().Next().Next()
	b.must(b.Client.Batch("addr add " + own.String() + "/64 dev eth0 nodad preferred_lft 0"))
	b.must(b.Router.Batch("addr add " + own.Prev().String() + "/64 dev lan0 nodad"))
	b.start6(text)

	inside := lab.LANClient6.Addr()
	check := func(what string, from, to netip.Addr, policy, fate string, want ...int) {
		t.Helper()
		e, lines := b.explains(from, to)
		if e.Policy != policy || e.Fate != fate || !slices.Equal(lines, want) {
			t.Errorf("%s: explain says policy %q, %s, lines %v; want %q, %s, %v", what, e.Policy, e.Fate, lines, policy, fate, want)
		}
		used := map[int]bool{}
		for range 12 {
			page, err := b.PageFrom(t.Context(), from, netip.AddrPortFrom(to, lab.WebPort), pageTime)
			if err != nil {
				if fate == "carried" {
					t.Errorf("%s: %v", what, err)
				}
				break
			}
			seen, err := netip.ParseAddrPort(strings.Fields(page)[2])
			b.must(err)
			used[slices.IndexFunc(b.Plan.Lines, func(p lab.PlanLine) bool { return p.Customer6.Contains(seen.Addr()) })] = true
		}
		var got []int
		for line := range used {
			got = append(got, line)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the lines %v were used, want %v", what, got, want)
		}
	}
	anywhere, pair, strict := b.Plan.Servers6[1], b.Plan.Servers6[2], b.Plan.Servers6[3]
	check("all others", inside, anywhere, "", "carried", 0, 1, 2)
	check("a policy", inside, pair, "pair", "carried", 0, 1)
	check("a policy with one line", inside, strict, "strict", "carried", 0)
	check("an address of a line", own, anywhere, "", "carried", 2)
	check("an address of a line, and a policy", own, pair, "", "carried", 2)
	b.must(b.CutFamily6(2))
	b.uses6(soon, 0, 1)
	if e, lines := b.explains(own, anywhere); e.Fate != "refused" || len(lines) != 0 {
		t.Errorf("line 3 is dead: explain says %s, lines %v", e.Fate, lines)
	}
	b.told6(own, anywhere)
	b.must(b.Restore(2))
	b.uses6(20*time.Second, 0, 1, 2)
	check("the line of an address is back", own, anywhere, "", "carried", 2)
	b.must(b.CutFamily6(0))
	b.uses6(soon, 1, 2)
	check("line 1 is dead, all others", inside, anywhere, "", "carried", 1, 2)
	check("line 1 is dead, a policy", inside, pair, "pair", "carried", 1)
	check("line 1 is dead, its policy", inside, strict, "strict", "refused")
	if out, code := b.output("explain", b.Plan.Lines[0].Address.String(), b.Plan.Servers[1].String(), "tcp", "80"); code != 0 || strings.Contains(out, "differs") {
		t.Errorf("explain over IPv4: %d: %s", code, out)
	}
	b.noLeaks()
	b.cleaned6()
}

// told6 wants a host inside to be told that there is no way from its address. Where router and host share a
// kernel, the first answer comes while the socket is still busy with connecting, and the second one counts.
func (b *bed) told6(from, to netip.Addr) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := b.Client.DialFrom(ctx, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), "tcp", netip.AddrPortFrom(to, lab.WebPort).String())
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ENETUNREACH) {
		b.t.Errorf("a host with an address of a dead line is told: %v", err)
	}
}
