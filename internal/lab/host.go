package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ftr/internal/netns"
)

// Host is one machine of the lab. Its sockets must be opened with addresses, not names: a resolver
// runs on other threads, in other namespaces.
type Host struct{ *netns.NS }

// Dial opens a connection from the host. The address is an IP literal with a port.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dial(ctx, &net.Dialer{}, network, address)
}

// DialFrom opens a connection from one of the host's addresses, or from an interface's.
func (h *Host) DialFrom(ctx context.Context, local net.Addr, network, address string) (net.Conn, error) {
	return h.dial(ctx, &net.Dialer{LocalAddr: local}, network, address)
}

func (h *Host) dial(ctx context.Context, dialer *net.Dialer, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen opens a listener on the host.
func (h *Host) Listen(ctx context.Context, network, address string) (listener net.Listener, err error) {
	err = h.Do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return listener, err
}

// ListenPacket opens a datagram socket on the host.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (conn net.PacketConn, err error) {
	err = h.Do(func() (err error) {
		conn, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return conn, err
}

// Get asks a web server for a path over a new connection, since each connection is to be balanced.
// Closing the answer's body closes the connection, and so does the end of the context.
func (h *Host) Get(ctx context.Context, to netip.AddrPort, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+path, nil)
	if err != nil {
		return nil, err
	}
	conn, err := h.Dial(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	response, err := exchange(conn, request)
	if err != nil {
		release()
		conn.Close()
		return nil, cmp.Or(ctx.Err(), err)
	}
	response.Body = &body{ReadCloser: response.Body, conn: conn, release: release}
	return response, nil
}

// exchange sends a request and reads the head of the answer.
func exchange(conn net.Conn, request *http.Request) (*http.Response, error) {
	request.Close = true
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReaderSize(conn, 16<<10), request)
}

// body is an answer's body that owns its connection.
type body struct {
	io.ReadCloser
	conn    net.Conn
	release func() bool
}

// Close drops the connection first, since what is left of the body need not be read.
func (b *body) Close() error {
	b.release()
	err := b.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// resentBy returns how many segments Get's connection has sent again so far (TCP_INFO, tcp(7)).
func resentBy(response *http.Response) (n int, err error) {
	b, ok := response.Body.(*body)
	if !ok {
		return 0, fmt.Errorf("read TCP_INFO: the answer is a %T", response.Body)
	}
	conn, ok := b.conn.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("read TCP_INFO: the connection is a %T", b.conn)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("read TCP_INFO: %w", err)
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := cmp.Or(failed, err); err != nil {
		return 0, fmt.Errorf("read TCP_INFO: %w", err)
	}
	return int(info.Total_retrans), nil
}

// Sysctl sets a kernel parameter of the host's network, by its path under /proc/sys.
func (h *Host) Sysctl(key, value string) error {
	return h.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0) })
}

// Input runs a command on the host with text on its standard input.
func (h *Host) Input(text, name string, args ...string) error {
	return h.Do(func() error { return runInput(text, name, args...) })
}

// nft applies a ruleset on the host, whole or not at all.
func (h *Host) nft(lines ...string) error {
	return h.Input(strings.Join(lines, "\n")+"\n", "nft", "-f", "-")
}

// runInput runs a command with text on its standard input; its error carries what the command said.
func runInput(text, name string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
