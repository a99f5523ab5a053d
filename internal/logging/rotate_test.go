package logging

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRotation(t *testing.T) {
	tests := []struct {
		name    string
		before  map[string]string
		maxSize int64
		keep    int
		records []string
		want    map[string]string
	}{
		{"never", nil, 0, 3, []string{"aaaa\n", "bbbb\n"}, map[string]string{"log": "aaaa\nbbbb\n"}},
		{"exactly full", nil, 10, 3, []string{"aaaa\n", "bbbb\n"}, map[string]string{"log": "aaaa\nbbbb\n"}},
		{"one too many", nil, 10, 3, []string{"aaaa\n", "bbbb\n", "c\n"}, map[string]string{"log": "c\n", "log.0": "aaaa\nbbbb\n"}},
		{"eldest goes", nil, 5, 2, []string{"aaaa\n", "bbbb\n", "cccc\n", "dddd\n"}, map[string]string{"log": "dddd\n", "log.0": "cccc\n", "log.1": "bbbb\n"}},
		{"one old file", nil, 5, 1, []string{"aaaa\n", "bbbb\n", "cccc\n"}, map[string]string{"log": "cccc\n", "log.0": "bbbb\n"}},
		{"no old files", nil, 5, 0, []string{"aaaa\n", "bbbb\n"}, map[string]string{"log": "bbbb\n"}},
		{"record over the limit stays whole", nil, 5, 2, []string{"a\n", "bbbbbbbbbb\n", "c\n"}, map[string]string{"log": "c\n", "log.0": "bbbbbbbbbb\n", "log.1": "a\n"}},
		{"appends to what is there", map[string]string{"log": "old\n"}, 8, 2, []string{"aa\n", "bb\n"}, map[string]string{"log": "bb\n", "log.0": "old\naa\n"}},
		{"full at start", map[string]string{"log": "oldold\n", "log.0": "older\n"}, 5, 2, []string{"a\n"}, map[string]string{"log": "a\n", "log.0": "oldold\n", "log.1": "older\n"}},
		{"gap is filled", map[string]string{"log": "oldold\n", "log.1": "x\n"}, 5, 3, []string{"a\n"}, map[string]string{"log": "a\n", "log.0": "oldold\n", "log.1": "x\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.before {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			r := open(t, filepath.Join(dir, "log"), tt.maxSize, tt.keep)
			for _, record := range tt.records {
				write(t, r, record)
			}
			if diff := cmp.Diff(tt.want, contents(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "log")
	write(t, open(t, path, 0, 0), "x\n")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestFileMovedUnderIt(t *testing.T) {
	for name, move := range map[string]func(path string) error{
		"renamed":          func(path string) error { return os.Rename(path, path+"-20260301") },
		"deleted":          os.Remove,
		"truncated":        func(path string) error { return os.Truncate(path, 0) },
		"directory remade": func(path string) error { return remake(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "log")
			r := open(t, path, 100, 1)
			write(t, r, "before\n")
			if err := move(path); err != nil {
				t.Fatal(err)
			}
			write(t, r, "after\n")
			if got := contents(t, dir)["log"]; got != "after\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func remake(dir string) error {
	return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755))
}

func TestDirectoryGoneAndBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := open(t, filepath.Join(dir, "log"), 0, 0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("lost\n")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, r, "after\n")
	got := contents(t, dir)["log"]
	if !regexp.MustCompile(`^\S+ WARN  1 log records were lost here: open .*no such file or directory\nafter\n$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestDiskFull(t *testing.T) {
	dir := mountTmpfs(t, "size=64k")
	r := open(t, filepath.Join(dir, "log"), 0, 0)
	record := strings.Repeat("x", 999) + "\n"
	stored, lost := 0, 0
	for range 100 {
		if _, err := r.Write([]byte(record)); err == nil {
			stored++
		} else if errors.Is(err, unix.ENOSPC) {
			lost++
		} else {
			t.Fatal(err)
		}
	}
	if stored == 0 || lost == 0 {
		t.Fatalf("%d stored, %d lost: disk did not fill up", stored, lost)
	}
	if got := contents(t, dir)["log"]; got != strings.Repeat(record, stored) {
		t.Errorf("file must end with a whole record, has %d bytes for %d records", len(got), stored)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	write(t, r, "works again\n")
	tail := contents(t, dir)["log"][stored*len(record):]
	want := fmt.Sprintf(`^\S+ WARN  %d log records were lost here: .*no space left on device\nworks again\n$`, lost)
	if !regexp.MustCompile(want).MatchString(tail) {
		t.Errorf("got %q, want %s", tail, want)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := mountTmpfs(t, "size=64k")
	path := filepath.Join(dir, "log")
	r := open(t, path, 0, 0)
	r.file.Close() // a file open for writing forbids the remount
	r.file = nil
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := OpenRotating(path, 0, 0)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remount it for writing") {
		t.Errorf("error must name path and cure: %v", err)
	}
	for range 3 {
		if _, err := r.Write([]byte("lost\n")); !errors.Is(err, unix.EROFS) {
			t.Errorf("got %v", err)
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	write(t, r, "back\n")
	if got := contents(t, dir)["log"]; !strings.Contains(got, "3 log records were lost here") {
		t.Errorf("got %q", got)
	}
}

// Where renaming is impossible the log grows, says so, and does not try again for every record.
func TestRotationFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	if err := os.MkdirAll(filepath.Join(path+".0", "busy"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := open(t, path, 10, 1)
	for i := range 3 {
		write(t, r, fmt.Sprintf("record %d\n", i))
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), "record 0\n") || !strings.HasSuffix(string(got), "record 2\n") ||
		strings.Count(string(got), "log file cannot be rotated") == 0 {
		t.Errorf("got %q", got)
	}
}

func TestRefused(t *testing.T) {
	open, private := t.TempDir(), t.TempDir()
	if err := os.Chmod(open, 0o1777); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(private, "target")
	prepare := []error{
		os.Symlink(target, filepath.Join(open, "link")),
		unix.Mkfifo(filepath.Join(open, "fifo"), 0o600),
	}
	if err := errors.Join(prepare...); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(open, "link"): "a symbolic link in a directory where everybody may write is not followed; delete it",
		filepath.Join(open, "fifo"): "name a regular file in log.file",
		open:                        "name a regular file in log.file",
	} {
		_, err := OpenRotating(path, 0, 0)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestOwner(t *testing.T) {
	for _, tt := range []struct {
		owner, self int
		open, want  bool
	}{
		{1000, 1000, true, true}, {0, 1000, true, true}, {1001, 1000, true, false}, {1001, 0, true, false},
		{1001, 1000, false, true},
	} {
		if err := trusted(tt.owner, tt.self, tt.open); (err == nil) != tt.want {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// An administrator's own link is followed, and its file is rotated, not the link.
func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(target, nil, 0o640), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	r := open(t, link, 5, 1)
	write(t, r, "aaaa\n")
	write(t, r, "bbbb\n")
	if diff := cmp.Diff(map[string]string{"target": "bbbb\n", "target.0": "aaaa\n"}, contents(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDevNull(t *testing.T) {
	r := open(t, os.DevNull, 1, 1)
	write(t, r, "gone\n")
	write(t, r, "gone\n")
}

func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	r := open(t, filepath.Join(dir, "log"), 1000, 1000)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := fmt.Fprintf(r, "writer %d record %02d\n", w, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for name, content := range contents(t, dir) {
		if len(content) > 1000 || !strings.HasSuffix(content, "\n") {
			t.Errorf("%s: %d bytes, or no whole last record", name, len(content))
		}
		for line := range strings.Lines(content) {
			seen[line]++
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d different records of 400", len(seen))
	}
}

func TestClosed(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "log"), 0, 0)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func open(t *testing.T, path string, maxSize int64, keep int) *RotatingFile {
	t.Helper()
	r, err := OpenRotating(path, maxSize, keep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func write(t *testing.T, r *RotatingFile, record string) {
	t.Helper()
	if n, err := r.Write([]byte(record)); err != nil || n != len(record) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(bytes.Clone(data))
	}
	return got
}

func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
