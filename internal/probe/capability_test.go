package probe_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
	"ftr/internal/probe"
)

// quickExit spares the second that the race detector waits at the end of a program.
const quickExit = "GORACE=atexit_sleep_ms=0"

// With CAP_NET_RAW and nothing else it works; without, the error says what is missing.
func TestCapabilities(t *testing.T) {
	if os.Getenv(roleEnv) != "" {
		_, err := ask(prober(t), timeout, "lo", netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1"))
		fmt.Printf("ROLE uid %d: %v\n", os.Getuid(), err)
		return
	}
	for name, tt := range map[string]struct {
		caps []uintptr
		want string
	}{
		"only CAP_NET_RAW": {[]uintptr{unix.CAP_NET_RAW}, "ROLE uid 65534: <nil>\n"},
		"none":             {nil, "ROLE uid 65534: raw sockets are not permitted: the capability CAP_NET_RAW is missing\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestCapabilities$")
			cmd.Env = append(os.Environ(), roleEnv+"=1", quickExit)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
				AmbientCaps: tt.caps,
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Neighbour probes need CAP_NET_ADMIN, connections and queries nothing at all.
func TestCapabilitiesOfMethods(t *testing.T) {
	if os.Getenv(roleEnv) != "" {
		p, f := probe.New(), families[0]
		for _, target := range methods(f, 1) {
			_, err := probeBy(p, timeout, device(1), f.source(1), target)
			fmt.Printf("ROLE %v %v: %v\n", target.Method, f.target, err)
		}
		check(t, p.Close())
		return
	}
	isp := provider(t, "isp")
	connect(t, 1, isp)
	honest(t, isp)
	answers(t, prober(t), device(1), families[0].source(1), target4)
	const (
		noRaw   = "raw sockets are not permitted: the capability CAP_NET_RAW is missing"
		noAdmin = "neighbour probes are not permitted: the capability CAP_NET_ADMIN is missing"
	)
	for name, tt := range map[string]struct {
		caps          []uintptr
		icmp, gateway string
	}{
		"none":          {nil, noRaw, noAdmin},
		"CAP_NET_RAW":   {[]uintptr{unix.CAP_NET_RAW}, "<nil>", noAdmin},
		"CAP_NET_ADMIN": {[]uintptr{unix.CAP_NET_ADMIN}, noRaw, "<nil>"},
		"both":          {[]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}, "<nil>", "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestCapabilitiesOfMethods$")
			cmd.Env = append(os.Environ(), roleEnv+"=1", quickExit)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: tt.caps}
			out, err := cmd.CombinedOutput()
			check(t, err)
			want := map[config.Method]string{config.ICMP: tt.icmp, config.Gateway: tt.gateway}
			for _, target := range methods(families[0], 1) {
				said := want[target.Method]
				if said == "" {
					said = "<nil>"
				}
				if line := fmt.Sprintf("ROLE %v %v: %s\n", target.Method, target4, said); !strings.Contains(string(out), line) {
					t.Errorf("want %sin\n%s", line, out)
				}
			}
		})
	}
}
