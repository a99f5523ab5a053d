package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"ftr/internal/status"
)

// Options are what a server works with.
type Options struct {
	Controller Controller
	Logger     *slog.Logger
	Version    string    // of the program
	Started    time.Time // the daemon's start
	// UID is the daemon's own user, who may change things, as root may.
	UID int
}

// Server answers the API. It is made by New and runs in Run.
type Server struct {
	opts    Options
	handler http.Handler
	// How long to wait for a request's header, and for requests under way at the end.
	header, parting time.Duration
}

// New returns a server that does nothing before Run.
func New(opts Options) *Server {
	s := &Server{opts: opts, header: headerTime, parting: parting}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/uplinks/{name}", s.uplink)
	mux.HandleFunc("POST /v1/uplinks/{name}", s.privileged(s.setUplink))
	mux.HandleFunc("POST /v1/reload", s.privileged(s.reload))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, failure(NotFound, "there is no %s %s in this API", r.Method, r.URL.Path))
	})
	s.handler = mux
	return s
}

// Run answers requests until ctx ends, lets those under way finish for a moment, and closes the
// listener. The error says why it ended before that; nil else.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.header,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime + actionTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
		// Whoever waits for events must not hold up the end.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(limit(listener, maxClients)) }()
	select {
	case err := <-ended:
		return errors.Join(err, listener.Close())
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.parting)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close() // whoever hangs is cut off; there is nobody to tell
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// peerKey is the context key of the peer of a connection.
type peerKey struct{}

// peer is who sends requests over a connection.
type peer struct {
	uid uint32
	err error // the kernel did not say
}

func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if outer, ok := conn.(*limitedConn); ok {
		conn = outer.Conn
	}
	uid, err := peerUID(conn)
	return context.WithValue(ctx, peerKey{}, peer{uid, err})
}

// privileged lets only root and the daemon's own user through.
func (s *Server) privileged(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, ok := r.Context().Value(peerKey{}).(peer)
		switch {
		case !ok || who.err != nil:
			refuse(w, failure(Forbidden, "the kernel does not say who asks, so nothing can be changed"))
		case who.uid != 0 && who.uid != uint32(s.opts.UID):
			refuse(w, failure(Forbidden, "user id %d may look, but only root and the daemon's own user (id %d) may change something; try it with sudo", who.uid, s.opts.UID))
		default:
			ctx, cancel := context.WithTimeout(r.Context(), actionTime)
			defer cancel()
			r = r.WithContext(ctx)
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			next(w, r)
		}
	}
}

// view returns the state as it is now; nil, having answered, where there is none yet.
func (s *Server) view(w http.ResponseWriter) *status.View {
	snapshot := s.opts.Controller.Snapshot()
	if snapshot == nil {
		w.Header().Set("Retry-After", "1")
		refuse(w, failure(Starting, "the daemon has just started and knows nothing yet; try again in a second"))
		return nil
	}
	v := status.NewView(snapshot, s.opts.Version, s.opts.Started)
	return &v
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	if v := s.view(w); v != nil {
		write(w, http.StatusOK, v)
	}
}

// find returns the uplink that a request names; nil, having answered, where there is none.
func (s *Server) find(w http.ResponseWriter, r *http.Request) []status.UplinkView {
	v := s.view(w)
	if v == nil {
		return nil
	}
	uplinks, err := v.Find(r.PathValue("name"))
	var name *status.NameError
	switch {
	case errors.As(err, &name) && len(name.Several) > 0:
		refuse(w, failure(Ambiguous, "%v", err))
	case err != nil:
		refuse(w, failure(UnknownUplink, "%v", err))
	}
	return uplinks
}

func (s *Server) uplink(w http.ResponseWriter, r *http.Request) {
	if uplinks := s.find(w, r); uplinks != nil {
		write(w, http.StatusOK, uplinkBody{uplinks})
	}
}

func (s *Server) setUplink(w http.ResponseWriter, r *http.Request) {
	mode, err := readMode(r.Body)
	if err != nil {
		refuse(w, failure(BadRequest, "%v; send for example {\"mode\": \"down\"}", err))
		return
	}
	uplinks := s.find(w, r)
	if uplinks == nil {
		return
	}
	if err := s.opts.Controller.SetUplink(r.Context(), uplinks[0].Interface, mode); err != nil {
		refuse(w, failure(Failure, "set uplink %s to %s: %v", uplinks[0].Name, mode, err))
		return
	}
	if v := s.view(w); v != nil {
		// It is named as it was: a reload at the same time may have renamed or removed it.
		now, err := v.Find(uplinks[0].Interface)
		if err != nil {
			refuse(w, failure(UnknownUplink, "%v", err))
			return
		}
		write(w, http.StatusOK, uplinkBody{now})
	}
}

// readMode reads a body of exactly one mode.
func readMode(body io.Reader) (status.Mode, error) {
	var b modeBody
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return 0, err
	}
	if b.Mode == nil {
		return 0, errors.New("the mode is missing")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return 0, errors.New("there is something behind the mode")
	}
	return *b.Mode, nil
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	err := s.opts.Controller.Reload(r.Context())
	var load *status.LoadError
	switch {
	case errors.As(err, &load):
		view := status.NewLoadView(load)
		e := failure(BadConfig, "%v; nothing was changed", err)
		e.Load = &view
		refuse(w, e)
	case err != nil:
		refuse(w, failure(Failure, "reload: %v", err))
	default:
		if v := s.view(w); v != nil {
			write(w, http.StatusOK, reloadBody{v.Configuration})
		}
	}
}

func refuse(w http.ResponseWriter, e *Error) { write(w, statuses[e.Code], errorBody{e}) }
