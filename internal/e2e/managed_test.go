package e2e_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ftr/internal/firewall"
	"ftr/internal/lab"
)

// newManagedBed makes a lab whose router has no firewall rules but those that the program keeps, and one
// for the lab's own server.
func newManagedBed(t *testing.T, lines []lab.Line) (*bed, string) {
	t.Helper()
	b := newBed(t, lines)
	return b, b.Config() + "firewall: managed\n"
}

// firewalls are the ends of configurations for each kind of firewall, by name.
func firewalls() map[string]string {
	return map[string]string{"manual": "", "managed": "firewall: managed\n"}
}

// rules is the table of the managed firewall, without what traffic changes; "" if there is none.
func (b *bed) rules() string {
	out, err := b.Router.Output("nft", "--stateless", "list table inet ftr")
	if err != nil {
		return ""
	}
	return out
}

// round opens a download for each line at once and returns which lines carry them.
func (b *bed) round() []int {
	b.t.Helper()
	n := len(b.Plan.Lines)
	begun := make(chan *lab.Download, n)
	failed := make(chan error, n)
	for range n {
		go func() {
			d, err := b.StartDownload(b.t.Context(), b.Plan.Servers[0], 0, 100<<10)
			failed <- err
			begun <- d
		}()
	}
	var lines []int
	for range n {
		b.must(<-failed)
		d := <-begun
		lines = append(lines, d.Line)
		b.t.Cleanup(d.Stop)
	}
	slices.Sort(lines)
	return lines
}

// With a managed firewall and no other rules: connections are dealt exactly, come back the right way, move
// away from a line that falls silent, and come back to it, and no rule changes for that.
func TestManaged(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	b.begin(text)
	if out, err := b.Router.Output("nft", "list", "tables"); err != nil || strings.Contains(out, "filter") || strings.Contains(out, "mangle") {
		t.Errorf("tables beside the program's: %s, %v", out, err)
	}
	for range 5 {
		if lines := b.round(); !slices.Equal(lines, []int{0, 1, 2}) {
			t.Errorf("three downloads at once run on the lines %v", lines)
		}
	}
	b.exactly("all is well", 60, []int{20, 20, 20})
	b.incoming("all is well", 20)
	rules, events := b.rules(), b.monitor()

	knocks := b.knock(3 * time.Second)
	b.pause(300 * time.Millisecond)
	b.must(b.Cut(0))
	cut := time.Now()
	b.uses(soon, 1, 2)
	t.Logf("the silent line was out of use after %s", time.Since(cut))
	b.pause(time.Second)
	b.allSucceed("a line fell silent", slices.DeleteFunc(knocks.end(), func(a lab.Attempt) bool {
		return a.Start.Before(cut) // what has begun over the line ends with it
	}))
	knocks = b.knockOnce()
	attempts := b.spreadOnce(b.Plan.Servers[0], 60)
	b.allSucceed("the turns of the dead line", attempts)
	if shares := attempts.Shares(3); shares[0] != 0 || shares[1] < 0.25 || shares[2] < 0.25 {
		t.Errorf("while line 1 is dead the lines carry %v", shares)
	}
	b.must(b.Restore(0))
	b.uses(20*time.Second, 0, 1, 2)
	b.allSucceed("the line came back", knocks.end())
	b.exactly("the line is back", 60, []int{20, 20, 20})
	if now := b.rules(); now != rules {
		t.Errorf("failure and recovery changed the rules from\n%s\nto\n%s", rules, now)
	}
	if told := events.all(); told != "" {
		t.Errorf("failure and recovery changed something in nf_tables:\n%s", told)
	}
	b.noLeaks()
}

// The managed table counts what is sent and answered: with probes once a minute, traffic alone tells of a line
// that falls silent. The tables that count for a manual firewall are not there.
func TestManagedSilent(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	b.begin(edit(t, text, "interval: 1\n", "interval: 60\n"))
	if out, err := b.Router.Output("nft", "list", "tables"); err != nil || strings.Contains(out, firewall.EvidenceTable) {
		t.Errorf("tables: %s, %v", out, err)
	}
	knocks := b.knock(inTime)
	b.pause(time.Second)
	b.must(b.Cut(0))
	cut := time.Now()
	b.uses(3*time.Second, 1, 2)
	t.Logf("the silent line was out of use after %s", time.Since(cut))
	b.pause(clientPatience + 500*time.Millisecond)
	if attempts := knocks.end(); attempts.Failed() == 0 {
		t.Error("no connection failed: the line was not broken")
	}
}

// exactly opens connections one after another and wants each line to carry its turns.
func (b *bed) exactly(what string, n int, want []int) {
	b.t.Helper()
	got := make([]int, len(want))
	for i, share := range b.spread(what, n) {
		got[i] = int(math.Round(share * float64(n)))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: of %d connections the lines carried %v, want %v", what, n, got, want)
	}
}

