package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// LineHeader is the header of every answer of the lab's web servers: the line that the connection
// came over, from 1, as told by the client's address; "none" for an address of no line.
const LineHeader = "X-Lab-Line"

// servers are the web servers of a lab.
type servers struct {
	list []*http.Server
	// advertisers end the sending of router advertisements.
	advertisers []context.CancelFunc
	done        sync.WaitGroup
}

// close ends the servers and their connections, and waits for them.
func (s *servers) close() error {
	var errs []error
	for _, server := range s.list {
		errs = append(errs, server.Close())
	}
	for _, stop := range s.advertisers {
		stop()
	}
	s.done.Wait()
	return errors.Join(errs...)
}

// startServers starts a web server on the internet host, the router and the server in the DMZ.
func (l *Lab) startServers(ctx context.Context) error {
	for _, s := range []struct {
		host *Host
		name string
		port int
	}{{l.Internet, "internet", WebPort}, {l.Router, "router", RouterPort}, {l.Server, "server", WebPort}} {
		listener, err := s.host.Listen(ctx, "tcp", ":"+strconv.Itoa(s.port))
		if err != nil {
			return fmt.Errorf("web server of %s: %w", s.name, err)
		}
		server := &http.Server{Handler: l.handler(s.name), ReadHeaderTimeout: 10 * time.Second}
		l.servers.list = append(l.servers.list, server)
		l.servers.done.Go(func() { _ = server.Serve(listener) })
	}
	return nil
}

// handler serves "/", which says who is talking to whom, and "/bytes", which sends as many bytes as
// `n` says (0: without end), at most `rate` bytes a second (0: as fast as the line carries).
func (l *Lab) handler(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		l.tellLine(w, r)
		fmt.Fprintf(w, "%s %s %s\n", name, r.Context().Value(http.LocalAddrContextKey).(net.Addr), r.RemoteAddr)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := number(r, "n")
		rate, err2 := number(r, "rate")
		if err := errors.Join(err, err2); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.tellLine(w, r)
		if n > 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		} else {
			// Not in chunks, which readers only see when they are complete.
			w.Header().Set("Transfer-Encoding", "identity")
		}
		send(w, r.Context(), n, rate)
	})
	return mux
}

// number reads a number of the query; 0 where there is none.
func number(r *http.Request, key string) (int64, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%q: want a number of bytes", key, text)
	}
	return n, nil
}

// tellLine sets the header that says which line the connection came over.
func (l *Lab) tellLine(w http.ResponseWriter, r *http.Request) {
	line := "none"
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		if i, ok := l.Plan.LineOf(from.Addr()); ok {
			line = strconv.Itoa(i + 1)
		}
	}
	w.Header().Set(LineHeader, line)
}

// pace is how often a limited download sends.
const pace = 20 * time.Millisecond

// send writes n bytes (0: without end), at most rate a second (0: not limited).
func send(w http.ResponseWriter, ctx context.Context, n, rate int64) {
	block := make([]byte, 32<<10)
	if rate > 0 {
		block = block[:min(int64(len(block)), max(1, rate*int64(pace)/int64(time.Second)))]
	}
	start, sent := time.Now(), int64(0)
	flush := http.NewResponseController(w)
	for n == 0 || sent < n {
		part := block
		if n > 0 {
			part = block[:min(int64(len(block)), n-sent)]
		}
		if _, err := w.Write(part); err != nil {
			return
		}
		sent += int64(len(part))
		if rate == 0 {
			continue
		}
		if err := flush.Flush(); err != nil {
			return
		}
		// What could not be sent while a line was broken is not made up for: it would fill the line.
		if late := time.Since(start.Add(duration(sent, rate))); late > 10*pace {
			start = start.Add(late)
		}
		due := start.Add(duration(sent, rate))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
	}
}

// duration returns how long n bytes take at a rate of bytes a second.
func duration(n, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}
