package e2e_test

import (
	"strings"
	"testing"
	"time"

	"ftr/internal/lab"
)

// Connections from the internet are answered through the line that they came in on, also by a server
// behind DNAT and also after the line's interface went down and up.
func TestIncoming(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	b.start(b.Config())
	b.uses(10*time.Second, 0, 1, 2)
	b.incoming("at first", 100)
	for i, line := range b.Plan.Lines {
		b.must(b.Bounce(i))
		b.wait("the routes of "+line.Interface, soon, func() bool {
			return strings.Contains(b.table(1+i), "default via "+line.Gateway.String())
		})
		b.uses(soon, 0, 1, 2)
	}
	b.incoming("after all interfaces went down and up", 100)
}

// What is established stays where it is: on the other lines when one fails, on its own when the
// selection changes, on the standby line when the preferred ones are back.
func TestEstablished(t *testing.T) {
	t.Parallel()
	for name, firewall := range firewalls() {
		t.Run(name, func(t *testing.T) { established(t, firewall) })
	}
}

func established(t *testing.T, firewall string) {
	t.Parallel()
	b := newBed(t, []lab.Line{{Group: 1}, {Group: 1}, {Group: 2}})
	b.start(b.Config() + firewall)
	b.uses(10*time.Second, 0, 1)
	first, second := b.download(0), b.download(1)

	second.ResetGap()
	b.must(b.Cut(0))
	b.uses(10*time.Second, 1)
	b.undisturbed("line 1 cut", second)
	first.Stop()

	b.must(b.CutCarrier(1))
	b.uses(10*time.Second, 2)
	second.Stop()
	third := b.download(2)
	own := b.ownDownload()

	b.must(b.Restore(0))
	b.uses(10*time.Second, 0)
	b.must(b.Restore(1))
	b.uses(10*time.Second, 0, 1)
	before, ownBefore := third.Bytes(), own.bytes.Load()
	b.wait("more of the downloads on the standby line", soon, func() bool {
		return third.Bytes() > before+100<<10 && own.bytes.Load() > ownBefore+100<<10
	})
	b.undisturbed("lines 1 and 2 preferred again", third)
	if share := b.spread("lines 1 and 2 preferred again", 60); share[2] > 0 {
		t.Errorf("%.2f of the new connections use the standby line", share[2])
	}
	b.noLeaks()
}
