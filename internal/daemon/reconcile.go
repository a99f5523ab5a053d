package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ftr/internal/routing"
)

// reconcile makes the kernel agree. A step that fails does not keep the others from being done, but
// deletions wait until all that is wanted exists: what is to go may be all that a packet has.
func (l *loop) reconcile(ctx context.Context, now time.Time) {
	want := routing.Want(l.Config, &l.obs, l.paths, l.selections)
	steps, outlived := l.outlived(now, routing.Plan(l.Config, l.obs.Have, want))
	steps, back, until := l.repairs.sort(now, steps)
	if until.IsZero() || !outlived.IsZero() && outlived.Before(until) {
		until = outlived
	}
	l.remember(steps)
	var errs []error
	for _, s := range steps {
		if s.Op == routing.Delete && len(errs) > 0 {
			break
		}
		if err := l.apply(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	if err := few(errs); err != nil {
		l.failed(ctx, now, err)
		return
	}
	if len(back) > 0 {
		l.Logger.Info(told(back))
	}
	if !until.IsZero() {
		l.lookAt = earliest(l.lookAt, until)
		return
	}
	l.repairs.settle(now, l.Config, l.obs.Have, want, steps)
	l.agree(len(steps))
}

// fewErrors is how many refused steps are told one by one.
const fewErrors = 5

// few joins errors, of many the first ones and their number: a lost interface takes its routes from all tables.
func few(errs []error) error {
	if more := len(errs) - fewErrors; more > 1 {
		errs = append(slices.Clone(errs[:fewErrors]), fmt.Errorf("%d more", more))
	}
	return errors.Join(errs...)
}

// agree notes that the kernel holds what it should.
func (l *loop) agree(steps int) {
	if l.failure != "" {
		l.Logger.Info("the kernel agrees again")
	}
	l.failure, l.retry, l.settled = "", firstRetry, true
	l.scope = routing.ScopeOf(l.Config) // what an earlier configuration left in another family is gone
	if !l.ready {
		l.ready = true
		l.Logger.Debug("the kernel agrees with the configuration", "steps", steps)
		l.Ready()
	}
}

// remember keeps the values of the sysctls that are about to be set.
func (l *loop) remember(steps []routing.Step) {
	var before []routing.Sysctl
	var words []string
	for _, s := range steps {
		if s.Op == routing.Set {
			before = append(before, routing.Sysctl{Key: s.Sysctl.Key, Value: s.Old})
			words = append(words, s.Sysctl.Key+"="+s.Old)
		}
	}
	if len(before) == 0 {
		return
	}
	if err := l.Remember(before); err != nil {
		l.Logger.Warn("the old values of sysctls could not be kept, cleanup will not put them back", "sysctls", strings.Join(words, " "), "error", err)
	}
}

func (l *loop) apply(ctx context.Context, s routing.Step) error {
	if l.Logger.Enabled(ctx, slog.LevelDebug) { // a default over hundreds of lines is a long text
		l.Logger.Debug(s.String())
	}
	if err := l.Kernel.Apply(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	if s.Op == routing.Set {
		l.note(*s.Sysctl)
	}
	return nil
}

// failed logs a failure once, and plans the next try.
func (l *loop) failed(ctx context.Context, now time.Time, err error) {
	if ctx.Err() != nil {
		return
	}
	if text := err.Error(); text != l.failure {
		l.Logger.Error("the kernel does not agree yet, trying again:\n" + text)
		l.failure = text
	}
	l.lookAt = now.Add(l.retry)
	l.retry = min(2*l.retry, lastRetry)
}
