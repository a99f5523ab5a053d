package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a socket (unix(7)): 108 bytes with the final zero.
const maxPath = 107

// socketMode lets the group connect.
const socketMode = 0o660

// Listen makes the socket. One that a dead process left is replaced; one that answers, and anything
// that is not a socket, stays, and is an error.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := vacant(ctx, path); err != nil {
		return nil, fmt.Errorf("make the control socket %s: %w", path, err)
	}
	// It is made under another name and moved: nobody sees it with wrong permissions, and there is no
	// moment without one while a stale one is replaced.
	temporary := path + ".new"
	if len(temporary) > maxPath {
		return nil, fmt.Errorf("make the control socket %s: the path is longer than %d bytes; choose another directory with --runtime-dir",
			path, maxPath-len(".new"))
	}
	listener, err := place(ctx, temporary, path)
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w; choose another directory with --runtime-dir", err)
	}
	return listener, nil
}

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

func place(ctx context.Context, temporary, path string) (_ net.Listener, err error) {
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, err
	}
	unixListener, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("not a unix socket"), listener.Close())
	}
	unixListener.SetUnlinkOnClose(false)
	defer func() {
		if err != nil {
			err = errors.Join(err, listener.Close())
		}
	}()
	if err := os.Chmod(temporary, socketMode); err != nil {
		return nil, err
	}
	info, err := os.Lstat(temporary)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, err
	}
	return &socket{UnixListener: unixListener, path: path, info: info}, nil
}

// socket is a listener that removes its own name at the end, but not that of its successor.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
	err  error
}

// Close ends the listening. It may be called again.
func (s *socket) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
			s.err = os.Remove(s.path)
		}
		s.err = errors.Join(s.err, s.UnixListener.Close())
	})
	return s.err
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
