package logging

import (
	"sync"

	"ftr/internal/config"
)

// File is the log file of a logger. It can be changed for another one while records are written.
type File struct {
	mu     sync.Mutex
	form   config.Log
	file   *RotatingFile // nil: none
	closed bool
}

// Write gives a record to the file, if there is one.
func (f *File) Write(record []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return len(record), nil
	}
	return f.file.Write(record)
}

// Close closes the file; later writes are lost.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Change is another log file, opened and not yet used.
type Change struct {
	of   *File
	form config.Log
	file *RotatingFile // nil: none
	none bool          // nothing changes
}

// Open opens another log file, so that all that can fail has happened before anything is changed. The
// error names the path and the cure. Of the change, either Use or Drop is to be called.
func (f *File) Open(form config.Log) (*Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if form == f.form && (f.file != nil || form.File == "") {
		return f.Keep(), nil // it is opened again by itself where that is needed
	}
	c := &Change{of: f, form: form}
	if form.File == "" {
		return c, nil
	}
	file, err := OpenRotating(form.File, form.MaxSize, form.OldFiles)
	if err != nil {
		return nil, err
	}
	c.file = file
	return c, nil
}

// Keep returns a change that changes nothing.
func (f *File) Keep() *Change { return &Change{of: f, none: true} }

// Use writes all further records to the file, and closes the one before. The error says that the last
// records there may be lost.
func (c *Change) Use() error {
	if c.none {
		return nil
	}
	f := c.of
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return c.Drop()
	}
	before := f.file
	f.file, f.form = c.file, c.form
	if before == nil {
		return nil
	}
	return before.Close()
}

// Drop closes the file unused.
func (c *Change) Drop() error {
	if c.none || c.file == nil {
		return nil
	}
	return c.file.Close()
}
