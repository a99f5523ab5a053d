package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/status"
)

func TestStatus(t *testing.T) {
	r := newRouter("Fibre", "Cable")
	socket, _ := serve(t, r, nil)
	view, text, err := NewClient(socket).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(status.NewView(r.Snapshot(), "1.2.3", started), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want)+"\n", string(text)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if len(view.Uplinks) != 2 || view.Uplinks[1].Share != 0.5 || view.State != status.OK {
		t.Errorf("status %+v", view)
	}
	r.mu.Lock()
	r.snapshot = nil
	r.mu.Unlock()
	if _, _, err := NewClient(socket).Status(t.Context()); code(err) != Starting {
		t.Errorf("before the first cycle: %v", err)
	}
}

func TestUplinks(t *testing.T) {
	r := newRouter("Fibre", "Cable", "Büro / 光 50%?#", "Twin", "Twin")
	socket, _ := serve(t, r, nil)
	client := NewClient(socket)
	for _, tt := range []struct {
		name  string
		mode  status.Mode
		order string
		code  Code
		text  string
	}{
		{name: "Cable", mode: status.ForcedDown, order: "eth2 down"},
		{name: "eth2", mode: status.ForcedUp, order: "eth2 up"},
		{name: "cable", mode: status.Auto, order: "eth2 auto"},
		{name: "Büro / 光 50%?#", mode: status.ForcedDown, order: "eth3 down"},
		{name: "Fiber", mode: status.ForcedDown, code: UnknownUplink, text: `there is no uplink "Fiber": did you mean "Fibre"?`},
		{name: "Twin", mode: status.ForcedDown, code: Ambiguous, text: `"Twin" is the name of several uplinks: name one by its interface: eth4, eth5`},
		{name: "eth5", mode: status.ForcedDown, order: "eth5 down"},
	} {
		before := len(r.ordered())
		uplinks, err := client.SetUplink(t.Context(), tt.name, tt.mode)
		orders := r.ordered()[before:]
		if tt.code != "" {
			if code(err) != tt.code || err.Error() != tt.text || len(orders) != 0 {
				t.Errorf("%s: %v (%s), orders %v", tt.name, err, code(err), orders)
			}
			if _, err := client.Uplink(t.Context(), tt.name); code(err) != tt.code {
				t.Errorf("show %s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || len(uplinks) != 1 || uplinks[0].Mode != tt.mode || strings.Join(orders, " ") != tt.order {
			t.Errorf("%s %s: %+v, %v, orders %v", tt.name, tt.mode, uplinks, err, orders)
		}
		shown, err := client.Uplink(t.Context(), tt.name)
		if err != nil || len(shown) != 1 || shown[0].Mode != tt.mode {
			t.Errorf("show %s: %+v, %v", tt.name, shown, err)
		}
	}
	r.fail = errors.New("the state directory is full")
	if _, err := client.SetUplink(t.Context(), "Fibre", status.Auto); code(err) != Failure || !strings.Contains(err.Error(), "the state directory is full") {
		t.Errorf("what the daemon could not do: %v", err)
	}
}

func TestReload(t *testing.T) {
	r := newRouter("Fibre")
	socket, _ := serve(t, r, nil)
	client := NewClient(socket)
	c, err := client.Reload(t.Context())
	if err != nil || c.File != "/etc/f.conf" || c.Error != nil {
		t.Errorf("reload: %+v, %v", c, err)
	}
	r.fail = &status.LoadError{File: "/etc/f.conf", Time: started, Problems: []config.Problem{
		{File: "/etc/f.conf", Line: 4, Column: 9, Path: "uplinks[0].weight", Value: "x", Message: "is not a number"},
		{File: "/etc/f.conf", Severity: config.Warning, Message: "is readable by all"},
	}}
	_, err = client.Reload(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Code != BadConfig || e.Message != "/etc/f.conf has 1 error; nothing was changed" {
		t.Fatalf("a bad file: %v", err)
	}
	want := []status.ProblemView{
		{Severity: "error", Line: 4, Column: 9, Key: "uplinks[0].weight", Text: "/etc/f.conf:4:9: uplinks[0].weight: x is not a number",
			Shown: "error: /etc/f.conf:4:9: uplinks[0].weight: x is not a number\n"},
		{Severity: "warning", Text: "/etc/f.conf: is readable by all", Shown: "warning: /etc/f.conf: is readable by all\n"},
	}
	if diff := cmp.Diff(want, e.Load.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	r.fail = errors.New("the daemon does not answer")
	if _, err := client.Reload(t.Context()); code(err) != Failure {
		t.Errorf("another failure: %v", err)
	}
}

// Requests that make no sense are refused in JSON, and nothing is done.
func TestRequests(t *testing.T) {
	r := newRouter("Fibre")
	socket, _ := serve(t, r, nil)
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/status", "", 200},
		{"HEAD", "/v1/status", "", 200},
		{"GET", "/", "", 404},
		{"GET", "/v2/status", "", 404},
		{"GET", "/v1/uplinks/", "", 404},
		{"GET", "/v1/reload", "", 404},
		{"DELETE", "/v1/uplinks/eth1", "", 404},
		{"POST", "/v1/status", "", 404},
		{"POST", "/v1/uplinks/eth1", "", 400},
		{"POST", "/v1/uplinks/eth1", "down", 400},
		{"POST", "/v1/uplinks/eth1", "{}", 400},
		{"POST", "/v1/uplinks/eth1", "null", 400},
		{"POST", "/v1/uplinks/eth1", `{"mode": "off"}`, 400},
		{"POST", "/v1/uplinks/eth1", `{"mode": 1}`, 400},
		{"POST", "/v1/uplinks/eth1", `{"mode": "down", "until": "noon"}`, 400},
		{"POST", "/v1/uplinks/eth1", `{"mode": "down"} {"mode": "up"}`, 400},
		{"POST", "/v1/uplinks/eth1", `{"mode": "` + strings.Repeat("x", 2*maxBody) + `"}`, 400},
	} {
		request, err := http.NewRequest(tt.method, "http://ftr"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, socket)
		if err := request.Write(conn); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), request)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.path, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var b errorBody
		isError := json.Unmarshal(body, &b) == nil && b.Error != nil && b.Error.Code != "" && b.Error.Message != ""
		if response.StatusCode != tt.status || isError != (tt.status != 200) || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %.40s: %d %s", tt.method, tt.path, tt.body, response.StatusCode, body)
		}
		conn.Close()
	}
	if orders := r.ordered(); len(orders) != 0 {
		t.Errorf("orders came through: %v", orders)
	}
	// A header without end is cut off.
	conn := dial(t, socket)
	_, err := conn.Write(append([]byte("GET /v1/status HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 4*maxHeader)...))
	response, readErr := io.ReadAll(conn)
	if !bytes.Contains(response, []byte(" 431 ")) && err == nil && readErr == nil {
		t.Errorf("a header of %d bytes: %.100s", 4*maxHeader, response)
	}
}

func TestManyClients(t *testing.T) {
	r := newRouter("Fibre", "Cable")
	socket, _ := serve(t, r, nil)
	client := NewClient(socket)
	var wait sync.WaitGroup
	for i := range 2 * maxClients {
		wait.Go(func() {
			if _, _, err := client.Status(t.Context()); err != nil {
				t.Errorf("status: %v", err)
			}
			if _, err := client.SetUplink(t.Context(), "Cable", status.Mode(i%3)); err != nil {
				t.Errorf("set: %v", err)
			}
		})
	}
	wait.Wait()
	if n := len(r.ordered()); n != 2*maxClients {
		t.Errorf("%d orders, want %d", n, 2*maxClients)
	}
}

// Those who connect and say nothing, or half a request, delay others for a moment only.
func TestHangingClients(t *testing.T) {
	socket, _ := serve(t, newRouter("Fibre"), func(s *Server) { s.header = 100 * time.Millisecond })
	for i := range maxClients {
		if conn := dial(t, socket); i%2 == 0 {
			if _, err := io.WriteString(conn, "GET /v1/status HT"); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := NewClient(socket).Status(ctx); err != nil {
		t.Errorf("beside %d silent clients: %v", maxClients, err)
	}
}

// One that says nothing does not hold up the end: it is cut off long before its time for a request is over.
func TestHangingClientAtTheEnd(t *testing.T) {
	socket, stop := serve(t, newRouter("Fibre"), func(s *Server) { s.header, s.parting = time.Minute, 50*time.Millisecond })
	conn := dial(t, socket)
	if _, err := io.WriteString(conn, "GET /v1/status HT"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewClient(socket).Status(t.Context()); err != nil { // so the silent one was accepted before
		t.Fatal(err)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > patience {
		t.Errorf("a silent client holds up the end for %v", took)
	}
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent client: %v", err)
	}
}

// An order that the daemon does not get done ends with the server, and who waits is told.
func TestEndWhileBusy(t *testing.T) {
	r := newRouter("Fibre")
	r.busy = make(chan struct{})
	socket, stop := serve(t, r, nil)
	answer := make(chan error, 1)
	go func() {
		_, err := NewClient(socket).SetUplink(context.Background(), "Fibre", status.ForcedDown)
		answer <- err
	}()
	<-r.busy
	stop()
	if err := <-answer; code(err) != Failure || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("the order ends with: %v", err)
	}
	if _, _, err := NewClient(socket).Status(t.Context()); !errors.Is(err, ErrNotRunning) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}
