package kernel_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ftr/internal/firewall"
	"ftr/internal/kernel"
)

// What holds translation can be removed by nobody else, has another name each time, so that what somebody saved can
// be loaded, and is gone with the firewall and with the program.
func TestHoldTranslation(t *testing.T) {
	w := newRealWorld(t, "hold")
	list := func(what string) string {
		t.Helper()
		out, err := w.ns.Output("nft", "list", what)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	flush := func() error { return w.ns.Run("nft", "flush ruleset") }
	for range 2 { // one program after the other
		k, err := kernel.Open(kernel.Options{NetNS: w.ns.FD()})
		if err != nil {
			t.Fatal(err)
		}
		hold := func() error { return k.HoldTranslation(t.Context()) }
		for range 2 {
			if err := errors.Join(hold(), flush()); err != nil {
				t.Fatal(err)
			}
			name, saved := list("tables"), list("ruleset")
			if !strings.HasPrefix(name, "table inet "+firewall.HoldTables) || strings.Contains(name, "\n") {
				t.Errorf("tables: %q", name)
			}
			if err := w.ns.Run("nft", "delete "+name); err == nil {
				t.Error("another program has removed it")
			}
			if err := hold(); err != nil {
				t.Fatal(err)
			}
			if next := list("tables"); next == name || strings.Contains(next, "\n") {
				t.Errorf("tables: %q, and before %q", next, name)
			}
			if err := w.ns.Run("nft", "flush ruleset\n"+saved); err != nil {
				t.Errorf("a ruleset that was saved before: %v", err)
			}
			if _, err := k.RemoveFirewall(t.Context()); err != nil || list("tables") != "" {
				t.Errorf("removed (%v), and there is %q", err, list("tables"))
			}
		}
		if err := errors.Join(hold(), k.Close()); err != nil || list("tables") != "" {
			t.Errorf("closed (%v), and there is %q", err, list("tables"))
		}
	}
}

func TestHoldTranslationEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRealWorld(t, "held").HoldTranslation(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
