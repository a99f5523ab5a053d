package notify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Files of the queue: the place in 20 digits, so that names sort in order, and a suffix. Everything
// else in the directory is not ours and left alone.
const (
	suffix    = ".msg"
	temporary = ".msg-new"
	corrupt   = ".corrupt"
	maxFile   = 64 << 20 // a larger file is not ours, whatever its name
)

// disk is the directory of the queue. A file appears whole or not at all, also after a power cut.
type disk struct {
	dir   string
	files map[uint64]bool // places that have a file
}

// load reads the directory, in order. Damaged files are moved aside; the errors tell which.
func (d *disk) load() (entries []*entry, errs []error) {
	d.files = map[uint64]bool{}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, []error{fmt.Errorf("make mail queue: %w", err)}
	}
	names, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, []error{fmt.Errorf("read mail queue: %w", err)}
	}
	covered := uint64(0)
	for _, name := range names {
		if place, ok := parseName(name, temporary); ok {
			errs = append(errs, ignoreMissing(os.Remove(d.path(place, temporary)))) // killed while writing
		}
		place, ok := parseName(name, suffix)
		if !ok {
			continue
		}
		d.files[place] = true
		if place <= covered {
			errs = append(errs, d.unlink(place)) // killed between writing a merged entry and this
			continue
		}
		e, err := d.read(place)
		if err != nil {
			errs = append(errs, err, d.moveAside(place))
			continue
		}
		covered = e.Last
		entries = append(entries, e)
	}
	return entries, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func parseName(name fs.DirEntry, suffix string) (place uint64, ok bool) {
	digits, ok := strings.CutSuffix(name.Name(), suffix)
	if !ok || len(digits) != 20 || !name.Type().IsRegular() {
		return 0, false
	}
	place, err := strconv.ParseUint(digits, 10, 64)
	return place, err == nil && place > 0
}

func (d *disk) path(place uint64, suffix string) string {
	return filepath.Join(d.dir, fmt.Sprintf("%020d%s", place, suffix))
}

func (d *disk) read(place uint64) (*entry, error) {
	path := d.path(place, suffix)
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read queued mail: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read queued mail %s: %w", path, err)
	}
	e, err := decode(data, place)
	if err != nil {
		return nil, fmt.Errorf("read queued mail %s (moved aside as *%s): %w", path, corrupt, err)
	}
	return e, nil
}

func (d *disk) moveAside(place uint64) error {
	delete(d.files, place)
	return os.Rename(d.path(place, suffix), d.path(place, corrupt))
}

// store writes an entry, and then removes the files of those that it stands for.
func (d *disk) store(e *entry) error {
	data, err := e.encode()
	if err != nil {
		return fmt.Errorf("encode queued mail: %w", err)
	}
	path, unfinished := d.path(e.First, suffix), d.path(e.First, temporary)
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if err := writeSynced(unfinished, data); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(unfinished)))
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	d.files[e.First] = true
	e.stored = true
	return errors.Join(d.sync(), d.removeRange(e.First+1, e.Last))
}

// remove removes all files that an entry stands for.
func (d *disk) remove(e *entry) error {
	if err := d.removeRange(e.First, e.Last); err != nil {
		return err
	}
	return ignoreMissing(d.sync())
}

// has tells whether there is any file that an entry stands for.
func (d *disk) has(e *entry) bool { return len(d.between(e.First, e.Last)) > 0 }

func (d *disk) between(first, last uint64) []uint64 {
	var places []uint64
	for place := range d.files {
		if first <= place && place <= last {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	return places
}

// removeRange removes the youngest first: the eldest may be a merged entry that covers the others.
func (d *disk) removeRange(first, last uint64) error {
	var errs []error
	for _, place := range slices.Backward(d.between(first, last)) {
		errs = append(errs, d.unlink(place))
	}
	return errors.Join(errs...)
}

func (d *disk) unlink(place uint64) error {
	err := ignoreMissing(os.Remove(d.path(place, suffix)))
	if err == nil {
		delete(d.files, place)
	}
	return err
}

// sync makes renames and removals durable (fsync(2): the directory needs its own).
func (d *disk) sync() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