// Any six connections in a row use lines of the weights 1, 2 and 3 once, twice and three times; another
// priority group has a deal of its own.
func TestManagedWeights(t *testing.T) {
	t.Parallel()
	lines := []lab.Line{{Weight: 1}, {Weight: 2}, {Weight: 3}, {Group: 2}}
	b, text := newManagedBed(t, lines)
	b.start(text)
	b.says("Initial default route uplinks: Provider 1, Provider 2, Provider 3", time.Time{}, 10*time.Second)
	for range 4 {
		b.exactly("weights", 6, []int{1, 2, 3, 0})
	}
	events := b.monitor()
	for i := range 3 {
		b.must(b.CutCarrier(i))
	}
	b.uses(soon, 3)
	b.exactly("the standby line", 6, []int{0, 0, 0, 6})
	b.wait("the deal of the second group", soon, func() bool { return !strings.Contains(b.rules(), "mod 6") })
	told := events.all()
	for line := range strings.Lines(told) {
		deal := strings.Contains(line, " inet ftr deal") || strings.Contains(line, " set inet ftr __map") // its anonymous map
		if !deal && !strings.Contains(line, " inet ftr_scratch") {
			t.Errorf("another group carries, and that changed more than the deal: %s", line)
		}
	}
	if !strings.Contains(told, "add rule inet ftr deal ") {
		t.Errorf("no new deal was told:\n%s", told)
	}
	for i := range 3 {
		b.must(b.Restore(i))
	}
	b.uses(20*time.Second, 0, 1, 2)
	b.wait("the deal of the first group", soon, func() bool { return strings.Contains(b.rules(), "mod 6") })
	b.exactly("weights again", 6, []int{1, 2, 3, 0})
	b.noLeaks()
}

// What others have, rules and marks, stays as it is through a hundred failures, reloads and cleanup.
func TestManagedForeign(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	const before = `table inet marks {
	chain tag { type filter hook prerouting priority -160; iifname "lan0" meta mark set meta mark | 0x00058000; }
	chain keep { type filter hook postrouting priority 200; ct mark set ct mark | 0x00058000; }
}
`
	const after = `table inet guests { chain input { type filter hook input priority 10; tcp dport 9999 counter drop; }; }
`
	b.must(b.Router.Input(before, "nft", "-f", "-"))
	b.must(b.Router.Input(fixture(t, "beside/docker.rules"), "iptables-nft-restore", "--noflush"))
	b.begin(text)
	b.must(b.Router.Input(after, "nft", "-f", "-"))
	b.must(b.Router.Input(fixture(t, "beside/tailscale.rules"), "iptables-nft-restore", "--noflush"))
	want, rules := b.others(), b.rules()
	b.spread("with others", 30)
	for _, l := range b.Plan.Lines { // they come back at once
		if out, code := b.output("uplink", l.Interface, "up"); code != 0 {
			t.Fatalf("uplink up: %d: %s", code, out)
		}
	}
	events := b.monitor()
	for i := range 100 {
		line := i % 3
		b.must(b.CutCarrier(line))
		b.wait(fmt.Sprintf("failure %d is seen", i+1), soon, func() bool { return len(b.selected()) < 3 })
		b.must(b.Restore(line))
		b.uses(soon, 0, 1, 2)
	}
	if told := events.all(); told != "" {
		t.Errorf("100 failures changed something in nf_tables:\n%s", told)
	}
	if now := b.others(); now != want {
		t.Errorf("after 100 failures others' tables changed from\n%s\nto\n%s", want, now)
	}
	b.must(b.WriteConfig(edit(t, text, "Provider 1", "First")))
	if out, code := b.output("reload"); code != 0 {
		t.Fatalf("reload: %d: %s", code, out)
	}
	b.uses(20*time.Second, 0, 1, 2)
	if now := b.rules(); strings.ReplaceAll(now, "First", "Provider 1") != rules {
		t.Errorf("the table changed from\n%s\nto\n%s", rules, now)
	}
	b.spread("with others, later", 30)
	marks, err := b.Router.Output("conntrack", "-L", "-p", "tcp")
	b.must(err)
	// 0x58000 is of the others, 0x100 says that they began inside, over IPv4.
	if !strings.Contains(marks, "mark=360705") || !strings.Contains(marks, "mark=360706") || !strings.Contains(marks, "mark=360707") {
		t.Errorf("connections do not carry our marks beside the others':\n%s", marks)
	}
	b.must(b.StopDaemon())
	if out, code := b.output("cleanup"); code != 0 {
		t.Fatalf("cleanup: %d: %s", code, out)
	}
	if now := b.rules(); now != "" {
		t.Errorf("after cleanup there is still\n%s", now)
	}
	if now := b.others(); now != want {
		t.Errorf("after cleanup others' tables changed from\n%s\nto\n%s", want, now)
	}
}

