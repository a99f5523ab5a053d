package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a socket (unix(7)): 108 bytes with the final zero.
const maxPath = 107

// socketMode lets the group connect.
const socketMode = 0o660

// lookEvery is how often it is looked whether the socket still has its name.
const lookEvery = time.Second

// Listen makes the socket. One that a dead process left is replaced; one that answers, and anything
// that is not a socket, stays, and is an error. While somebody accepts connections, a socket that is
// removed is made again, and the logger told; connections that there are go on.
func Listen(ctx context.Context, path string, logger *slog.Logger) (net.Listener, error) {
	if err := vacant(ctx, path); err != nil {
		return nil, fmt.Errorf("make the control socket %s: %w", path, err)
	}
	// It is made under another name and moved: nobody sees it with wrong permissions, and there is no
	// moment without one while a stale one is replaced.
	if len(temporary(path)) > maxPath {
		return nil, fmt.Errorf("make the control socket %s: the path is longer than %d bytes; choose another directory with --runtime-dir",
			path, maxPath-(len(temporary(path))-len(path)))
	}
	listener, info, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w; choose another directory with --runtime-dir", err)
	}
	return &socket{UnixListener: listener, path: path, info: info, logger: logger}, nil
}

func temporary(path string) string { return path + ".new" }

// vacant returns an error if something lives at a path.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else has this name; remove it")
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return errors.New("another process answers there; stop it first")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	default: // it is there and too busy, or not ours to ask
		return err
	}
}

// bind makes a socket with its final permissions, and gives it its name.
func bind(path string) (listener *net.UnixListener, info fs.FileInfo, err error) {
	draft := temporary(path)
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false)
	defer func() {
		if err != nil {
			err = errors.Join(err, listener.Close())
		}
	}()
	if err := os.Chmod(draft, socketMode); err != nil {
		return nil, nil, err
	}
	if info, err = os.Lstat(draft); err != nil {
		return nil, nil, err
	}
	return listener, info, os.Rename(draft, path)
}

// socket is a listener that sees to it that it keeps its name, and that removes it at the end, but not
// that of its successor.
type socket struct {
	*net.UnixListener
	path   string
	logger *slog.Logger

	mu      sync.Mutex // for what follows, and for UnixListener
	info    fs.FileInfo
	closed  bool
	trouble string // why it could not be made again, as logged last
}

// Accept waits for a connection, and looks after the name meanwhile.
func (s *socket) Accept() (net.Conn, error) {
	for {
		s.mu.Lock()
		listener := s.UnixListener
		s.mu.Unlock()
		if err := listener.SetDeadline(time.Now().Add(lookEvery)); err != nil {
			return nil, err
		}
		conn, err := listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
		s.restore()
	}
}

// restore makes the socket again if nothing has its name. What others put there is left alone.
func (s *socket) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Lstat(s.path); s.closed || !errors.Is(err, fs.ErrNotExist) {
		return
	}
	err := os.MkdirAll(filepath.Dir(s.path), 0o755)
	var listener *net.UnixListener
	var info fs.FileInfo
	if err == nil {
		listener, info, err = bind(s.path)
	}
	if err != nil {
		if text := err.Error(); text != s.trouble {
			s.logger.Error("the control socket is gone and cannot be made again, trying on: ftr status, uplink and reload do not reach this process; SIGHUP reloads", "error", err)
			s.trouble = text
		}
		return
	}
	// Nobody can have been waiting at the former one, whose name was gone and whose queue was empty.
	if err := s.UnixListener.Close(); err != nil {
		s.logger.Debug("close the former control socket", "error", err)
	}
	s.UnixListener, s.info, s.trouble = listener, info, ""
	s.logger.Warn("the control socket had been removed: it is made again", "socket", s.path)
}

// Addr returns the address of the socket.
func (s *socket) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.UnixListener.Addr()
}

// Close ends the listening. It may be called again.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if now, missing := os.Lstat(s.path); missing == nil && os.SameFile(now, s.info) {
		err = os.Remove(s.path)
	}
	return errors.Join(err, s.UnixListener.Close())
}

// peerUID returns who is at the other end of a connection (SO_PEERCRED, unix(7)): the user that
// connected, as the kernel knows it.
func peerUID(conn net.Conn) (uint32, error) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.New("not a socket")
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var asked error
	err = control.Control(func(fd uintptr) {
		credentials, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, asked); err != nil {
		return 0, fmt.Errorf("ask for the peer's credentials: %w", err)
	}
	return credentials.Uid, nil
}
