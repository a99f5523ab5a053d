// Package lab builds whole networks of namespaces on one machine: an internet, providers with their
// own bandwidth, a router with a line to each of them, a LAN and a DMZ. In the router runs the real
// program. `ftr lab` plays a scenario in it; the end-to-end tests and benchmarks stand on it.
//
//	            ┌─ isp1 ─ wan1 ┐        ┌ lan0 ── client
//	internet ───┼─ isp2 ─ wan2 ┼ router ┤
//	            └─ isp3 ─ wan3 ┘        └ dmz0 ── server
//
// Everything lives in the private namespaces of netns.Private: nothing of the host is touched, and
// the kernel removes all of it when the process ends, however it ends.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// Kind says how a line gets its address.
type Kind uint8

// The kinds of lines.
const (
	// Static: the router has a fixed address and gateway.
	Static Kind = iota
	// DHCP: a real DHCP server at the provider, a real client on the router.
	DHCP
	// PPP: a point-to-point interface that is there only while connected (see Lab.Connect).
	PPP
	// Tunnel: the router itself carries it over its other lines, as WireGuard does (see Lab.OpenTunnel).
	Tunnel
)

// String returns the word of the configuration file; a tunnel has a key of its own.
func (k Kind) String() string { return [...]string{"static", "dhcp", "ppp", "static"}[k] }

// Line describes one provider and the line to it.
type Line struct {
	Rate   Rate // both directions; 0: not limited
	Weight int  // weight in the configuration; 0: left out
	Group  int  // priority_group; 0: 1; negative: left out
	Kind   Kind
	// SharedGateway lines all have the same gateway address, as with one provider on two lines.
	SharedGateway bool
	// Twin lines are behind modems that are alike and translate: the same address and gateway on each.
	Twin  bool
	Inet6 Inet6 // not for lines of kind PPP
}

// Options says what to build. The zero value of a field is its default.
type Options struct {
	// Name precedes the names of the namespaces. Needed where one process holds several labs.
	Name  string
	Lines []Line // at least 1, at most 250
	// Command is the program under test with its leading arguments; example ["/usr/bin/ftr"].
	Command []string
	Config  ConfigOptions
	// Seed makes the spread of connections repeatable where the kernel allows it
	// (net.ipv4.fib_multipath_hash_seed, Linux 6.11); 0: random.
	Seed uint32
}

// Lab is one standing network. Its methods may be called from several goroutines.
type Lab struct {
	Internet, Router, Client, Server *Host
	Providers                        []*Host
	Plan                             Plan
	Dir                              string // configuration, log and state of the daemon; gone with the namespaces

	options Options
	log     *Log
	servers servers

	mu     sync.Mutex
	state  []lineState
	daemon *daemon
	closed bool
	ppp    []*pppLink
	vpns   []*VPN
	dhcp   []dhcpLine
}

// New builds the network and starts its servers; the router only has its interfaces and addresses.
// It works only inside netns.Private. The caller closes it.
func New(ctx context.Context, options Options) (*Lab, error) {
	plan, err := NewPlan(options.Lines)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/run", "lab-")
	if err != nil {
		return nil, fmt.Errorf("make directory of the lab: %w", err)
	}
	l := &Lab{
		Plan: plan, Dir: dir, options: options, log: newLog(time.Now),
		state: make([]lineState, len(plan.Lines)), ppp: make([]*pppLink, len(plan.Lines)), dhcp: make([]dhcpLine, len(plan.Lines)),
	}
	for i, line := range plan.Lines {
		l.state[i].rate = line.Rate
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// build makes hosts, wires and servers, in the order in which they need each other.
func (l *Lab) build(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"make hosts", func(context.Context) error { return l.makeHosts() }},
		{"wire the inside", func(context.Context) error { return l.wireInside() }},
		{"wire the providers", l.wireProviders},
		{"wire IPv6", l.connectInet6},
		{"start servers", l.startServers},
		{"connect lines", l.connectLines},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// connectLines brings up the lines that need a dialogue with their provider.
func (l *Lab) connectLines(ctx context.Context) error {
	for i, line := range l.Plan.Lines {
		switch line.Kind {
		case DHCP:
			if err := l.startDHCP(ctx, i); err != nil {
				return fmt.Errorf("line %d: %w", i+1, err)
			}
		case PPP:
			if err := l.Connect(i, line.Address, line.Gateway); err != nil {
				return fmt.Errorf("line %d: %w", i+1, err)
			}
		case Tunnel:
			if _, err := l.OpenTunnel(line.Interface, netip.PrefixFrom(line.Address, line.bits), line.Gateway); err != nil {
				return fmt.Errorf("line %d: %w", i+1, err)
			}
		case Static:
		}
	}
	return nil
}

// Hosts returns all hosts, by the names that people use for them.
func (l *Lab) Hosts() map[string]*Host {
	hosts := map[string]*Host{"internet": l.Internet, "router": l.Router, "client": l.Client, "server": l.Server}
	for i, p := range l.Providers {
		hosts[fmt.Sprintf("isp%d", i+1)] = p
	}
	return hosts
}

// Close stops the daemon and all servers and removes the namespaces. Closing twice is allowed.
func (l *Lab) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	errs := []error{l.KillDaemon()}
	for i := range l.Plan.Lines {
		l.stopDHCP(i)
		errs = append(errs, l.hangUp(i))
	}
	for _, v := range l.vpns {
		v.close()
	}
	errs = append(errs, l.servers.close())
	for _, h := range slices.Concat([]*Host{l.Internet, l.Router, l.Client, l.Server}, l.Providers) {
		if h != nil {
			errs = append(errs, h.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(l.Dir))...)
}

// Log returns what the daemon said and what was done to the network, in the order of time.
func (l *Lab) Log() *Log { return l.log }

// stopProcess ends a process that this lab started and waits for it.
func stopProcess(cmd *exec.Cmd) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
