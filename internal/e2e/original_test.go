package e2e_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An old file and the firewall rules that the original program made of it years ago, whole-word marks
// and all, go on working: the same tables, priorities and marks; balance, symmetry and failover.
func TestOriginal(t *testing.T) {
	t.Parallel()
	b, text := newOriginalBed(t, three(), "original-2016.conf")
	b.must(b.WriteConfig(text))
	b.must(b.Router.Input(fixture(t, "original.iptables"), "iptables-restore"))
	// What the original program left: its own rules and routes, without a tag.
	b.must(b.Router.Batch(strings.Split(strings.TrimSpace(fixture(t, "original.ip")), "\n")...))
	b.must(b.StartDaemon(t.Context()))
	b.uses(10*time.Second, 0, 1, 2)
	b.wait("the state in the kernel", soon, func() bool { return b.golden() == fixture(t, "original.golden") })
	if diff := cmp.Diff(fixture(t, "original.golden"), b.golden()); diff != "" {
		t.Errorf("rules and routes (-want +got):\n%s", diff)
	}

	for i, share := range b.spread("1,000 connections", 1000) {
		if math.Abs(share-1.0/3) > 0.05 {
			t.Errorf("line %d carried %.3f of the connections, want 0.333", i+1, share)
		}
	}
	b.incoming("at first", 100)
	download := b.download(1)
	download.ResetGap()
	b.must(b.CutCarrier(0))
	b.uses(soon, 1, 2)
	b.spread("line 1 unplugged", 60)
	b.must(b.Restore(0))
	b.uses(10*time.Second, 0, 1, 2)
	b.undisturbed("line 1 unplugged and restored", download)
	b.noLeaks()
}

// golden is the state as ip(8) shows it.
func (b *bed) golden() string {
	var all strings.Builder
	for line := range strings.Lines(b.ip("rule") + b.tables()) {
		all.WriteString(strings.TrimRight(line, " \t\n") + "\n")
	}
	return all.String()
}
