package kernel_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ftr/internal/routing"
)

// The hook that is shipped writes what each DHCP client says, whether it is run or sourced, and takes it
// back.
func TestPrefixHook(t *testing.T) {
	w := newRealWorld(t, "hook")
	hook, err := filepath.Abs("../../packaging/prefix-hook")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prefix-eth1")
	for _, step := range []struct {
		client string // its environment, and after a bar its arguments
		route  string // that systemd-networkd has made
		want   string
	}{
		{"reason=PREINIT6 interface=eth1", "", ""},
		{"reason=BOUND6 interface=eth1 new_ip6_prefix=2001:db8:1200::/56", "", "2001:db8:1200::/56"},
		{"reason=BOUND6 interface=eth2 new_ip6_prefix=2001:db8:9900::/56", "", "2001:db8:1200::/56"}, // another line
		{"reason=RENEW6 interface=eth1 new_ip6_address=2001:db8::5", "", "2001:db8:1200::/56"},
		{"reason=REBIND6 interface=eth1 new_ip6_prefix=2001:db8:1300::/56 old_ip6_prefix=2001:db8:1200::/56", "", "2001:db8:1300::/56"},
		{"reason=DEPREF6 interface=eth1 cur_ip6_prefix=2001:db8:1300::/56", "", "2001:db8:1300::/56"},
		{"reason=EXPIRE6 interface=eth1 old_ip6_prefix=2001:db8:1300::/56", "", ""},
		{"reason=BOUND6 interface=eth1 new_dhcp6_ia_pd1_prefix1=2001:db8:1400:: new_dhcp6_ia_pd1_prefix1_length=56", "", "2001:db8:1400::/56"},
		{"reason=STOP6 interface=eth1", "", ""},
		{"PREFIXES=2001:db8:1500::/56,1800,3600 2001:db8:1600::/56,0,0|eth1 bound", "", "2001:db8:1500::/56"},
		{"PREFIXES=|eth1 updated", "", "2001:db8:1500::/56"},
		{"|eth1 unbound", "", ""},
		{"IFACE=eth1 STATE=routable", "", ""},
		{"IFACE=eth1 STATE=routable", "2001:db8:1700::/56", "2001:db8:1700::/56"},
		{"IFACE=eth1 STATE=routable", "2001:db8:1800::/56", "2001:db8:1700::/56"}, // of two nobody knows which it is
		{"reason=BOUND6 interface=eth1 new_ip6_prefix=$(reboot)/56", "", "2001:db8:1700::/56"},
	} {
		if step.route != "" {
			if err := w.ip("-6 route add unreachable " + step.route + " proto dhcp metric 1024"); err != nil {
				t.Fatal(err)
			}
		}
		for _, shell := range [][]string{{"-eu", "-c", ". " + hook + "; echo went on"}, {hook}} {
			environment, args, _ := strings.Cut(step.client, "|")
			if args != "" && shell[0] != hook {
				continue // this client runs it
			}
			cmd := exec.CommandContext(t.Context(), "sh", append(shell, strings.Fields(args)...)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PREFIX_DIRECTORY=" + dir}
			if name, value, _ := strings.Cut(environment, "="); name == "PREFIXES" {
				cmd.Env = append(cmd.Env, "PREFIXES="+value)
			} else {
				cmd.Env = append(cmd.Env, strings.Fields(environment)...)
			}
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := w.ns.Do(cmd.Run); err != nil || shell[0] != hook && said.String() != "went on\n" {
				t.Errorf("%s: %v: %s", step.client, err, said.String())
			}
			obs, err := w.Observe(context.Background(), routing.Scope{PrefixFiles: []string{file}})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if p, ok := obs.Prefixes[file]; ok {
				got = p.String()
			}
			if got != step.want {
				t.Errorf("%s: the prefix is %q, want %q", step.client, got, step.want)
			}
		}
	}
}
