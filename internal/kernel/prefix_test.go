package kernel_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"ftr/internal/routing"
)

// A file with a delegated prefix is read anew each time, through symbolic links, and what is no such file
// names nothing.
func TestPrefixFiles(t *testing.T) {
	w := newRealWorld(t, "prefixes")
	dir := t.TempDir()
	file, link := filepath.Join(dir, "pd"), filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	look := func() map[string]netip.Prefix {
		obs, err := w.Observe(context.Background(), routing.Scope{PrefixFiles: []string{link, dir, filepath.Join(dir, "none")}})
		if err != nil {
			t.Fatal(err)
		}
		return obs.Prefixes
	}
	if got := look(); len(got) != 0 {
		t.Errorf("before there is a file: %v", got)
	}
	for text, want := range map[string]string{"2001:db8:1200::/48\n": "2001:db8:1200::/48", "prefix 2001:db8:3400::/56": "2001:db8:3400::/56", "nothing": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := look()
		if p, ok := got[link]; ok != (want != "") || ok && p.String() != want || len(got) > 1 {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}
