// Package logging writes the program's records for people: to the console or the journal, and to a
// log file that rotates by size.
//
// No byte of a record reaches an output unescaped: names, errors and server replies come from the
// network, and must neither drive a terminal nor forge a line of the log.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/term"

	"ftr/internal/config"
)

// Options say where records go.
type Options struct {
	Console io.Writer  // usually standard error; nil: no console
	Debug   bool       // the console shows debug records too; the file never does
	Color   bool       // the console is a terminal that shows colours; see Detect
	Journal bool       // the console is the systemd journal; see Detect
	File    config.Log // an empty File: no log file
}

// Setup returns a logger for opts and its log file, which can be changed, and is to be closed.
//
// Where the log file cannot be opened, the error names the path and the cure, and the logger returned
// with it writes to the console alone: whether to go on is up to the caller.
func Setup(opts Options) (*slog.Logger, *File, error) {
	handlers := []slog.Handler{}
	if opts.Console != nil {
		handlers = append(handlers, consoleHandler(opts))
	}
	file := &File{}
	handlers = append(handlers, newHandler(file, fileLayout{}, slog.LevelInfo))
	change, err := file.Open(opts.File)
	if err == nil {
		err = change.Use()
	}
	file.form = opts.File // where it failed it is tried again
	return slog.New(slog.NewMultiHandler(handlers...)), file, err
}

func consoleHandler(opts Options) slog.Handler {
	level := slog.LevelInfo
	if opts.Debug {
		level = slog.LevelDebug
	}
	if opts.Journal {
		return newHandler(opts.Console, journalLayout{}, level)
	}
	return newHandler(opts.Console, consoleLayout{color: opts.Color}, level)
}

// Detect tells what is at the other end of f, usually standard error: a terminal that shows colours
// (no-color.org: unless NO_COLOR is set), or the systemd journal (systemd.exec(5): JOURNAL_STREAM
// holds device and inode of the stream, so that a redirected output is not taken for it).
func Detect(f *os.File, getenv func(string) string) (color, journal bool) {
	color = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
	info, err := f.Stat()
	if err != nil {
		return color, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	journal = ok && getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	return color && !journal, journal
}
