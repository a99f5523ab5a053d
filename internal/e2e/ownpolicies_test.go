package e2e_test

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

// cgroupRoot is where this test mounts the control groups, in its own mount namespace.
const cgroupRoot = "/sys/fs/cgroup"

// Policies lead what the router itself connects to, by user, port and control group, with the right address
// and over the next of their lines when one dies. They never lead probes, nor what is forwarded.
func TestOwnPolicies(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	// Not the process's number: control groups are the host's, and process 1 here is another one elsewhere.
	group := "ftr-test-" + rand.Text()
	b.must(unix.Mount("cgroup2", cgroupRoot, "cgroup2", 0, ""))
	t.Cleanup(func() {
		if err := unix.Unmount(cgroupRoot, 0); err != nil {
			t.Error(err)
		}
	})
	line := func(i int) string { return b.Plan.Lines[i].Interface }
	b.begin(fmt.Sprintf(`policies:
- {name: echoes, router: yes, protocol: icmp, uplinks: [%[2]s], last_resort: block}
- {name: person, user: [4711], uplinks: [%[2]s], last_resort: block}
- {name: place, router: yes, protocol: tcp, destination: [%[4]s], destination_port: %[5]d, uplinks: [%[3]s, {uplink: %[1]s, order: 2}]}
- {name: service, cgroup: [%[6]s], uplinks: [%[1]s, {uplink: %[2]s, order: 2}]}
`, line(0), line(1), line(2), b.Plan.Servers[1], lab.WebPort, group) + text)
	first, second := b.Plan.Servers[0], b.Plan.Servers[1]
	person := []string{"setpriv", "--reuid=4711", "--clear-groups"}
	service := []string{"sh", "-c", "echo $$ >" + filepath.Join(cgroupRoot, group, "cgroup.procs") + " && exec \"$@\"", "sh"}

	b.ownUses("a user", person, first, 1)
	b.ownUses("a destination and port", nil, second, 2)
	var lines []int
	for range 16 {
		i, err := b.ownLine(nil, first)
		b.must(err)
		lines = append(lines, i)
	}
	if slices.Sort(lines); len(slices.Compact(lines)) < 2 {
		t.Errorf("what no policy leads uses the lines %v alone", slices.Compact(lines))
	}
	b.exactly("what is forwarded", 30, []int{10, 10, 10})

	b.must(os.Mkdir(filepath.Join(cgroupRoot, group), 0o755))
	gone := false
	remove := func() {
		if gone {
			return
		}
		gone = true
		b.must(os.Remove(filepath.Join(cgroupRoot, group)))
	}
	defer remove()
	b.wait("the rule for the control group", 10*time.Second, func() bool { return strings.Contains(b.rules(), "control group") })
	b.ownUses("a control group", service, first, 0)

	out, code := b.output("explain", "--user", "4711", "router", first.String(), "tcp", "80")
	if code != 0 || !strings.Contains(out, "person: matches") || !strings.Contains(out, line(1)) {
		t.Errorf("explain: code %d:\n%s", code, out)
	}

	b.must(b.Cut(1))
	b.uses(soon, 0, 2) // and not none, as if probes were led
	if i, err := b.ownLine(person, first); err == nil {
		t.Errorf("the only line of a policy with block is dead, and line %d is used", i+1)
	}
	b.must(b.CutCarrier(2))
	b.uses(soon, 0)
	b.ownUses("the next line of a policy", nil, second, 0)
	b.must(b.Restore(1))
	b.must(b.Restore(2))
	b.uses(20*time.Second, 0, 1, 2)
	b.ownUses("the line is back", person, first, 1)
	b.ownUses("the line is back", nil, second, 2)

	remove()
	b.wait("no rule for the control group", 10*time.Second, func() bool { return !strings.Contains(b.rules(), "control group") })
	b.ownUses("without the control group", person, first, 1)
	b.noLeaks()
}

// ownUses opens connections from the router, by a command that runs others, and wants one line to carry them.
func (b *bed) ownUses(what string, as []string, server netip.Addr, line int) {
	b.t.Helper()
	for range 6 {
		got, err := b.ownLine(as, server)
		if err != nil || got != line {
			b.t.Errorf("%s: line %d, %v; want line %d", what, got+1, err, line+1)
		}
	}
}

// ownLine opens one connection from the router and returns the line whose address the server saw.
func (b *bed) ownLine(as []string, server netip.Addr) (int, error) {
	b.t.Helper()
	command := append(slices.Clone(as), "curl", "--silent", "--show-error", "--max-time", "3", fmt.Sprintf("http://%s/", netip.AddrPortFrom(server, lab.WebPort)))
	page, err := b.Router.Output(command[0], command[1:]...)
	if err != nil {
		return -1, err
	}
	words := strings.Fields(page)
	seen, err := netip.ParseAddrPort(words[len(words)-1])
	b.must(err)
	for i := range b.Plan.Lines {
		if a, err := b.Address(i); err == nil && a == seen.Addr() {
			return i, nil
		}
	}
	return -1, fmt.Errorf("the server saw %s", seen)
}
