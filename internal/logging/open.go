package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenRotating opens or creates a log file for appending, with permissions 0640. maxSize is in bytes,
// 0 for no limit; keep is the number of old files, 0 to empty the file instead.
//
// A symbolic link is followed, except in a directory where everybody may write (as /tmp, where the
// original program logged by default): there it may be somebody's trap.
func OpenRotating(path string, maxSize int64, keep int) (*RotatingFile, error) {
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open log file %s: %w", path, err)
	}
	r := &RotatingFile{path: target, maxSize: maxSize, keep: keep}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("open log file %s: %w", path, withCure(err, target))
	}
	return r, nil
}

// open opens the file at the path. O_NONBLOCK is for a FIFO, which would block without a reader.
func (r *RotatingFile) open() error {
	if r.file != nil {
		r.file.Close() // only ever appended to, each write reported its own error
		r.file = nil
	}
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	file, err := os.OpenFile(r.path, flags, 0o640)
	if err != nil {
		return err
	}
	if err := acceptable(file); err != nil {
		file.Close()
		return err
	}
	r.file = file
	return nil
}

// acceptable refuses what a log cannot be, and the file that another user laid ready for us.
func acceptable(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	kind := info.Mode().Type()
	if kind&fs.ModeCharDevice != 0 {
		return nil // as /dev/null
	}
	if kind != 0 {
		return errors.New("not a regular file; name a regular file in log.file")
	}
	owner := uint32(0)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = stat.Uid
	}
	return trusted(int(owner), os.Geteuid(), openToAll(file.Name()))
}

// trusted judges the owner of a file in a directory where everybody may write or not.
func trusted(owner, self int, open bool) error {
	if !open || owner == self || owner == 0 {
		return nil
	}
	return fmt.Errorf("belongs to user %d, in a directory where everybody may write; "+
		"delete it, or name a file in another directory (such as /var/log) in log.file", owner)
}

// resolve returns the path that rotation works on: renaming a symbolic link would not rotate its file.
func resolve(path string) (string, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 || errors.Is(err, fs.ErrNotExist) {
		return path, nil
	} else if err != nil {
		return "", withCure(err, path)
	}
	if openToAll(path) {
		return "", errors.New("a symbolic link in a directory where everybody may write is not followed; " +
			"delete it, or name a file in another directory (such as /var/log) in log.file")
	}
	return filepath.EvalSymlinks(path)
}

// openToAll tells whether everybody may write in the directory of path.
func openToAll(path string) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err == nil && info.Mode().Perm()&0o002 != 0
}

// withCure adds to an error of open what to do about it.
func withCure(err error, path string) error {
	directory := filepath.Dir(path)
	var known *fs.PathError
	if errors.As(err, &known) {
		err = known.Err // without the path once more
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; create the directory %s, or name another file in log.file", err, directory)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let the program's user write to it and to %s (rotation renames files there), "+
			"or name another file in log.file", err, directory)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; remount it for writing, or name another file in log.file", err)
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENXIO): // a directory; a FIFO or socket
		return fmt.Errorf("%w; name a regular file in log.file", err)
	default:
		return err
	}
}
