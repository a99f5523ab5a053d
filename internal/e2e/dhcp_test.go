package e2e_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ftr/internal/lab"
)

// leaseDir is where Debian's dhclient keeps its leases, and where the program looks for them.
const leaseDir = "/var/lib/dhcp"

// dhcpLine is a line with a real server at the provider and a real client on the router.
type dhcpLine struct {
	*bed
	line           int
	client         string // dhclient or udhcpc
	server, daemon *exec.Cmd
}

// dhcp makes a line a DHCP line: its address goes, a server and a client come.
func (b *bed) dhcp(line int, client string) *dhcpLine {
	b.t.Helper()
	l := &b.Plan.Lines[line]
	l.Kind = lab.DHCP
	b.must(b.Router.Batch("addr flush dev " + l.Interface))
	d := &dhcpLine{bed: b, line: line, client: client}
	d.serve(l.Gateway, l.Address)
	d.ask()
	b.t.Cleanup(func() { stop(d.daemon); stop(d.server) })
	return d
}

// serve makes the provider give out just one address, to be renewed every 3 s. With --no-daemon the server
// does not change its user, which it could not without root.
func (d *dhcpLine) serve(gateway, address netip.Addr) {
	d.t.Helper()
	stop(d.server)
	leases := filepath.Join(d.Dir, fmt.Sprintf("dnsmasq.%d.%s", d.line, address))
	d.server = exec.Command("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
		"--interface=customer", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--dhcp-ignore-names", "--pid-file", "--dhcp-leasefile="+leases,
		fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,2m", address, address),
		"--dhcp-option=option:router,"+gateway.String(), "--dhcp-option=option:T1,3", "--dhcp-option=option:T2,8")
	d.must(d.Providers[d.line].Start(d.server))
}

// ask starts the client in the foreground, with Debian's own script. What it says is in the lab's log.
func (d *dhcpLine) ask() {
	d.t.Helper()
	name := d.Plan.Lines[d.line].Interface
	switch d.client {
	case "dhclient":
		d.daemon = exec.Command("dhclient", "-4", "-d", "-lf", filepath.Join(leaseDir, "dhclient."+name+".leases"),
			"-pf", filepath.Join(d.Dir, name+".pid"), "-e", "IF_METRIC=100", name)
	case "udhcpc":
		d.daemon = exec.Command("udhcpc", "-f", "-R", "-i", name, "-t", "10", "-T", "1", "-A", "1")
	}
	d.daemon.Stdout, d.daemon.Stderr = d.Log(), d.Log()
	d.must(d.Router.Start(d.daemon))
}

// renew makes the client ask the server again. dhclient does it every 3 s, as the server says; udhcpc
// knows only the lease's own time and wants to be told.
func (d *dhcpLine) renew() {
	d.t.Helper()
	if d.client == "udhcpc" {
		d.must(d.daemon.Process.Signal(syscall.SIGUSR1))
	}
}

// release makes the client give its address back: the interface has none after that.
func (d *dhcpLine) release() {
	d.t.Helper()
	if d.client == "udhcpc" {
		d.must(d.daemon.Process.Signal(syscall.SIGUSR2))
		return
	}
	stop(d.daemon)
	name := d.Plan.Lines[d.line].Interface
	d.must(d.Router.Run("dhclient", "-4", "-r", "-lf", filepath.Join(leaseDir, "dhclient."+name+".leases"),
		"-pf", filepath.Join(d.Dir, name+".pid"), name))
}

