package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"ftr/internal/config"
	"ftr/internal/logging"
	"ftr/internal/status"
	"ftr/internal/web"
)

const (
	// askTime is how long the daemon may take to say how it is.
	askTime = 10 * time.Second
	// orderTime is how long it may take to do what it is told.
	orderTime = 40 * time.Second
	// pipeWidth is the width of tables where there is no terminal.
	pipeWidth = 100
)

// runtimeDir returns the directory of the running daemon. It works without a usable configuration: a
// bad file is when people ask.
func (f *flags) runtimeDir() string {
	var file config.Paths
	if src, err := readConfig(f.config); err == nil {
		file = config.ReadPaths(src.data)
	}
	return f.directories(file).Runtime
}

// unreached turns what a client returned into what to do. Refusals of the daemon stay as they are.
func unreached(err error, dir string) error {
	var refused *web.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &exitError{refusalCode(refused.Code), err}
	case errors.Is(err, web.ErrNotRunning):
		err = absent(dir)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("you may not ask the daemon: %w; run it with sudo%s", err, orGroup(dir))
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("the daemon does not answer; see its log, and if it hangs start it again: systemctl restart ftr")
	}
	return &exitError{exitNoDaemon, err}
}

func refusalCode(code web.Code) int {
	switch code {
	case web.UnknownUplink, web.Ambiguous, web.BadConfig, web.BadRequest, web.NotFound:
		return exitConfig
	case web.Starting:
		return exitNoDaemon
	default:
		return exitFailure
	}
}

// absent says what to do where nobody listens.
func absent(dir string) error {
	if pid := holder(dir); pid != "" {
		return fmt.Errorf("process %s works here, but nobody listens at %s; the log of its start says why; start it again: systemctl restart ftr",
			pid, web.Socket(dir))
	}
	return fmt.Errorf("no monitor runs with the runtime directory %s; start it: systemctl start ftr (or: ftr monitor), or name its directory with --runtime-dir", dir)
}

// holder returns the process that holds the lock of a runtime directory; "" if there is none. It does
// not try the lock: a daemon that starts in this moment would fail.
func holder(dir string) string {
	path := filepath.Join(dir, lockName)
	var stat unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &stat) != nil {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	inode := fmt.Sprintf(":%d ", stat.Ino)
	for line := range strings.Lines(string(locks)) { // proc_locks(5): "1: FLOCK  ADVISORY  WRITE 708 08:01:2532 0 EOF"
		if strings.Contains(line, "FLOCK") && strings.Contains(line, inode) {
			return strings.TrimSpace(string(text))
		}
	}
	return ""
}

// orGroup names the group whose members may ask, where that can be seen.
func orGroup(dir string) string {
	info, err := os.Stat(web.Socket(dir))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Gid == 0 {
		return ""
	}
	name := strconv.Itoa(int(stat.Gid))
	if group, err := user.LookupGroupId(name); err == nil {
		name = group.Name
	}
	return ", or become a member of the group " + name
}

// layout is how to write for people to an output.
func layout(w io.Writer) status.Layout {
	l := status.Layout{Width: pipeWidth, Now: time.Now(), Location: time.Local}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		l.Width = n
	}
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			l.Width = n
		}
		l.Color, _ = logging.Detect(f, os.Getenv)
	}
	return l
}
