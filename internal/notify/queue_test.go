package notify

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	return got
}

func bodies(q *queue) []string {
	var got []string
	for _, e := range q.entries {
		for _, m := range e.Messages {
			got = append(got, m.Body)
		}
	}
	return got
}

func open(t *testing.T, dir string) (*queue, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return openQueue(dir, slog.New(slog.NewTextHandler(&log, nil))), &log
}

func message(body string) Message {
	return Message{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Subject: "s", Body: body}
}

func TestQueueSurvives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "mail")
	q, _ := open(t, dir)
	now := time.Now()
	q.add([]Message{message("a"), message("b")}, 0, now)
	q.take()
	q.entries[0].sending = false
	q.add([]Message{message("c")}, 0, now)

	again, log := open(t, dir)
	if diff := cmp.Diff([]string{"a", "b", "c"}, bodies(again)); diff != "" || log.Len() != 0 {
		t.Errorf("(-want +got):\n%s%s", diff, log)
	}
	if again.entries[0].ID != q.entries[0].ID || !again.entries[0].maybeSent || again.entries[1].maybeSent {
		t.Errorf("the first may have been sent, and keeps its ID")
	}
	if diff := cmp.Diff([]string{"00000000000000000001.msg", "00000000000000000003.msg"}, names(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, names(t, dir)[0]): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v", path, info.Mode(), want)
		}
	}
	again.take()
	again.drop()
	if e := again.take(); e == nil || e.First != 3 {
		t.Fatalf("next is the third")
	}
	again.drop()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestDamagedAndForeignFiles(t *testing.T) {
	dir := t.TempDir()
	q, _ := open(t, dir)
	q.add([]Message{message("first"), message("second"), message("third"), message("fourth")}, 0, time.Now())
	second, err := os.ReadFile(filepath.Join(dir, "00000000000000000002.msg"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := []string{"notes.txt", "1.msg", ".msg", "00000000000000000007.msg.bak", "xxxxxxxxxxxxxxxxxxxx.msg"}
	for name, content := range map[string]string{
		"00000000000000000002.msg":     string(second[:len(second)/2]),                              // torn
		"00000000000000000003.msg":     strings.Repeat("\x00", 300),                                 // lost by the disk
		"00000000000000000005.msg":     `{"version":9,"id":"x","first":5,"last":5,"messages":[{}]}`, // of a later version
		"00000000000000000006.msg":     `{"version":1,"id":"x","first":1,"last":2,"messages":[{}]}`, // copied
		"00000000000000000008.msg":     `{"version":1,"id":"x","first":8,"last":8,"messages":[]}`,   // empty
		"00000000000000000009.msg-new": "torn while writing",                                        // removed
		foreign[0]:                     "x", foreign[1]: "x", foreign[2]: "x", foreign[3]: "x", foreign[4]: "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "00000000000000000010.msg")); err != nil {
		t.Fatal(err)
	}
	again, log := open(t, dir)
	if diff := cmp.Diff([]string{"first", "fourth"}, bodies(again)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "moved aside as *.corrupt"); n != 5 {
		t.Errorf("%d damaged files named:\n%s", n, log)
	}
	left := strings.Join(names(t, dir), " ")
	for _, name := range append(foreign, "00000000000000000002.corrupt", "00000000000000000010.msg") {
		if !strings.Contains(left, name) {
			t.Errorf("%s is gone", name)
		}
	}
	if strings.Contains(left, "msg-new") {
		t.Errorf("unfinished file left: %s", left)
	}
}

// Killed after a merged entry was written, before those in it were removed.
func TestCoveredFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	q, _ := open(t, dir)
	q.add([]Message{message("a"), message("b"), message("c")}, 0, time.Now())
	b, err := os.ReadFile(filepath.Join(dir, "00000000000000000002.msg"))
	if err != nil {
		t.Fatal(err)
	}
	q.take()
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000002.msg"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	again, log := open(t, dir)
	if diff := cmp.Diff([]string{"a", "b", "c"}, bodies(again)); diff != "" || log.Len() != 0 {
		t.Errorf("(-want +got):\n%s%s", diff, log)
	}
	if again.next != 4 || len(names(t, dir)) != 1 {
		t.Errorf("next %d, files %v", again.next, names(t, dir))
	}
}

func TestBounded(t *testing.T) {
	dir := t.TempDir()
	q, _ := open(t, dir)
	const all = 3 * maxMessages / 2
	for n := 0; n < all; n += 2 {
		q.add([]Message{message(fmt.Sprint(n)), message(fmt.Sprint(n + 1))}, 0, time.Now())
	}
	if n := q.count(); n > maxMessages || len(names(t, dir)) > maxMessages {
		t.Errorf("%d messages, %d files", n, len(names(t, dir)))
	}
	e := q.take()
	if total := len(e.Messages) + e.Omitted; total != all || e.Messages[len(e.Messages)-1].Body != fmt.Sprint(total-1) {
		t.Errorf("%d in all, last %q", total, e.Messages[len(e.Messages)-1].Body)
	}
	if m := compose(e); !strings.Contains(m.Subject, "(1500 changes)") || !strings.Contains(m.Body, "earlier changes are left out here") {
		t.Errorf("%s\n%.200s", m.Subject, m.Body)
	}
}

func TestMergeBounds(t *testing.T) {
	var entries []*entry
	for n := range 5 {
		entries = append(entries, &entry{First: uint64(n + 1), Last: uint64(n + 1), Omitted: 1,
			Messages: []waiting{{Message: message(strings.Repeat("x", 10))}}})
	}
	for _, tt := range []struct{ count, bytes, keep int }{{9, 999, 5}, {2, 999, 2}, {9, 35, 3}, {9, 5, 1}} {
		m := merge(entries, tt.count, tt.bytes)
		if len(m.Messages) != tt.keep || m.Omitted != 10-tt.keep || m.First != 1 || m.Last != 5 {
			t.Errorf("%+v: %d messages, %d omitted, places %d to %d", tt, len(m.Messages), m.Omitted, m.First, m.Last)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	q, log := open(t, dir)
	var want []string
	for n := range 40 {
		want = append(want, fmt.Sprint(n, strings.Repeat("x", 3000)))
		q.add([]Message{message(want[n])}, 0, time.Now())
	}
	if diff := cmp.Diff(want, bodies(q)); diff != "" {
		t.Errorf("memory must hold all (-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "kept in memory"); n != 1 || !strings.Contains(log.String(), "no space left on device") {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	want = append(want, "last")
	q.add([]Message{message("last")}, 0, time.Now())
	if !strings.Contains(log.String(), "can be written again") {
		t.Errorf("log:\n%s", log)
	}
	again, _ := open(t, dir)
	if diff := cmp.Diff(want, bodies(again)); diff != "" {
		t.Errorf("disk must hold all now (-want +got):\n%s", diff)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	before, _ := open(t, filepath.Join(dir, "mail"))
	before.add([]Message{message("a")}, 0, time.Now())
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	q, log := open(t, filepath.Join(dir, "mail"))
	q.add([]Message{message("b")}, 0, time.Now())
	q.add([]Message{message("c")}, 0, time.Now())
	q.take()
	q.drop() // sent, but cannot be removed
	if diff := cmp.Diff([]string{"b", "c"}, bodies(q)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 || !strings.Contains(log.String(), "read-only file system") {
		t.Errorf("said %d times:\n%s", n, log)
	}
}

func TestExpireAcrossClockSteps(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		queued time.Time
		want   int
	}{
		"young":                 {now.Add(-time.Hour), 0},
		"old":                   {now.Add(-100 * time.Hour), 1},
		"before the clock came": {time.Unix(60, 0), 0},
		"from the future":       {now.Add(1000 * time.Hour), 0},
	} {
		e := &entry{Messages: []waiting{{Queued: tt.queued}, {Queued: now}}}
		if got := e.expire(now, 72*time.Hour); got != tt.want || len(e.Messages) != 2-tt.want {
			t.Errorf("%s: %d expired", name, got)
		}
	}
}
