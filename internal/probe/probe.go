// Package probe asks one target through one uplink whether it answers: by ICMP echo, TCP, DNS, HTTP,
// HTTPS, or the uplink's gateway by neighbour discovery.
//
// The errors of a probe are reasons, in words that can be shown to an administrator as they are.
package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ftr/internal/config"
)

// Prober asks targets by all methods. Any number of goroutines may use it. It works in the network
// namespace of the threads that call Probe.
type Prober struct {
	echoes *icmp
	roots  *x509.CertPool // nil: the system's
	mark   atomic.Uint32

	life    context.Context // ends with Close
	end     context.CancelFunc
	mu      sync.Mutex // orders the beginning of probes and Close
	running sync.WaitGroup
}

// line is what a probe is bound to.
type line struct {
	device string
	source netip.Addr
	mark   uint32 // of its packets; 0: none
}

// SetMark gives the packets of probes from now on a mark (socket(7), SO_MARK), by which rules of the host may
// know them. 0 is none; any other needs CAP_NET_ADMIN.
func (p *Prober) SetMark(mark uint32) { p.mark.Store(mark) }

// New returns a prober that holds nothing yet. Close ends it.
func New() *Prober {
	p := &Prober{echoes: newICMP()}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// errClosed is what probes end with at Close.
var errClosed = fmt.Errorf("probe: %w", net.ErrClosed)

// Probe asks the target once, from the address source out of the interface device, and waits for the
// answer until ctx is done. The line's own rule and table lead the probe to its gateway; the socket is
// bound to the device too, so that the probe never leaves through another line.
//
// It returns how long the answer took, which differs with the method: a round trip (ICMP, and TCP, to
// the end of the handshake), with the server's time (DNS), two round trips and more (HTTP: connection,
// request), three and more (HTTPS), or the time until the kernel has confirmed the neighbour (Gateway).
//
// Errors: the time is over ("no answer within 300ms", context.DeadlineExceeded), somebody refuses
// ("host unreachable by 192.0.2.1"), the answer is not the expected one ("status 503, expected 204"),
// the kernel cannot send ("network is unreachable", "no such device eth1"), or the prober is closed
// (net.ErrClosed). All methods but Gateway need CAP_NET_RAW at most, Gateway needs CAP_NET_ADMIN.
//
// Proven says that the line has just answered all probes, the target its latest too. An ICMP echo then tells
// the kernel so (MSG_CONFIRM, arp(7)), which takes the gateway for reachable and need not ask it by itself, and
// whether the interface and the address are still the same is not looked up.
func (p *Prober) Probe(ctx context.Context, device string, source netip.Addr, target config.Target, proven bool) (time.Duration, error) {
	l := line{device, source.Unmap(), p.mark.Load()}
	target.Address = target.Address.Unmap()
	switch {
	case device == "":
		return 0, errors.New("no device to probe through")
	case target.Method == config.Gateway && !target.Address.IsValid():
		return 0, errors.New("no gateway is known that could be asked")
	case !source.IsValid() || l.source.Is4() != target.Address.Is4() || !target.Address.IsValid():
		return 0, fmt.Errorf("source %v and target %v are not of one address family", source, target.Address)
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	began := time.Now()
	rtt, err := p.ask(ctx, l, target, proven)
	switch {
	case err == nil:
		return rtt, nil
	case timedOut(err):
		<-ctx.Done() // a deadline of a socket can be a moment early
		return 0, explainEnd(ctx, began, err)
	default:
		return 0, err
	}
}

// enter makes a probe end with the prober, and Close wait for it.
func (p *Prober) enter(ctx context.Context) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return nil, nil, errClosed
	}
	p.running.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.life, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		p.running.Done()
	}, nil
}

// ask asks by the target's method. Where ctx ends the probe, the error is one that timedOut knows.
func (p *Prober) ask(ctx context.Context, l line, target config.Target, proven bool) (time.Duration, error) {
	began := time.Now()
	var err error
	switch target.Method {
	case config.ICMP:
		return p.echoes.ask(ctx, l, target.Address, proven)
	case config.TCP:
		err = askTCP(ctx, l, target)
	case config.DNS:
		err = askDNS(ctx, l, target)
	case config.HTTP, config.HTTPS:
		err = askHTTP(ctx, l, target, p.roots)
	case config.Gateway:
		return askGateway(ctx, l.device, target.Address)
	default:
		return 0, fmt.Errorf("unknown method of probing %d", target.Method)
	}
	return time.Since(began), err
}

// Close ends all probes with net.ErrClosed, waits for them and closes all sockets.
func (p *Prober) Close() error {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	p.running.Wait()
	return p.echoes.Close()
}
