package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Download is a running or ended download from the internet host to the client.
type Download struct {
	Line  int // that carries it, from 0
	bytes atomic.Int64
	done  chan struct{}
	stop  context.CancelFunc

	mu   sync.Mutex
	err  error
	last time.Time     // of the latest bytes
	gap  time.Duration // the longest time without any
}

// openTimeout is how long a connection or download may take to begin: on a full line, the first packets may
// be lost several times, and TCP waits for 1, 2 and 4 seconds in between.
const openTimeout = 20 * time.Second

// StartDownload opens a download of n bytes (0: without end) at no more than rate bytes a second (0:
// as fast as the line carries). It returns when the first bytes are there, so the line is known. The
// download runs until it is complete, stopped, or the context ends.
func (l *Lab) StartDownload(ctx context.Context, server netip.Addr, n, rate int64) (*Download, error) {
	ctx, stop := context.WithCancel(ctx)
	timer := time.AfterFunc(openTimeout, stop)
	response, err := l.Client.Get(ctx, netip.AddrPortFrom(server, WebPort), fmt.Sprintf("/bytes?n=%d&rate=%d", n, rate))
	if !timer.Stop() {
		if err == nil {
			response.Body.Close()
		}
		err = fmt.Errorf("no answer within %s", openTimeout)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("download from %s: %w", server, err)
	}
	line, err := lineOf(response)
	if err != nil {
		stop()
		return nil, errors.Join(err, response.Body.Close())
	}
	d := &Download{Line: line, done: make(chan struct{}), stop: stop, last: time.Now()}
	go d.run(response, n)
	return d, nil
}

// lineOf reads which line carried an answer.
func lineOf(response *http.Response) (int, error) {
	header := response.Header.Get(LineHeader)
	n, err := strconv.Atoi(header)
	if err != nil {
		return 0, fmt.Errorf("the answer came over no line: %s: %q", LineHeader, header)
	}
	return n - 1, nil
}

// run reads until the end.
func (d *Download) run(response *http.Response, n int64) {
	defer close(d.done)
	defer d.stop()
	defer response.Body.Close()
	buffer := make([]byte, 16<<10)
	for {
		k, err := response.Body.Read(buffer)
		if k > 0 {
			d.arrived(int64(k))
		}
		if err != nil {
			d.mu.Lock()
			if n == 0 || d.bytes.Load() < n {
				d.err = err
			}
			d.mu.Unlock()
			return
		}
	}
}

// arrived counts bytes and the gap before them.
func (d *Download) arrived(n int64) {
	d.bytes.Add(n)
	now := time.Now()
	d.mu.Lock()
	d.gap, d.last = max(d.gap, now.Sub(d.last)), now
	d.mu.Unlock()
}

// Bytes returns the payload received so far.
func (d *Download) Bytes() int64 { return d.bytes.Load() }

// Wait waits for the end and tells why it came; nil: the download is complete.
func (d *Download) Wait() error {
	<-d.done
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Stop ends the download and waits for it.
func (d *Download) Stop() {
	d.stop()
	<-d.done
}

// Alive tells whether it still runs, stalled or not.
func (d *Download) Alive() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Gap returns the longest time without a byte since the last call of ResetGap, up to now.
func (d *Download) Gap() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.gap, time.Since(d.last))
}

// ResetGap forgets the gaps so far.
func (d *Download) ResetGap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gap, d.last = 0, time.Now()
}

// Speed measures downloads over a time: Mbit/s of payload, of each.
func Speed(ctx context.Context, downloads []*Download, over time.Duration) ([]float64, error) {
	before := make([]int64, len(downloads))
	start := time.Now()
	for i, d := range downloads {
		before[i] = d.Bytes()
	}
	if err := pause(ctx, over); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	speeds := make([]float64, len(downloads))
	for i, d := range downloads {
		speeds[i] = float64(d.Bytes()-before[i]) * 8 / 1e6 / seconds
	}
	return speeds, nil
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
