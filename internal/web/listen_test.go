package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	dir := directory(t)
	path := Socket(dir)
	first, err := Listen(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|socketMode {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if _, err := Listen(t.Context(), path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another process answers there") {
		t.Errorf("beside a living one: %v", err)
	}
	// A process that dies leaves its socket.
	if err := first.(*socket).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if err := first.Close(); err == nil {
		t.Error("closed twice without an error of the socket")
	}
	conn := dial(t, path) // the first one's end took nothing from the second
	conn.Close()
	if err := errors.Join(second.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// A socket that is removed while somebody listens comes back, its directory too, and who is connected
// stays so. What others put in its place is left alone.
func TestSocketComesBack(t *testing.T) {
	path := filepath.Join(directory(t), "run", SocketName)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &logBook{}
	listener, err := Listen(t.Context(), path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := newRouter("Fibre")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := New(Options{Controller: r, Logger: slog.New(slog.DiscardHandler), UID: os.Geteuid()})
	go func() { ended <- server.Run(ctx, listener) }()
	status := func(conn net.Conn) error {
		if _, err := io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: ftr\r\n\r\n"); err != nil {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	open := dial(t, path)
	defer open.Close()
	if err := status(open); err != nil {
		t.Fatal(err)
	}
	for i, remove := range []func(string) error{os.Remove, func(p string) error { return os.RemoveAll(filepath.Dir(p)) }} {
		if err := remove(path); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for {
			if _, _, err = NewClient(path).Status(t.Context()); err == nil && log.count("it is made again") == i+1 {
				break
			}
			if time.Since(began) > patience {
				t.Fatalf("removal %d: it does not come back, or is not told: %v", i, err)
			}
			<-time.After(10 * time.Millisecond)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|socketMode {
			t.Errorf("removal %d: the socket: %v, %v", i, info, err)
		}
		if err := status(open); err != nil {
			t.Errorf("removal %d: a connection that was open: %v", i, err)
		}
	}
	err = os.WriteFile(path+".aside", []byte("precious"), 0o600)
	if err == nil {
		err = os.Rename(path+".aside", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * lookEvery) // it has looked by then
	if err := status(open); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("what others put there: %q, %v", text, err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := directory(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                               "something else has this name; remove it",
		dir:                                "something else has this name; remove it",
		filepath.Join(dir, "missing", "x"): "no such file or directory; choose another directory with --runtime-dir",
		filepath.Join(dir, strings.Repeat("x", 90)): "choose another directory with --runtime-dir",
	} {
		l, err := Listen(t.Context(), path, slog.New(slog.DiscardHandler))
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q now, %v", text, err)
	}
}

// as does something on a thread that belongs to another user and group. The thread ends with it.
func as(t *testing.T, uid, gid int, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		// The system call alone changes this thread; the functions of package syscall change all.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			done <- errno
			return
		}
		for _, call := range []struct{ number, id uintptr }{{unix.SYS_SETRESGID, uintptr(gid)}, {unix.SYS_SETRESUID, uintptr(uid)}} {
			if _, _, errno := unix.RawSyscall(call.number, call.id, call.id, call.id); errno != 0 {
				done <- errno
				return
			}
		}
		done <- do()
	}()
	return <-done
}

// ask sends one request as another user and returns the status of the answer.
func ask(t *testing.T, socket string, uid, gid int, method, path, body string) (int, string) {
	t.Helper()
	var conn net.Conn
	if err := as(t, uid, gid, func() (err error) {
		conn, err = net.Dial("unix", socket)
		return err
	}); err != nil {
		return 0, err.Error()
	}
	defer conn.Close()
	request, err := http.NewRequest(method, "http://ftr"+path, strings.NewReader(body))
	if err == nil {
		err = request.Write(conn)
	}
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestPermissions(t *testing.T) {
	const group, other, daemon, member, stranger = 64001, 64002, 64101, 64102, 64103
	r := newRouter("Fibre")
	socket, _ := serve(t, r, func(s *Server) { s.opts.UID = daemon })
	if err := os.Chown(socket, daemon, group); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		uid, gid     int
		read, change int
	}{
		{"root", 0, 0, 200, 200},
		{"the daemon's own user", daemon, other, 200, 200},
		{"a member of the group", member, group, 200, 403},
		{"anybody", stranger, other, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(r.ordered())
			read, text := ask(t, socket, tt.uid, tt.gid, "GET", "/v1/status", "")
			if read != tt.read || read == 0 && !strings.Contains(text, "permission denied") {
				t.Errorf("reading: %d %s", read, text)
			}
			change, text := ask(t, socket, tt.uid, tt.gid, "POST", "/v1/uplinks/Fibre", `{"mode": "down"}`)
			if change != tt.change || change == 403 && !strings.Contains(text, "only root and the daemon's own user (id 64101) may change something") {
				t.Errorf("changing: %d %s", change, text)
			}
			reload, text := ask(t, socket, tt.uid, tt.gid, "POST", "/v1/reload", "")
			if reload != tt.change {
				t.Errorf("reloading: %d %s", reload, text)
			}
			if did := r.ordered()[before:]; tt.change == 200 != slices.Equal(did, []string{"eth1 down", "reload"}) || tt.change != 200 && len(did) > 0 {
				t.Errorf("the daemon did: %v", did)
			}
		})
	}
}

// The client says what keeps it from reaching a daemon.
func TestUnreachable(t *testing.T) {
	dir := directory(t)
	if _, _, err := NewClient(Socket(dir)).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", Socket(dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := NewClient(Socket(dir)).Status(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotRunning) {
		t.Errorf("a daemon that hangs: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, _, err := NewClient(Socket(dir)).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stale socket: %v", err)
	}
}
