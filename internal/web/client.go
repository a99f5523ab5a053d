package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"ftr/internal/status"
)

// ErrNotRunning is wrapped where nobody listens at the socket.
var ErrNotRunning = errors.New("the daemon does not run")

// maxAnswer bounds what is read of an answer: 250 uplinks in two families take a tenth of it.
const maxAnswer = 8 << 20

// Client asks a daemon. Its methods may be called concurrently. Their error is an *Error where the
// daemon refused, and wraps ErrNotRunning or fs.ErrPermission where it could not be reached.
type Client struct {
	http *http.Client
}

// NewClient returns a client of the daemon at a socket. Nothing is sent yet.
func NewClient(socket string) *Client {
	var dialer net.Dialer
	return &Client{http: &http.Client{Transport: &http.Transport{
		// A connection for each request: nobody stays behind, and a new daemon is found at once.
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status returns the state, and the answer as it was sent, with fields that a newer daemon may have.
func (c *Client) Status(ctx context.Context) (*status.View, []byte, error) {
	var v status.View
	text, err := c.do(ctx, http.MethodGet, "/v1/status", nil, &v)
	if err != nil {
		return nil, nil, err
	}
	return &v, text, nil
}

// Uplink returns the uplink with an interface or a description, in all its families.
func (c *Client) Uplink(ctx context.Context, name string) ([]status.UplinkView, error) {
	var b uplinkBody
	_, err := c.do(ctx, http.MethodGet, "/v1/uplinks/"+url.PathEscape(name), nil, &b)
	return b.Uplinks, err
}

// SetUplink wants an uplink in a mode, and returns it as it is then.
func (c *Client) SetUplink(ctx context.Context, name string, mode status.Mode) ([]status.UplinkView, error) {
	var b uplinkBody
	_, err := c.do(ctx, http.MethodPost, "/v1/uplinks/"+url.PathEscape(name), modeBody{&mode}, &b)
	return b.Uplinks, err
}

// Reload lets the daemon read its configuration file again.
func (c *Client) Reload(ctx context.Context) (status.ConfigurationView, error) {
	var b reloadBody
	_, err := c.do(ctx, http.MethodPost, "/v1/reload", nil, &b)
	return b.Configuration, err
}

// do sends a request and reads the answer into a value.
func (c *Client) do(ctx context.Context, method, path string, body, value any) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://ftr"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, reached(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var b errorBody
		if json.Unmarshal(text, &b) != nil || b.Error == nil {
			return nil, fmt.Errorf("the daemon answers %s", response.Status)
		}
		return nil, b.Error
	}
	if err := json.Unmarshal(text, value); err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return text, nil
}

// reached says why a daemon could not be reached.
func reached(err error) error {
	// The address of the request is of no use to people: it is always the same.
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	return fmt.Errorf("ask the daemon: %w", err)
}
