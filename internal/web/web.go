// Package web is the control API: a server that shows the daemon's state and takes orders over a unix
// socket, as JSON over HTTP, and its client. docs/api.md describes it for other programs.
package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"ftr/internal/status"
)

// SocketName is the name of the socket in the runtime directory.
const SocketName = "ftr.sock"

// Socket returns the path of the socket in a runtime directory.
func Socket(dir string) string { return filepath.Join(dir, SocketName) }

// Controller is the daemon as the API sees it. Its methods are called concurrently.
type Controller interface {
	// Snapshot returns the picture of the latest cycle; nil before the first.
	Snapshot() *status.Snapshot
	// SetUplink wants an uplink, by its interface, in a mode, for now and after a restart. It returns
	// when a snapshot shows it. The error says why it was not done, or will not survive a restart.
	SetUplink(ctx context.Context, iface string, mode status.Mode) error
	// Reload puts the configuration file in force, and returns when a snapshot shows it. Where the file
	// cannot be used, the error is a *status.LoadError, and the configuration before stays.
	Reload(ctx context.Context) error
}

// Code is the kind of an error, stable, for programs.
type Code string

// The codes, with the HTTP status that each comes with.
const (
	BadRequest    Code = "bad_request"           // 400: the request makes no sense, its text says why
	Forbidden     Code = "forbidden"             // 403: only root and the daemon's own user change something
	NotFound      Code = "not_found"             // 404: no such resource
	UnknownUplink Code = "unknown_uplink"        // 404: no uplink has this name
	Ambiguous     Code = "ambiguous_uplink"      // 409: several uplinks have this name
	BadConfig     Code = "invalid_configuration" // 422: the file cannot be used; the one before stays
	Failure       Code = "failed"                // 500: it was tried and did not work
	Starting      Code = "starting"              // 503: no cycle is complete yet; try again in a second
)

// statuses are the HTTP status codes of the codes.
var statuses = map[Code]int{
	BadRequest: http.StatusBadRequest, Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound,
	UnknownUplink: http.StatusNotFound, Ambiguous: http.StatusConflict, BadConfig: http.StatusUnprocessableEntity,
	Failure: http.StatusInternalServerError, Starting: http.StatusServiceUnavailable,
}

// Error is an answer that is not the one hoped for.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Load says what is wrong with the configuration; only with BadConfig.
	Load *status.LoadView `json:"configuration,omitempty"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func failure(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// errorBody is how an Error is sent.
type errorBody struct {
	Error *Error `json:"error"`
}

// modeBody is what is wanted of an uplink.
type modeBody struct {
	Mode *status.Mode `json:"mode"`
}

// uplinkBody is an uplink in all its families.
type uplinkBody struct {
	Uplinks []status.UplinkView `json:"uplinks"`
}

// reloadBody tells that a configuration was put in force.
type reloadBody struct {
	Configuration status.ConfigurationView `json:"configuration"`
}

// Limits of a request. What asks for more is a mistake, or wants to harm.
const (
	maxBody     = 4 << 10
	maxHeader   = 8 << 10
	maxClients  = 64 // connections at once
	headerTime  = 5 * time.Second
	requestTime = 10 * time.Second
	actionTime  = 30 * time.Second // for the daemon to do what it is told
	idleTime    = 30 * time.Second
	parting     = 2 * time.Second // for requests under way when the server ends
)

// write sends a value as JSON, indented for people with curl.
func write(w http.ResponseWriter, code int, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil { // only a programming error can be the reason: the types are ours
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// Who has gone away in the meantime misses nothing.
	_, _ = w.Write(append(text, '\n'))
}
