package probe_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ftr/internal/config"
)

// The status decides; no redirection is followed, no proxy is asked.
func TestHTTPStatus(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://203.0.113.1:3128")
	t.Setenv("http_proxy", "http://203.0.113.1:3128")
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	var followed atomic.Int32
	requests := make(chan *http.Request, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		var status int
		fmt.Sscanf(r.URL.Query().Get("s"), "%d", &status)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(status)
	})
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		serve(t, listen(t, isp, at(f.target, 8080)), mux)
		for _, tt := range []struct {
			status, expected int
			want             string
		}{
			{200, 0, ""},
			{204, 204, ""},
			{302, 0, ""},
			{399, 0, ""},
			{503, 503, ""},
			{400, 0, "status 400, expected 200 to 399"},
			{503, 204, "status 503, expected 204"},
			{200, 204, "status 200, expected 204"},
			{302, 204, "status 302, expected 204"},
		} {
			for _, name := range []string{"", "example.com"} {
				target := config.Target{
					Method: config.HTTP, Address: f.target, Port: 8080, Name: name,
					Path: fmt.Sprintf("/a%%20b?s=%d", tt.status), Status: tt.expected,
				}
				_, err := probeBy(p, timeout, device(1), f.source(1), target)
				if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
					t.Errorf("%s %v: %v, want %q", f.name, target, err, tt.want)
				}
				host := at(f.target, 8080)
				if name != "" {
					host = "example.com:8080"
				}
				if r := <-requests; r.Method != http.MethodGet || r.Host != host || r.URL.Path != "/a b" || !r.Close {
					t.Errorf("request %s %s %s, close %v", r.Method, r.Host, r.URL.Path, r.Close)
				}
			}
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirection was followed")
	}
}

// unanswered is the reason of a time-out after the connection was made.
const unanswered = "connected, but no answer"

// Servers that do not answer as they should.
func TestHTTPBadServers(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	f := families[1]
	answers(t, p, device(1), f.source(1), f.target)
	write := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, text)
			io.Copy(io.Discard, c) // until the probe resets the connection
		}
	}
	endless := func(head, line string) func(net.Conn) {
		return func(c net.Conn) {
			w := bufio.NewWriter(c)
			for _, err := w.WriteString(head); err == nil; _, err = w.WriteString(line) {
				continue
			}
		}
	}
	for i, tt := range []struct {
		what   string
		handle func(net.Conn)
		want   string
	}{
		{"silent", write(""), unanswered},
		{"half a line", write("HTTP/1.1 2"), unanswered},
		{"half a head", write("HTTP/1.1 200 OK\r\nA: b\r\n"), unanswered},
		{"not HTTP", write("220 mail.example.com ESMTP\r\n"), "the answer is not HTTP"},
		{"closes", func(c net.Conn) { bufio.NewReader(c).ReadString('\n') }, "connection ended before the answer was complete"},
		{"resets", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, "connection reset by peer"},
		{"endless body", endless("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "body"), "<nil>"},
		{"endless head", endless("HTTP/1.1 200 OK\r\n", "Header: value\r\n"), "connection ended before the answer was complete"},
		{"endless line", endless("HTTP/1.1 200 OK", "OK"), "connection ended before the answer was complete"},
		{"endless early hints", endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "connection ended before the answer was complete"},
		{"switches protocols", write("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "status 101, expected 200 to 399"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			port := uint16(1000 + i)
			accept(t, listen(t, isp, at(f.target, port)), func(c net.Conn) {
				tt.handle(c)
				c.Close()
			})
			target := config.Target{Method: config.HTTP, Address: f.target, Port: port, Path: "/"}
			if tt.want == unanswered {
				silent(t, p, f.source(1), target, tt.want)
				return
			}
			_, err := probeBy(p, timeout, device(1), f.source(1), target)
			if fmt.Sprint(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	_, err := probeBy(p, timeout, device(1), f.source(1), config.Target{Method: config.HTTP, Address: f.target, Path: "/"})
	refused(t, err, "connection refused")
	_, err = probeBy(p, timeout, device(1), f.source(1), config.Target{Method: config.HTTP, Address: f.target, Path: "/%zz"})
	refused(t, err, `ask for http://[2001:db8:ff::1]/%zz: parse "http://[2001:db8:ff::1]/%zz": invalid URL escape "%zz"`)
}

// The certificate must be valid now, for this host, and of an authority that is trusted.
func TestHTTPS(t *testing.T) {
	isp := provider(t, "isp")
	connect(t, 1, isp)
	p := prober(t)
	trusted, stranger := newAuthority(t), newAuthority(t)
	p.Trust(trusted.pool())
	const day = 24 * time.Hour
	now := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("2006-01-02 15:04 MST") }
	tests := []struct {
		what, name string
		config     *tls.Config
		want       string // its end may be cut
	}{
		{"by name", "example.com", trusted.issue(t, -day, day), ""},
		{"by address", "", trusted.issue(t, -day, day), ""},
		{"for another name", "example.org", trusted.issue(t, -day, day), "certificate is not for example.org"},
		{"of a stranger", "example.com", stranger.issue(t, -day, day), "certificate is signed by an unknown authority"},
		{"expired", "example.com", trusted.issue(t, -2*day, -day), "certificate expired on " + now(-day) + "; the clock here says 20"},
		{"not yet valid", "example.com", trusted.issue(t, day, 2*day), "certificate is valid only from " + now(day) + "; the clock here says 20"},
		{"refused", "example.com", &tls.Config{MaxVersion: tls.VersionTLS11, Certificates: trusted.issue(t, -day, day).Certificates},
			"the server refuses TLS: tls: protocol version not supported"},
		{"without TLS", "example.com", nil, "the answer is not TLS"},
	}
	for _, f := range families {
		answers(t, p, device(1), f.source(1), f.target)
		for i, tt := range tests {
			t.Run(f.name+" "+tt.what, func(t *testing.T) {
				l := listen(t, isp, at(f.target, uint16(1000+i)))
				handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
				if tt.config != nil {
					l = tls.NewListener(l, tt.config)
				}
				quietly(t, l, handler)
				target := config.Target{Method: config.HTTPS, Address: f.target, Port: uint16(1000 + i), Name: tt.name, Path: "/", Status: 204}
				_, err := probeBy(p, timeout, device(1), f.source(1), target)
				if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		}
		t.Run(f.name+" silent", func(t *testing.T) {
			accept(t, listen(t, isp, at(f.target, 999)), func(c net.Conn) {
				io.Copy(io.Discard, c)
				c.Close()
			})
			target := config.Target{Method: config.HTTPS, Address: f.target, Port: 999, Path: "/"}
			silent(t, p, f.source(1), target, unanswered)
		})
	}
}

// quietly serves like serve, without the server's log of failed handshakes.
func quietly(t *testing.T, l net.Listener, handler http.Handler) {
	s := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		check(t, s.Close())
		<-done
	})
}
