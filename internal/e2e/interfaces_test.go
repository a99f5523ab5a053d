package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// While it runs, the interface of a line gets another name and its own back, and is removed and made
// again. The other lines do not notice.
func TestInterfaceRenamedAndMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.begin(b.Config())
	others := b.download(1)
	b.pause(2 * time.Second) // until the lines have been well for a while
	others.ResetGap()

	since := time.Now()
	b.must(b.Router.Batch("link set wan1 name elsewhere"))
	b.uses(soon, 1, 2)
	b.says("routing --> standby (interface does not exist)", since, soon)
	b.spread("renamed", 30)
	b.must(b.Router.Batch("link set elsewhere name wan1"))
	b.back("named as before")

	since = time.Now()
	b.must(b.Router.Batch("link delete wan1"))
	b.uses(soon, 1, 2)
	b.says("routing --> standby (interface does not exist)", since, soon)
	b.spread("removed", 30)
	line := b.Plan.Lines[0]
	b.must(b.Router.Batch("link add wan1 type veth peer name customer netns "+b.Providers[0].Name, "link set wan1 up"))
	b.must(b.Providers[0].Batch(fmt.Sprintf("address add %s/24 dev customer", line.Gateway), "link set customer up"))
	b.must(b.Router.Batch(fmt.Sprintf("address add %s/24 dev wan1", line.Address)))
	b.back("made again")
	b.undisturbed("renamed, removed and made again", others)
}

// begin starts the daemon and waits until it uses all lines.
func (b *bed) begin(config string) {
	b.t.Helper()
	since := time.Now()
	b.start(config)
	b.says("Initial default route uplinks: Provider 1, Provider 2, Provider 3", since, 10*time.Second)
	b.uses(10*time.Second, 0, 1, 2)
}

// back wants all lines in use again, and all that belongs to that.
func (b *bed) back(what string) {
	b.t.Helper()
	b.uses(20*time.Second, 0, 1, 2)
	for _, key := range []string{"rp_filter", "ignore_routes_with_linkdown"} {
		value, err := b.Router.Output("cat", "/proc/sys/net/ipv4/conf/wan1/"+key)
		b.must(err)
		if want := map[bool]string{true: "2", false: "1"}[key == "rp_filter"]; strings.TrimSpace(value) != want {
			b.t.Errorf("%s: %s is %s, want %s", what, key, value, want)
		}
	}
	if got, want := b.table(1), "default via 100.64.1.1 dev wan1 proto 117 src 100.64.1.2"; !strings.HasPrefix(got, want) {
		b.t.Errorf("%s: the table of line 1 is %s, want %s", what, got, want)
	}
	for i, share := range b.spread(what, 60) {
		if share == 0 {
			b.t.Errorf("%s: line %d carries nothing", what, i+1)
		}
	}
	b.noLeaks()
}

// Two interfaces change their names with each other. Lines with a fixed address are not used over an
// interface that has another one, and the status says where the address is.
func TestInterfacesSwapped(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.begin(b.Config())
	others := b.download(2)
	b.pause(2 * time.Second)
	others.ResetGap()
	swap := []string{"link set wan1 name between", "link set wan2 name wan1", "link set between name wan2"}
	b.must(b.Router.Batch(swap...))
	b.uses(soon, 2)
	b.wait("the reason in the status", soon, func() bool {
		out, _ := b.output("status", "--json")
		return strings.Contains(out, "address 100.64.1.2 is not on the interface, but on wan2") &&
			strings.Contains(out, "address 100.64.2.2 is not on the interface, but on wan1")
	})
	b.spread("swapped", 30)
	b.must(b.Router.Batch(swap...))
	b.back("swapped back")
	b.undisturbed("swapped and swapped back", others)
}

// Lines that take their address from the interface are used on with the names exchanged, and with a new
// address, which the routes and new connections have at once.
//
// Not in parallel: leases that DHCP clients of other tests write for interfaces of the same names would be
// taken for this router's.
func TestAddressesFollowed(t *testing.T) {
	b := newBed(t, three())
	text := b.Config()
	for _, line := range b.Plan.Lines[:2] {
		text = edit(t, text, fmt.Sprintf("  ip: %s\n  gateway: %s\n", line.Address, line.Gateway), "")
		b.must(b.Router.Batch(fmt.Sprintf("route add default via %s dev %s metric %d", line.Gateway, line.Interface, 100+line.Number)))
	}
	b.begin(text)
	others := b.download(2)
	b.pause(2 * time.Second)
	others.ResetGap()
	since := time.Now()
	b.must(b.Router.Batch("link set wan1 name between", "link set wan2 name wan1", "link set between name wan2"))
	b.wait("the tables of the lines", soon, func() bool {
		return strings.HasPrefix(b.table(1), "default via 100.64.2.1 dev wan1 proto 117 src 100.64.2.2") &&
			strings.HasPrefix(b.table(2), "default via 100.64.1.1 dev wan2 proto 117 src 100.64.1.2")
	})
	b.uses(20*time.Second, 0, 1, 2)
	b.says("ip 100.64.1.2 --> ", since, soon)
	b.spread("swapped", 60)
	b.noLeaks()

	// Another address on the line, which keeps its place.
	b.must(b.Router.Batch("address add 100.64.1.77/24 dev wan2", "address delete 100.64.1.2/24 dev wan2",
		"address replace 100.64.1.77/24 dev wan2", "route replace default via 100.64.1.1 dev wan2 metric 101"))
	b.wait("the new address", soon, func() bool {
		return strings.HasPrefix(b.table(2), "default via 100.64.1.1 dev wan2 proto 117 src 100.64.1.77")
	})
	if rules := b.ip("rule"); strings.Contains(rules, "100.64.1.2 ") || !strings.Contains(rules, "20001:	from 100.64.1.77 lookup 2") {
		t.Errorf("rules after renumbering:\n%s", rules)
	}
	b.uses(20*time.Second, 0, 1, 2)
	b.spread("renumbered", 60)
	b.undisturbed("swapped and renumbered", others)
}
