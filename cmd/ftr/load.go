package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ftr/internal/config"
)

// Directories where neither flags, nor configuration, nor systemd.exec(5) name others.
const (
	defaultState   = "/var/lib/ftr"
	defaultRuntime = "/run/ftr"
)

// maxFile is one byte more than the parser takes, so that it can tell that a file is too large.
const maxFile = 1<<20 + 1

// source is a configuration file as it was read.
type source struct {
	path string
	data []byte
	mode fs.FileMode
}

// readConfig reads the file; the error says what to do.
func readConfig(path string) (source, error) {
	if path == "" {
		return source{}, &exitError{exitConfig, errors.New("read configuration: --config names no file")}
	}
	// O_NONBLOCK is for a FIFO, which would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		err = fmt.Errorf("read configuration: %w", err)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; write one with: %s", err, calling(path, "generate_config"))
		}
		return source{}, &exitError{exitConfig, err}
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(path + " is not a regular file")
	}
	if err != nil {
		return source{}, &exitError{exitConfig, fmt.Errorf("read configuration: %w", err)}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return source{}, &exitError{exitConfig, fmt.Errorf("read configuration: %w", err)}
	}
	return source{path, data, info.Mode()}, nil
}

// calling returns the command line for an action with a configuration file.
func calling(path, name string) string {
	if path == config.DefaultPath {
		return "ftr " + name
	}
	return "ftr --config=" + path + " " + name
}

// parse parses the file and adds what only the file system tells.
func (s source) parse() (*config.Config, []config.Problem) {
	cfg, problems := config.Parse(s.path, s.data)
	if cfg != nil {
		full, bad := cfg.WithSets(readSet)
		full, unknown := full.WithUsers(lookUpUser)
		bad = append(bad, unknown...)
		cfg, problems = full, append(problems, bad...)
		if len(bad) > 0 {
			return nil, problems
		}
	}
	if cfg != nil && cfg.HasInlinePassword() && s.mode.Perm()&0o044 != 0 {
		problems = append(problems, config.Problem{
			Severity: config.Warning, File: s.path, Path: "email.smtp_parameters.password",
			Message: fmt.Sprintf("stands in a file that others can read (mode %#o): run chmod 600 %s, or use password_file", s.mode.Perm(), s.path),
		})
	}
	return cfg, problems
}

// lookUpUser returns the number of a user of this host.
func lookUpUser(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		err = errors.New("there is no such user")
	}
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err
}

// maxSet is the size in bytes over which a file of prefixes is refused: about two million of them.
const maxSet = 32 << 20

// readSet reads a file of prefixes.
func readSet(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > maxSet:
		return nil, fmt.Errorf("has more than %d bytes", maxSet)
	}
	return io.ReadAll(io.LimitReader(file, maxSet))
}

// load reads and parses the configuration that the flags name. Errors are printed to w, each with its
// place; warnings only where a command is about them.
func (f *flags) load(w io.Writer) (*config.Config, error) {
	src, err := readConfig(f.config)
	if err != nil {
		return nil, err
	}
	cfg, problems := src.parse()
	if cfg == nil {
		show(w, problems)
		return nil, &exitError{exitConfig, fmt.Errorf("%s has %s; nothing was changed", f.config, count(errorsIn(problems), "error"))}
	}
	cfg.Paths = f.directories(cfg.Paths)
	return cfg, nil
}

// show prints problems with their lines in the file.
func show(w io.Writer, problems []config.Problem) {
	for _, p := range problems {
		fmt.Fprint(w, p.Render())
	}
}

func errorsIn(problems []config.Problem) int {
	n := 0
	for _, p := range problems {
		if p.Severity == config.Error {
			n++
		}
	}
	return n
}

// count returns "1 error", "2 errors".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// directories decides the paths: flags, then the file, then systemd's environment, then the defaults.
func (f *flags) directories(file config.Paths) config.Paths {
	return config.Paths{
		State:   first(f.state, file.State, fromSystemd("STATE_DIRECTORY"), defaultState),
		Runtime: first(f.runtm, file.Runtime, fromSystemd("RUNTIME_DIRECTORY"), defaultRuntime),
	}
}

// fromSystemd returns the first directory of a variable that may list several, separated by colons.
func fromSystemd(name string) string {
	dir, _, _ := strings.Cut(os.Getenv(name), ":")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
