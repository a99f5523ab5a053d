package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// explain says what an error of the kernel means for a probe through a line. The errors of package net
// name the socket's ends, which the administrator knows already; only the errno is kept.
func explain(err error, l line) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.ENODEV, syscall.ENXIO:
		return noDevice(l.device)
	case syscall.EADDRNOTAVAIL:
		return &reason{fmt.Sprintf("address %v is not assigned to this host", l.source), errno}
	default:
		return errno
	}
}

// noDevice says that the interface does not exist.
func noDevice(device string) error { return &reason{"no such device " + device, syscall.ENODEV} }

// explainSend says what an error of sending means.
func explainSend(err error, l line) error {
	if errors.Is(err, syscall.EPERM) {
		return &reason{"a firewall rule of this host drops the probe", syscall.EPERM}
	}
	return explain(err, l)
}

// explainSocket says what an error of making the raw socket means.
func explainSocket(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return &reason{"raw sockets are not permitted: the capability CAP_NET_RAW is missing", err}
	}
	return fmt.Errorf("open raw socket: %w", err)
}

// timedOut tells whether a probe was ended by its context, or by a deadline that stands for it.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, os.ErrDeadlineExceeded)
}

// connected marks a time-out after the connection was made.
type connected struct{ error }

func (c connected) Unwrap() error { return c.error }

// explainEnd says why waiting for an answer ended. ctx is done.
func explainEnd(ctx context.Context, began time.Time, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	deadline, _ := ctx.Deadline()
	text := fmt.Sprintf("no answer within %v", legible(deadline.Sub(began)))
	if errors.As(err, new(connected)) {
		text = "connected, but " + text
	}
	return &reason{text, context.DeadlineExceeded}
}

// legible rounds a timeout to what matters: it began a moment before the probe did.
func legible(timeout time.Duration) time.Duration {
	if timeout >= 100*time.Millisecond {
		return timeout.Round(10 * time.Millisecond)
	}
	return timeout.Round(time.Millisecond)
}

// until ends blocking reads and writes when ctx is done, by a deadline in the past. The caller calls
// release before it closes what the deadline is for.
func until(ctx context.Context, set func(deadline time.Time) error) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = set(time.Unix(1, 0)) // fails only for what is closed, on which nobody waits
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