// The table stays through stops, kills and starts, and nobody notices. Removed under load it is back at once, and
// what runs goes on.
func TestManagedLife(t *testing.T) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	b.begin(text)
	var runs []*lab.Download
	for i := range 2 * len(b.Plan.Lines) {
		runs = append(runs, b.download(i%len(b.Plan.Lines)))
	}
	rules := b.rules()
	knocks := b.knockOnce()
	for range 2 {
		b.must(b.StopDaemon())
		b.unchanged("stopped", rules, b.rules)
		b.restart()
		b.must(b.KillDaemon())
		b.unchanged("killed", rules, b.rules)
		b.restart()
		b.unchanged("started again", rules, b.rules)
	}
	b.allSucceed("stopped, killed, started", knocks.end())
	b.undisturbed("stopped, killed, started", runs...)
	if b.Log().Contains("the firewall table is brought up to date", time.Time{}) {
		t.Error("a restart found the table otherwise than it was left")
	}
	for _, command := range []string{"delete table inet ftr", "flush chain inet ftr leave2", "flush ruleset"} {
		for _, d := range runs {
			d.ResetGap()
		}
		knocks = b.knock(3 * time.Second)
		since := time.Now()
		b.must(b.Router.Run("nft", command))
		b.wait("what "+command+" did is undone", soon, func() bool { return b.rules() == rules })
		b.says("the firewall table was changed by another program", since, soon)
		b.pause(500 * time.Millisecond)
		b.allSucceed(command, knocks.end())
		b.undisturbed(command, runs...)
	}
	b.exactly("the table is back", 30, []int{10, 10, 10})
}

// Marks go by the place in the list: where a line is taken out of the middle, the connections of those behind it get
// the new ones and go on, after a reload as after a start with the changed file.
func TestManagedRemark(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(b *bed, text string){
		"reload": func(b *bed, text string) {
			b.must(b.WriteConfig(text))
			if out, code := b.output("reload"); code != 0 {
				b.t.Fatalf("reload: %d: %s", code, out)
			}
		},
		"start": func(b *bed, text string) {
			b.must(b.StopDaemon())
			b.must(b.WriteConfig(text))
			b.must(b.StartDaemon(b.t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) { otherMarks(t, take) })
	}
}

func otherMarks(t *testing.T, take func(b *bed, text string)) {
	t.Parallel()
	b, text := newManagedBed(t, three())
	b.begin(text)
	runs := []*lab.Download{b.download(0), b.download(2)}
	lost := b.download(1)
	take(b, edit(t, text, b.lineKeys(1), ""))
	b.says("connections that were there before belong to their lines now", time.Time{}, soon)
	b.says("connections were released: their line is not in the configuration any more", time.Time{}, soon)
	b.reloaded("the one in the middle is gone", 0, 2)
	b.pause(time.Second)
	for _, d := range runs {
		d.ResetGap()
	}
	b.pause(time.Second)
	b.undisturbed("other marks", runs...)
	before := lost.Bytes()
	b.pause(500 * time.Millisecond)
	if n := lost.Bytes() - before; n > 0 {
		t.Errorf("the download of the line that is gone went on with %d bytes", n)
	}
	b.exactly("two lines", 20, []int{10, 0, 10})
}

// A reload goes from the rules of generate_iptables to a managed firewall and back, while connections are
// made: none fails, and those that run go on.
func TestManagedSwitch(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	manual := b.Config()
	b.begin(manual)
	runs := []*lab.Download{b.download(0), b.download(1), b.download(2)}
	knocks := b.knockOnce()
	b.must(b.WriteConfig(manual + "firewall: managed\n"))
	if out, code := b.output("reload"); code != 0 {
		t.Fatalf("reload: %d: %s", code, out)
	}
	b.wait("the table is there", soon, func() bool { return b.rules() != "" })
	b.reloaded("managed", 0, 1, 2)
	b.must(b.Router.Run("iptables", "-P", "INPUT", "ACCEPT"))
	b.must(b.Router.Run("iptables", "-P", "FORWARD", "ACCEPT"))
	for _, table := range []string{"filter", "mangle", "nat"} {
		b.must(b.Router.Run("iptables", "-t", table, "-F"))
	}
	b.pause(500 * time.Millisecond)
	b.allSucceed("from manual to managed", knocks.end())
	b.exactly("managed", 30, []int{10, 10, 10})

	b.must(b.WriteConfig(manual))
	b.must(b.ApplyRules(t.Context()))
	knocks = b.knockOnce()
	if out, code := b.output("reload"); code != 0 {
		t.Fatalf("reload: %d: %s", code, out)
	}
	b.wait("the table is gone", soon, func() bool { return b.rules() == "" })
	b.reloaded("manual", 0, 1, 2)
	b.pause(500 * time.Millisecond)
	b.allSucceed("from managed to manual", knocks.end())
	b.undisturbed("manual, managed, manual", runs...)
	b.noLeaks()
}
