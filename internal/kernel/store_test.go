package kernel_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ftr/internal/kernel"
	"ftr/internal/routing"
)

const (
	keyA = "net/ipv4/conf/eth0.100/rp_filter"
	keyB = "net/ipv4/ip_forward"
)

func openStore(t *testing.T, dir string) *kernel.SysctlStore {
	t.Helper()
	s, err := kernel.OpenSysctlStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func remember(t *testing.T, s *kernel.SysctlStore, key, value string) {
	t.Helper()
	if err := s.Remember([]routing.Sysctl{{Key: key, Value: value}}); err != nil {
		t.Fatal(err)
	}
}

func TestSysctlStoreRemembersTheFirst(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	remember(t, s, keyB, "0")
	remember(t, s, keyA, "1")
	remember(t, s, keyB, "1")
	want := []routing.Sysctl{{Key: keyA, Value: "1"}, {Key: keyB, Value: "0"}}
	if d := cmp.Diff(want, s.Saved()); d != "" {
		t.Errorf("saved (-want +got):\n%s", d)
	}
	again := openStore(t, dir)
	remember(t, again, keyB, "7")
	if d := cmp.Diff(want, again.Saved()); d != "" {
		t.Errorf("saved, after a restart (-want +got):\n%s", d)
	}
	if err := errors.Join(again.Forget(), again.Forget()); err != nil {
		t.Error(err)
	}
	if n := len(again.Saved()) + len(openStore(t, dir).Saved()); n != 0 {
		t.Errorf("%d values are not forgotten", n)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestSysctlStoreOfAnotherBoot(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"boot":      func(s string) string { return strings.Replace(s, `"boot_id": "`, `"boot_id": "0`, 1) },
		"namespace": func(s string) string { return strings.Replace(s, `"netns": `, `"netns": 1`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			remember(t, openStore(t, dir), keyA, "1")
			path := filepath.Join(dir, "sysctls.json")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(change(string(data))), 0o600); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, dir)
			if saved := s.Saved(); len(saved) != 0 {
				t.Errorf("saved: %v", saved)
			}
			remember(t, s, keyA, "2")
			if d := cmp.Diff([]routing.Sysctl{{Key: keyA, Value: "2"}}, openStore(t, dir).Saved()); d != "" {
				t.Errorf("saved (-want +got):\n%s", d)
			}
		})
	}
}

func TestSysctlStoreDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"empty":       "",
		"cut off":     `{"boot_id": "x", "val`,
		"not a store": `[]`,
		"no values":   `{"boot_id": "x", "netns": 1}`,
		"wild key":    `{"boot_id": "x", "netns": 1, "values": {"kernel/core_pattern": "|/bin/sh"}}`,
		"way out":     `{"boot_id": "x", "netns": 1, "values": {"net/../kernel/core_pattern": "|/bin/sh"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "sysctls.json")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := kernel.OpenSysctlStore(dir)
			if !errors.Is(err, kernel.ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got error %v", err)
			}
			if aside, err := os.ReadFile(filepath.Join(dir, "sysctls.damaged.json")); err != nil || string(aside) != content {
				t.Errorf("kept aside: %q, %v", aside, err)
			}
			remember(t, s, keyA, "1")
			if saved := openStore(t, dir).Saved(); len(saved) != 1 {
				t.Errorf("saved: %v", saved)
			}
		})
	}
}

func TestSysctlStoreWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k,nr_inodes=3"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s := openStore(t, dir)
	remember(t, s, keyB, "0")
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, []byte("x"), 0o600); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	for _, want := range []unix.Errno{unix.ENOSPC, unix.EROFS} {
		if want == unix.EROFS {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=4k,nr_inodes=3"); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Remember([]routing.Sysctl{{Key: keyA, Value: "1"}})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "save the values of sysctls") {
			t.Errorf("%v: got error %v", want, err)
		}
		if slices.ContainsFunc(s.Saved(), func(c routing.Sysctl) bool { return c.Key == keyA }) {
			t.Errorf("%v: the store claims to remember what is not on the disk", want)
		}
	}
	if saved := openStore(t, dir).Saved(); len(saved) != 1 {
		t.Errorf("saved: %v", saved)
	}
}

func TestSysctlStoreWithoutDirectory(t *testing.T) {
	s, err := kernel.OpenSysctlStore(filepath.Join(t.TempDir(), "missing"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remember([]routing.Sysctl{{Key: keyA, Value: "1"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got error %v", err)
	}
	if err := s.Remember([]routing.Sysctl{{Key: keyA, Value: "1"}, {Key: "kernel/hostname", Value: "x"}}); err == nil {
		t.Error("a key outside of net/ was taken")
	}
}
