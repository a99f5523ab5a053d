package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Condition is what happens to probes on their way to a target and back.
type Condition struct {
	Silent bool          // nothing ever comes back
	Loss   float64       // share of probes without an answer, 0 to 1
	RTT    time.Duration // the shortest round-trip time
	Jitter time.Duration // what may be added to it, evenly distributed
}

// Network is the internet behind the lines of a Kernel. It may be used concurrently. With one seed and
// one order of probes on a way (a device and a target), their fates are always the same, whatever
// happens on other ways at the same time.
type Network struct {
	kernel *Kernel
	seed   uint64

	mu      sync.Mutex
	lines   map[lane]Condition
	targets map[way]Condition
	dice    map[way]*rand.Rand
}

// way is how a probe goes.
type way struct {
	device string
	target netip.Addr
}

// NewNetwork returns a network in which every line works at once and without loss.
func NewNetwork(k *Kernel, seed uint64) *Network {
	return &Network{
		kernel: k, seed: seed,
		lines: map[lane]Condition{}, targets: map[way]Condition{}, dice: map[way]*rand.Rand{},
	}
}

// Set gives a line a condition towards all targets, except those with one of their own.
func (n *Network) Set(device string, c Condition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines[lane{device, config.IPv4}], n.lines[lane{device, config.IPv6}] = c, c
}

// Line returns the condition of a line.
func (n *Network) Line(device string) Condition {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lines[lane{device, config.IPv4}]
}

// SetTarget gives a line a condition towards one target.
func (n *Network) SetTarget(device string, target netip.Addr, c Condition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets[way{device, target}] = c
}

// Probe asks a target as probe.ICMP does: it waits for the round-trip time, or until ctx ends if no
// answer comes. What the link of the Kernel cannot send fails at once, as on a real socket.
func (n *Network) Probe(ctx context.Context, device string, source netip.Addr, target config.Target, _ bool) (time.Duration, error) {
	answered, err := n.kernel.send(device, source)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	rtt, back := n.fate(way{device, target.Address})
	if !back || !answered {
		<-ctx.Done()
		return 0, silence(ctx, began)
	}
	timer := time.NewTimer(rtt)
	defer timer.Stop()
	select {
	case <-timer.C:
		return rtt, nil
	case <-ctx.Done():
		return 0, silence(ctx, began)
	}
}

// fate throws the dice for one probe: always two, so that the next ones do not depend on conditions.
func (n *Network) fate(w way) (rtt time.Duration, back bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, special := n.targets[w]
	if !special {
		c = n.lines[lane{w.device, config.FamilyOf(w.target)}]
	}
	dice, ok := n.dice[w]
	if !ok {
		hash := fnv.New64a()
		_, _ = hash.Write(binary.BigEndian.AppendUint64([]byte(w.device+"|"+w.target.String()+"|"), n.seed))
		dice = rand.New(rand.NewPCG(n.seed, hash.Sum64()))
		n.dice[w] = dice
	}
	lost := dice.Float64() < c.Loss
	rtt = c.RTT + time.Duration(dice.Float64()*float64(c.Jitter))
	return rtt, !lost && !c.Silent
}

// send tells whether a packet leaves through the device; without carrier it is lost on the way.
func (k *Kernel) send(device string, source netip.Addr) (leaves bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.find(device)
	if err != nil {
		return false, err
	}
	switch {
	case !slices.ContainsFunc(l.addresses, func(a routing.Address) bool { return a.Prefix.Addr() == source }):
		return false, fmt.Errorf("address %s: %w", source, syscall.EADDRNOTAVAIL)
	case !l.up:
		return false, syscall.ENETDOWN
	}
	return l.carrier, nil
}

// noAnswer is an error in words for people, with its cause for errors.Is.
type noAnswer struct {
	after time.Duration
	cause error
}

func (e *noAnswer) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (e *noAnswer) Unwrap() error { return e.cause }

// silence says why waiting ended.
func silence(ctx context.Context, began time.Time) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &noAnswer{time.Since(began).Round(time.Millisecond), ctx.Err()}
	}
	return ctx.Err()
}
