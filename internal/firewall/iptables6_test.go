package firewall_test

import (
	"path/filepath"
	"strings"
	"testing"

	"ftr/internal/firewall"
)

// The text is as the golden file has it, and the real ip6tables-restore and kernel accept it.
func TestIptables6(t *testing.T) {
	text := firewall.Iptables6(sixConfig())
	golden(t, filepath.Join("testdata", "six.rules"), text)
	for _, variant := range variants {
		if err := namespace(t, "six-"+variant).Do(func() error { return restoreBy("ip6tables-"+variant, text) }); err != nil {
			t.Error(err)
		}
	}
	without := firewall.Iptables6(bedConfig())
	if !strings.Contains(without, "No uplink has IPv6") || strings.Contains(without, "wan0") {
		t.Errorf("without IPv6:\n%s", without)
	}
}
