package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockName is the name of the lock in the runtime directory. It holds the number of the process.
const lockName = "ftr.lock"

// errTaken is wrapped by the error of lock if another process has it.
var errTaken = errors.New("another monitor or cleanup is running")

// lock makes sure that only one process works on the kernel with this runtime directory. The kernel
// gives the lock back when the process ends, however it ends. unlock is nil if the lock could not be
// had; where there is an error beside it, only nobody can see who has it.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w; choose another with --runtime-dir", err)
	}
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640) // who may open it could hold it
	if err != nil {
		return nil, fmt.Errorf("lock the runtime directory: %w; choose another with --runtime-dir", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(file, 16))
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (process %s holds %s); stop it first", errTaken, strings.TrimSpace(string(holder)), path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return file.Close, fmt.Errorf("write %s: %w", path, err)
	}
	return file.Close, nil
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintln(file, os.Getpid())
	return err
}
