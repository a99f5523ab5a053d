package config

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// soon is far more of a processor's time than any of the hostile files needs, race detector included.
const soon = 5 * time.Second

// hostileSize is enough for what is quadratic to be noticed.
const hostileSize = MaxSize / 8

// parseSoon parses a hostile file, which has to be refused quickly, and returns the problems.
func parseSoon(t *testing.T, data []byte) []Problem {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime(t)
	c, problems := Parse("big.conf", data)
	if took := threadTime(t) - start; took > soon {
		t.Errorf("%d bytes took %s", len(data), took)
	}
	checkProblems(t, c, problems)
	if c != nil || len(problems) == 0 || len(problems) > maxProblems+1 {
		t.Fatalf("config %t, %d problems", c != nil, len(problems))
	}
	return problems
}

// threadTime is the processor's time that this thread has taken: however busy the machine is, it does not pass while others run.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

func TestHostileFiles(t *testing.T) {
	fill := func(head, part, tail string) []byte {
		return []byte(head + strings.Repeat(part, (hostileSize-len(head)-len(tail))/len(part)) + tail)
	}
	for _, test := range []struct {
		name, want string
		data       []byte
	}{
		{"10 MB", "the file has more than the 1048576 bytes that a configuration may have", bytes.Repeat([]byte("a: 1 #\n\n\n\n"), 1<<20)},
		{"one byte over", "the file has more than the 1048576 bytes", bytes.Repeat([]byte("#"), MaxSize+1)},
		{"comment", "the file is empty", bytes.Repeat([]byte("#"), MaxSize)},
		{"flow depth", "nesting is too deep", fill("uplinks: ", "[", "")},
		{"map depth", "nesting is too deep", fill("", "{a: ", "")},
		{"dashes", "nesting is too deep", fill("", "- ", "")},
		{"one word", "is a single value", fill("", "x", "")},
		{"wide list", " entries", fill("tests: {ips: [", "1.1.1.1,", "]}")},
		{"keys on one line", "is not a known key", fill("{", "a: b, ", "}")},
		{"keys", "is not a known key", fill("", "interfac: 1\n", "")},
		{"same key", "is given twice", fill("uplinks: []\n", "log:\n", "")},
		{"uplinks", "at most 250 are possible", fill("uplinks:\n", "- {x: 1}\n", "")},
		{"anchors", "not valid YAML", fill("a: ", "&a ", "")},
		{"quotes", "is not a known key", fill("", "'': \"\"\n", "")},
		{"breaks", "the file is empty", fill("", "\r\n", "")},
		{"recipients", "is not a mail address", fill("email:\n  recipients:\n", "  - x\n", "")},
	} {
		problems := parseSoon(t, test.data)
		says := func(p Problem) bool { return strings.Contains(p.Message, test.want) }
		if !slices.ContainsFunc(problems, says) {
			t.Errorf("%s: %v, want %q", test.name, problems[0], test.want)
		}
	}
}

// many returns a file with n uplinks.
func many(n int, extra string) []byte {
	var b bytes.Buffer
	b.WriteString("uplinks:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {interface: eth%d, type: static, ip: 10.%d.%d.2, gateway: 10.0.0.1, priority_group: %d, weight: %d, description: Line %d}\n", i, i/200, i%200, i%5, i%256+1, i)
	}
	b.WriteString("downlinks: {lan: lan0}\ntests: {ips: [1.1.1.1]}\n" + extra)
	return b.Bytes()
}

func TestMostUplinks(t *testing.T) {
	c := mustParse(t, "many.conf", many(MaxUplinks, ""))
	last := c.Uplinks[MaxUplinks-1]
	if last.Table != 250 || last.Mark != 250 || last.AddressPriority != 20249 || last.MarkPriority != 20499 || c.Numbers.DefaultTable != 251 || c.Numbers.DefaultPriority != 20500 || c.Numbers.Mask != 0xff {
		t.Errorf("last uplink %+v, numbers %+v", last, c.Numbers)
	}
	if p := parseSoon(t, many(300, ""))[0]; p.Message != "the list has 300 entries; at most 250 are possible" || p.Line != 252 {
		t.Errorf("300 uplinks: %v", p)
	}
	if p := parseSoon(t, many(MaxUplinks, "base_table: 2\n"))[0]; p.Path != "base_table" || p.Allowed != "from 1 to 1" {
		t.Errorf("tables that reach 252: %v", p)
	}
}

// TestOmittedProblems: however many mistakes a file has, the number of problems is bounded, and the
// last says how many are left out.
func TestOmittedProblems(t *testing.T) {
	_, problems := Parse("x.conf", bytes.Repeat([]byte("zzz: 1\n"), maxProblems+5))
	if n := len(problems); n != maxProblems+1 || problems[n-1].Message != "8 more problems are not listed" {
		t.Errorf("%d problems, the last: %v", n, problems[n-1])
	}
}

// TestForeignEditors: a byte order mark and CR LF come from other systems' editors.
func TestForeignEditors(t *testing.T) {
	data := "\ufeff" + strings.ReplaceAll(string(many(2, "")), "\n", "\r\n")
	mustParse(t, "windows.conf", []byte(data))
	_, problems := Parse("windows.conf", []byte(data+"base_table: 0\r\n"))
	if len(problems) != 1 || problems[0].Line != 6 || problems[0].Column != 13 {
		t.Errorf("problems %v, want one at 6:13", problems)
	}
}

func BenchmarkParse(b *testing.B) {
	data := many(MaxUplinks, "")
	for b.Loop() {
		if c, problems := Parse("many.conf", data); c == nil {
			b.Fatal(problems)
		}
	}
}
