package firewall_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ftr/internal/firewall"
)

// The text is as the golden file has it, and the real ip6tables-restore and kernel accept it.
func TestIptables6(t *testing.T) {
	text := firewall.Iptables6(sixConfig())
	golden(t, filepath.Join("testdata", "six.rules"), text)
	ns := namespace(t, "six")
	err := ns.Do(func() error {
		cmd := exec.Command("ip6tables-restore")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("ip6tables-restore: %v: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	without := firewall.Iptables6(bedConfig())
	if !strings.Contains(without, "No uplink has IPv6") || strings.Contains(without, "wan0") {
		t.Errorf("without IPv6:\n%s", without)
	}
}
