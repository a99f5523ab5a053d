package kernel_test

import (
	"os"
	"strings"
	"testing"

	"ftr/internal/config"
)

// Rules of iptables-legacy are read, in the family that has them; looking makes no table.
func TestLegacyRules(t *testing.T) {
	w := newRealWorld(t, "legacy")
	rules, err := w.LegacyRules(t.Context())
	if err != nil || len(rules) > 0 {
		t.Errorf("at first %v, %v", rules, err)
	}
	tables := func() string {
		t.Helper()
		var names []byte
		err := w.ns.Do(func() (err error) {
			names, err = os.ReadFile("/proc/thread-self/net/ip_tables_names")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(names)
	}
	if made := tables(); made != "" {
		t.Errorf("looking made the tables %q", made)
	}
	if err := w.ns.Run("ip6tables-legacy", "-t", "mangle", "-A", "FORWARD", "-j", "MARK", "--set-mark", "7"); err != nil {
		t.Fatal(err)
	}
	rules, err = w.LegacyRules(t.Context())
	if _, four := rules[config.IPv4]; four || err != nil || !strings.Contains(rules[config.IPv6], "-A FORWARD -j MARK --set-xmark 0x7/0xffffffff\n") {
		t.Errorf("with a rule %v, %v", rules, err)
	}
	if made := tables(); made != "" {
		t.Errorf("looking made the tables %q", made)
	}
}

func TestNftVersion(t *testing.T) {
	w := newRealWorld(t, "version")
	have, err := w.NftVersion(t.Context())
	out, errOut := w.ns.Output("nft", "--version")
	if err != nil || errOut != nil || !strings.HasPrefix(out, "nftables v"+have+" ") {
		t.Errorf("version %q of %q: %v, %v", have, out, err, errOut)
	}
}
