package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ftr/internal/lab"
)

// Limits that no program that works comes near.
const (
	startLimit = 60 * time.Second // until all lines are in use
	// settle is how long a program that was started may look at its lines before one breaks.
	settle = 2 * time.Second
)

// bed is a lab with the program under test.
type bed struct {
	*lab.Lab
	bench   *bench
	watch   *watch
	echo    *echo
	program *program
	relays  []*relay
}

// newBed builds a lab of n lines; config makes the configuration file, in our form.
func (b *bench) newBed(ctx context.Context, n int, name string, config func(lab.Plan, string) string) (_ *bed, err error) {
	l, err := lab.New(ctx, lab.Options{Name: name, Lines: slices.Repeat([]lab.Line{b.family.line()}, n), Command: []string{b.program}})
	if err != nil {
		return nil, err
	}
	d := &bed{Lab: l, bench: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := l.WriteConfig(config(l.Plan, l.Dir)); err != nil {
		return nil, err
	}
	if d.watch, err = newWatch(l.Router, l.Plan, b.family); err != nil {
		return nil, err
	}
	if err := b.prepareRouter(ctx, l); err != nil {
		return nil, err
	}
	d.echo, err = startEcho(ctx, l, b.family)
	return d, err
}

// delay makes the round trip of each line longer.
func (d *bed) delay(rtt time.Duration) error {
	if rtt == 0 {
		return nil
	}
	for i := range d.Plan.Lines {
		r, err := startRelay(d.Lab, d.bench.family, i, rtt/2)
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		d.relays = append(d.relays, r)
	}
	return nil
}

// fresh starts the program as if it had never run: what it remembers of earlier failures would change
// what it does.
func (d *bed) fresh(ctx context.Context) error {
	d.kill()
	for _, dir := range []string{"state", "runtime"} {
		path := filepath.Join(d.Dir, dir)
		if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o755)); err != nil {
			return err
		}
	}
	if err := d.start(); err != nil {
		return err
	}
	if err := d.program.waitReady(ctx, d.bench); err != nil {
		return err
	}
	return d.inUse(ctx, startLimit)
}

// start runs the program.
func (d *bed) start() (err error) {
	d.program, err = d.bench.launch(d.Lab)
	return err
}

func (d *bed) kill() {
	if d.program != nil {
		d.program.kill()
	}
}

// inUse waits until new connections use all lines, and learns which table they take.
func (d *bed) inUse(ctx context.Context, limit time.Duration) error {
	e := d.watch.expect(func(s *state) bool { return s.balanced() != 0 })
	_, ok, err := e.wait(ctx, limit)
	if err != nil {
		return err
	}
	if !ok {
		return errors.Join(d.program.ended(),
			fmt.Errorf("not all lines were in use within %s; the program said:\n%s", limit, d.program.tail.last()))
	}
	return d.watch.look(func(s *state) { s.table = s.balanced() })
}

// close ends everything.
func (d *bed) close() error {
	d.kill()
	if d.watch != nil {
		d.watch.close()
	}
	if d.echo != nil {
		d.echo.close()
	}
	var errs []error
	for _, r := range d.relays {
		errs = append(errs, r.close())
	}
	return errors.Join(append(errs, d.Close())...)
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
