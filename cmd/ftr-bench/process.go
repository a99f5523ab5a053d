package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is what a running program takes.
type process struct {
	rss, peak float64 // MB, resident
	files     int     // descriptors
	threads   int
	cpu       time.Duration
}

// ticks is the unit of times in /proc/PID/stat: 100 a second on all architectures (USER_HZ).
const ticks = time.Second / 100

// statusOf reads proc(5). The time that a program's own commands took counts as its own.
func statusOf(p *program) (s process, err error) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return s, fmt.Errorf("look at the program: %w", err)
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return s, fmt.Errorf("look at the program: %w", err)
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return s, fmt.Errorf("look at the program: %w", err)
	}
	s.rss, s.peak, s.files = kilobytes(string(status), "VmRSS:"), kilobytes(string(status), "VmHWM:"), len(files)
	s.threads = int(field(string(status), "Threads:"))
	s.cpu, err = cpuTime(string(stat))
	return s, err
}

// kilobytes reads a line of /proc/PID/status, in MB.
func kilobytes(status, key string) float64 { return field(status, key) * 1024 / 1e6 }

// field reads the number in a line of /proc/PID/status; 0: there is none.
func field(status, key string) float64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			if words := strings.Fields(rest); len(words) > 0 {
				v, _ := strconv.ParseFloat(words[0], 64)
				return v
			}
		}
	}
	return 0
}

// cpuTime reads utime, stime, cutime and cstime of /proc/PID/stat.
func cpuTime(stat string) (time.Duration, error) {
	_, rest, _ := strings.Cut(stat, ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("read the program's CPU time: %q", stat)
	}
	sum := int64(0)
	for _, field := range fields[11:15] {
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the program's CPU time: %w", err)
		}
		sum += v
	}
	return time.Duration(sum) * ticks, nil
}