func stop(cmd *exec.Cmd) {
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// carries waits until the line is routed by this address and gateway, and wants it to carry its share.
func (d *dhcpLine) carries(what string, gateway, address netip.Addr) {
	d.t.Helper()
	line := d.Plan.Lines[d.line]
	want := fmt.Sprintf("default via %s dev %s proto 117 src %s", gateway, line.Interface, address)
	d.wait(fmt.Sprintf("%s: %q in table %d", what, want, 1+d.line), 20*time.Second, func() bool {
		return strings.Contains(d.table(1+d.line), want)
	})
	d.uses(10*time.Second, 0, 1, 2)
	if share := d.spread(what, 60); share[d.line] == 0 {
		d.t.Errorf("%s: the line carried none of 60 connections", what)
	}
}

// mainDefault returns main's default routes over the line.
func (d *dhcpLine) mainDefault() string {
	return d.ip("route", "show", "default", "dev", d.Plan.Lines[d.line].Interface)
}

// A real server and the real clients: whatever they do to the line's address and to main's default
// route, traffic is balanced over the lines that work.
func TestDHCP(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	lines := []*dhcpLine{b.dhcp(0, "dhclient"), b.dhcp(1, "udhcpc")}
	b.start(edit(t, b.Config(), "tests:\n", "tests:\n  flap_memory: 1\n  max_hold_down: 1\n")) // the address goes and comes often here
	for _, d := range lines {
		line := b.Plan.Lines[d.line]
		d.carries(d.client, line.Gateway, line.Address)
		b.wait(d.client+" has left a default route in main", soon, func() bool { return d.mainDefault() != "" })
	}
	for _, d := range lines {
		t.Run(d.client, func(t *testing.T) { (&dhcpLine{&bed{b.Lab, t}, d.line, d.client, d.server, d.daemon}).life(d) })
	}
	b.noLeaks()
}

// life plays what happens to a DHCP line, while a download runs on the static one.
func (d *dhcpLine) life(original *dhcpLine) {
	defer func() { original.server, original.daemon = d.server, d.daemon }()
	line := d.Plan.Lines[d.line]
	other := d.download(2)
	other.ResetGap()

	since := time.Now()
	d.renew()
	d.says(map[string]string{"dhclient": "bound to ", "udhcpc": "lease of "}[d.client]+line.Address.String(), since, 10*time.Second)
	d.carries("renewed", line.Gateway, line.Address)

	next := line.Address.Next().Next()
	d.serve(line.Gateway, next)
	d.renew()
	d.carries("another address", line.Gateway, next)

	// Somebody deletes the client's default route; address and line remain.
	d.must(d.Router.Batch("route del default dev " + line.Interface))
	if left := d.mainDefault(); left != "" {
		d.t.Fatalf("main still has %q", left)
	}
	if n := d.spreadOnce(d.Plan.Servers[0], 60).Failed(); n > 0 {
		d.t.Errorf("without main's default route %d of 60 connections fail", n)
	}
	d.carries("without main's default route", line.Gateway, next)

	d.release()
	var rest []int
	for i := range d.Plan.Lines {
		if i != d.line {
			rest = append(rest, i)
		}
	}
	d.uses(10*time.Second, rest...)
	d.says("no address", since, soon)
	d.spread("released", 30)
	d.undisturbed("all the time", other)
	d.again()
}

// again gets the line back, now with an address whose time runs out in the kernel.
func (d *dhcpLine) again() {
	line := d.Plan.Lines[d.line]
	address := line.Address.Next().Next()
	if d.client == "dhclient" {
		d.ask()
	} else {
		d.renew() // wakes it up
	}
	d.carries("leased again", line.Gateway, address)
	stop(d.daemon)
	stop(d.server)
	since := time.Now()
	d.must(d.Router.Batch(fmt.Sprintf("addr change %s/24 dev %s valid_lft 1 preferred_lft 1", address, line.Interface)))
	d.says("no address", since, 10*time.Second)
	if slices.Contains(d.selected(), d.line) {
		d.t.Error("the line is in use after its address ran out")
	}
	// For the other client: a working line again.
	d.serve(line.Gateway, line.Address)
	d.ask()
	d.carries("a new client", line.Gateway, line.Address)
}

// With an old file's base_priority main is asked first, so the default route that a DHCP client needs
// to leave there would take everything.
func TestDHCPAfterMain(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.Plan.Lines[0].Kind = lab.DHCP
	b.must(b.Router.Batch("route add default via " + b.Plan.Lines[0].Gateway.String() + " dev wan1 metric 100"))
	b.must(b.WriteConfig(edit(t, b.Config(), "base_priority: 20000", "base_priority: 40000")))
	// IPv6 addresses come by themselves, a moment after the interfaces, and so does the state of the links.
	state := func() string {
		return strings.ReplaceAll(b.ip("rule")+b.ip("-4", "route", "show", "table", "all"), " linkdown", "")
	}
	before := state()
	for _, action := range []string{"check", "monitor"} {
		out, code := b.output(action)
		if code != 2 || !strings.Contains(out, "base_priority 40000 main is asked first") || !strings.Contains(out, "set base_priority to 20000") ||
			!strings.Contains(out, "via 100.64.1.1 dev wan1") {
			t.Errorf("%s: exit code %d, said:\n%s", action, code, out)
		}
	}
	if after := state(); after != before {
		t.Errorf("the refused start changed the router from\n%s\nto\n%s", before, after)
	}
}
