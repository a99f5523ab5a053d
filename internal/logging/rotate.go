package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

// RotatingFile is a log file with a limit in bytes, rotated as the original program's users know it:
// FILE becomes FILE.0, FILE.0 becomes FILE.1 and so on. It is safe for concurrent use.
//
// It looks at its path at every write, so the file may be renamed, deleted or truncated under it
// (logrotate(8), with and without copytruncate), and a full disk costs records but never the program.
type RotatingFile struct {
	path    string // without symbolic links in its last element
	maxSize int64  // 0: never rotated
	keep    int    // old files

	mu     sync.Mutex
	file   *os.File // nil: to be opened again
	closed bool
	lost   int   // records since the last that was written
	reason error // why they were lost
	grace  int64 // bytes beyond maxSize to wait for before a failed rotation is tried again
}

// Write appends one record, which is never split over two files. The error is for the caller who
// wants it: what was lost is also counted, and told in the file once it can be written again.
func (r *RotatingFile) Write(record []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, os.ErrClosed
	}
	whole := record
	if r.lost > 0 {
		// Together or not at all: on a disk with hardly any room notices alone would fill the rest.
		whole = append(notice(fmt.Sprintf("%d log records were lost here", r.lost), r.reason), record...)
	}
	if err := r.append(whole); err != nil {
		r.lost, r.reason = r.lost+1, err
		return 0, err
	}
	r.lost, r.reason = 0, nil
	return len(record), nil
}

// Close closes the file; later writes fail.
func (r *RotatingFile) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// notice is a record of the log file's own.
func notice(message string, reason error) []byte {
	b := fileLayout{}.head(nil, time.Now(), slog.LevelWarn)
	return append(appendText(b, fmt.Sprintf("%s: %v", message, reason)), '\n')
}

// append writes one record whole or not at all.
func (r *RotatingFile) append(record []byte) error {
	info, err := r.current()
	if err != nil {
		return err
	}
	regular := info.Mode().IsRegular() // not so: /dev/null
	size := info.Size()
	if regular && r.maxSize > 0 && size > 0 && size+int64(len(record)) > r.maxSize+r.grace {
		if failed := r.rotate(); failed != nil {
			// A log that grows beyond its limit is better than none. Not tried again for each record.
			r.grace = max(0, size-r.maxSize) + r.maxSize
			record = append(notice("log file cannot be rotated, it grows", failed), record...)
		} else {
			r.grace, size = 0, 0
		}
		if err := r.open(); err != nil {
			return err
		}
	}
	if _, err := r.file.Write(record); err != nil {
		if regular {
			// The disk is full: take back the part that went in.
			return errors.Join(err, r.file.Truncate(size))
		}
		return err
	}
	return nil
}

// current makes sure that the open file is the one at the path, and returns what it is like now.
func (r *RotatingFile) current() (fs.FileInfo, error) {
	if r.file != nil {
		there, err := os.Lstat(r.path)
		if err == nil {
			if here, err := r.file.Stat(); err == nil && os.SameFile(here, there) {
				return here, nil
			}
		}
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r.file.Stat()
}

// rotate moves each old file up by one, the eldest out, beginning with the eldest: stopped anywhere,
// it leaves a gap and loses nothing.
func (r *RotatingFile) rotate() error {
	if r.keep <= 0 {
		return r.file.Truncate(0)
	}
	last := 0 // the first free place
	for last < r.keep-1 && exists(r.old(last)) {
		last++
	}
	for i := last; i > 0; i-- {
		if err := os.Rename(r.old(i-1), r.old(i)); err != nil {
			return err
		}
	}
	return os.Rename(r.path, r.old(0))
}

func (r *RotatingFile) old(i int) string { return r.path + "." + strconv.Itoa(i) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
