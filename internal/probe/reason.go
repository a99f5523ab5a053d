package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// reason is an error whose text is for the administrator and whose cause is for errors.Is.
type reason struct {
	text  string
	cause error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.cause }

// explain says what an error of the kernel means for a probe through device from source. The errors of
// package net name the socket's ends, which the administrator knows already; only the errno is kept.
func explain(err error, device string, source netip.Addr) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.ENODEV, syscall.ENXIO:
		return &reason{"no such device " + device, errno}
	case syscall.EADDRNOTAVAIL:
		return &reason{fmt.Sprintf("address %v is not assigned to this host", source), errno}
	default:
		return errno
	}
}

// explainSend says what an error of sending means.
func explainSend(err error, device string, source netip.Addr) error {
	if errors.Is(err, syscall.EPERM) {
		return &reason{"a firewall rule of this host drops the probe", syscall.EPERM}
	}
	return explain(err, device, source)
}

// explainSocket says what an error of making the socket means.
func explainSocket(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return &reason{"raw sockets are not permitted: the capability CAP_NET_RAW is missing", err}
	}
	return fmt.Errorf("open raw socket: %w", err)
}

// explainEnd says why waiting for an answer ended.
func explainEnd(ctx context.Context, began time.Time) error {
	err := ctx.Err()
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	deadline, _ := ctx.Deadline()
	return &reason{fmt.Sprintf("no answer within %v", deadline.Sub(began).Round(time.Millisecond)), err}
}
