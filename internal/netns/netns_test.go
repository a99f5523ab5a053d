package netns_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"ftr/internal/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Private(m.Run)) }

func TestNamespacesAreApart(t *testing.T) {
	a, err := netns.New("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := netns.New("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Batch("link add eth0 type veth peer name eth0 netns b", "addr add 192.0.2.1/24 dev eth0", "link set eth0 up"); err != nil {
		t.Fatal(err)
	}
	if err := b.Batch("addr add 192.0.2.2/24 dev eth0", "link set eth0 up"); err != nil {
		t.Fatal(err)
	}
	out, err := b.Output("ip", "-o", "addr", "show", "dev", "eth0")
	if err != nil || !strings.Contains(out, "192.0.2.2/24") {
		t.Fatalf("address in b: %q, %v", out, err)
	}
	outer, err := exec.CommandContext(t.Context(), "ip", "-o", "link").CombinedOutput()
	if err != nil || strings.Contains(string(outer), "eth0") {
		t.Fatalf("the private namespace shows eth0: %q, %v", outer, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := netns.New("b"); err == nil {
		t.Fatal("a second namespace of the same name was made")
	}
}

// The lab and the tests rely on it: an ordinary user gets the same namespaces.
func TestPrivateAsOrdinaryUser(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "netns-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := dir + "/netns.test"
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=TestNamespacesAreApart", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNamespacesAreApart") {
		t.Fatalf("as an ordinary user: %v\n%s", err, out)
	}
}
