package notify

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ftr/internal/config"
)

// writerEnv makes a process of the test binary a writer: "DIRECTORY PORT FIRST".
const writerEnv = "FTR_NOTIFY_TEST_WRITER"

// writer queues numbered messages and sends what is queued, as fast as it can, until it is killed. It
// prints the number of each message that is safe.
func writer() int {
	var dir string
	var port, first int
	if _, err := fmt.Sscan(os.Getenv(writerEnv), &dir, &port, &first); err != nil {
		fmt.Println(err)
		return 1
	}
	cfg := emailTo("127.0.0.1", port)
	q := openQueue(dir, slog.New(slog.NewTextHandler(os.Stdout, nil)))
	for n := first; ; n++ {
		q.add([]Message{numbered(n)}, 0, time.Now())
		fmt.Println("safe", n)
		if n%3 == 0 {
			deliver(q, &cfg)
		}
	}
}

func numbered(n int) Message {
	return Message{Time: time.Now(), Subject: "change", Body: fmt.Sprintf("number %d\n", n)}
}

// deliver tries once to send what comes first, as the loop does.
func deliver(q *queue, cfg *config.Email) error {
	e := q.take()
	_, err := smtpTransport{}.Send(context.Background(), cfg, compose(e))
	e.sending = false
	if err == nil {
		q.drop()
	}
	return err
}

// Killed at any moment, again and again: every message that was safe arrives, in order; a mail that
// arrives twice is the same one with the same Message-ID.
func TestKilledAtAnyMoment(t *testing.T) {
	var count atomic.Int64
	s := newServer()
	s.onData = func() error {
		if count.Add(1)%4 == 0 {
			return errBusy // so that messages gather
		}
		return nil
	}
	s.start(t, "127.0.0.1", 0)
	dir := t.TempDir()
	next := 1
	unsaid := map[int]bool{} // may be safe or not: the writer was killed before it could say so
	// A slow disk needs more lives for as many messages.
	for lives := 0; lives < 25 || next < 100 && lives < 500; lives++ {
		last := runWriter(t, dir, s.port, next, time.Duration(20+rand.IntN(60))*time.Millisecond)
		unsaid[last+1] = true
		next = last + 2
	}
	q := openQueue(dir, slog.New(slog.DiscardHandler))
	cfg := emailTo("127.0.0.1", s.port)
	for tries := 0; len(q.entries) > 0 && tries < 1000; tries++ {
		deliver(q, &cfg)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
	if next < 100 {
		t.Errorf("only %d messages were written", next)
	}
	checkNumbers(t, s.got(), next, unsaid)
}

// runWriter runs a writer for a while, kills it, and returns the last number that is safe.
func runWriter(t *testing.T, dir string, port, first int, life time.Duration) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", writerEnv, dir, port, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := first - 1
	var killer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "safe ")
		if !ok {
			t.Errorf("writer: %s", lines.Text())
			continue
		}
		if last, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		if killer == nil { // its life begins when it is at work
			killer = time.AfterFunc(life, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait() // killed
	if killer == nil {
		t.Fatal("writer did not start")
	}
	return last
}

// checkNumbers fails unless each number below end arrived once, in order, not counting mails that
// came again; those in unsaid may be missing.
func checkNumbers(t *testing.T, mails []received, end int, unsaid map[int]bool) {
	t.Helper()
	bodies := map[string]string{}
	arrived := map[int]bool{}
	last := 0
	for _, m := range mails {
		if before, ok := bodies[m.id]; ok {
			if before != m.body {
				t.Errorf("two mails with the Message-ID %s:\n%s\n%s", m.id, before, m.body)
			}
			continue
		}
		bodies[m.id] = m.body
		for _, n := range numbers(t, m.body) {
			if n <= last {
				t.Fatalf("number %d after %d", n, last)
			}
			last = n
			arrived[n] = true
		}
	}
	for n := 1; n < end; n++ {
		if !arrived[n] && !unsaid[n] {
			t.Errorf("number %d was safe, and is missing", n)
		}
	}
	t.Logf("%d messages in %d mails, %d mails came again", len(arrived), len(bodies), len(mails)-len(bodies))
}

func numbers(t *testing.T, body string) (found []int) {
	t.Helper()
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "number "); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, n)
		}
	}
	return found
}
