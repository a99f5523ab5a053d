package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/status"
)

func TestUplink(t *testing.T) {
	p, dir, log := daemonOf(t, line("Fibre", "eth1", health.Up), line("Cable", "eth2", health.Up))
	for _, tt := range []struct {
		args []string
		code int
		out  []string
		bad  string
	}{
		{args: []string{"Cable"}, out: []string{"Cable", "eth2", "up", "yes, 50 %"}},
		{args: []string{"Cable", "down"}, out: []string{
			"Cable (eth2) is out of use until you say: ftr uplink eth2 auto\n", "New connections use: Fibre 100 %.\n"}},
		{args: []string{"eth2"}, out: []string{"down, by hand"}},
		{args: []string{"eth2", "up"}, out: []string{
			"Cable (eth2) is used whatever its targets answer, until you say: ftr uplink eth2 auto\n", "New connections use: Fibre 50 %, Cable 50 %.\n"}},
		{args: []string{"cable", "auto"}, out: []string{"Cable (eth2) is used as its health allows\n", "IPv4: up (6 of 6 targets say so)\n"}},
		{args: []string{"Cabel", "down"}, code: 2, bad: "ftr: there is no uplink \"Cabel\": did you mean \"Cable\"?\n"},
		{args: []string{"Satellite"}, code: 2, bad: "ftr: there is no uplink \"Satellite\"; there are: Fibre, Cable\n"},
		{args: []string{"Cable", "off"}, code: 2, bad: "ftr: unknown mode \"off\": it must be down, up or auto\n"},
		{args: []string{"Cable", "down", "now"}, code: 2, bad: "ftr: uplink takes NAME [down|up|auto], but \"now\" comes behind; see: ftr uplink --help\n"},
		{args: []string{""}, code: 2, bad: "ftr: NAME is empty; give the description or the interface of an uplink\n"},
		{args: []string{"", "down"}, code: 2, bad: "ftr: NAME is empty; give the description or the interface of an uplink\n"},
		{args: nil, code: 2, bad: "ftr: uplink takes NAME [down|up|auto], but nothing is given; see: ftr uplink --help\n"},
	} {
		code, out, bad := call(t, t.Context(), append([]string{"uplink", "--runtime-dir", dir}, tt.args...)...)
		if code != tt.code || bad != tt.bad {
			t.Errorf("%v: exit code %d, want %d: %s%s", tt.args, code, tt.code, out, bad)
		}
		for _, want := range tt.out {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", tt.args, want, out)
			}
		}
	}
	if text := log.String(); !strings.Contains(text, "an uplink was set by hand") || !strings.Contains(text, "mode=down") {
		t.Errorf("the log says: %s", text)
	}
	p.set(func(p *puppet) { p.fail = errors.New("keep it for the next start: no space left on device") })
	if code, _, bad := call(t, t.Context(), "uplink", "Cable", "down", "--runtime-dir", dir); code != 1 || !strings.Contains(bad, "no space left on device") {
		t.Errorf("a daemon that cannot: exit code %d, %s", code, bad)
	}
}

func TestUplinkCompletion(t *testing.T) {
	_, dir, _ := daemonOf(t, line("Fibre", "eth1", health.Up), line("Cable", "eth2", health.Up))
	f := &flags{runtm: dir}
	if got := completeUplink(t.Context(), f, 0); !slices.Equal(got, []string{"eth1\tFibre", "eth2\tCable"}) {
		t.Errorf("names: %q", got)
	}
	if got := completeUplink(t.Context(), f, 1); len(got) != 3 {
		t.Errorf("modes: %q", got)
	}
	if got := completeUplink(t.Context(), f, 2); got != nil {
		t.Errorf("more: %q", got)
	}
	if got := completeUplink(t.Context(), &flags{runtm: t.TempDir()}, 0); got != nil {
		t.Errorf("without daemon: %q", got)
	}
}

func TestReload(t *testing.T) {
	p, dir, _ := daemonOf(t, line("Fibre", "eth1", health.Up))
	if code, out, bad := call(t, t.Context(), "reload", "--runtime-dir", dir); code != 0 || !strings.HasPrefix(out, "/etc/f.conf is in force since ") || bad != "" {
		t.Errorf("exit code %d, %s%s", code, out, bad)
	}
	text := "uplinks:\n- {interface: eth1, wight: 3}\n"
	_, problems := config.Parse("/etc/f.conf", []byte(text))
	refused := &status.LoadError{File: "/etc/f.conf", Problems: problems}
	p.set(func(p *puppet) { p.fail = refused })
	var want strings.Builder
	show(&want, problems) // as check prints them
	want.WriteString("ftr: " + refused.Error() + "; nothing was changed\n")
	if code, out, bad := call(t, t.Context(), "reload", "--runtime-dir", dir); code != 2 || out != "" || bad != want.String() || !strings.Contains(bad, "wight") {
		t.Errorf("a bad file: exit code %d, %s%s\nwant %s", code, out, bad, &want)
	}
	p.set(func(p *puppet) { p.fail = errors.New("the kernel refuses") })
	if code, _, bad := call(t, t.Context(), "reload", "--runtime-dir", dir); code != 1 || bad != "ftr: reload: the kernel refuses\n" {
		t.Errorf("another failure: exit code %d, %s", code, bad)
	}
}
