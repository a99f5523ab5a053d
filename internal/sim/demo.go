package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Demo returns a host for a configuration: each uplink has its interface, its addresses, and its own
// round-trip time, all work, and chaos is ready to break them. The same seed gives the same.
func Demo(cfg *config.Config, seed uint64) (*Kernel, *Network, *Chaos, error) {
	k := New()
	n := NewNetwork(k, seed)
	c := &Chaos{kernel: k, network: n, dice: rand.New(rand.NewPCG(seed, 2))}
	var errs []error
	for _, u := range cfg.Uplinks {
		l, err := plug(k, u)
		if err != nil {
			errs = append(errs, fmt.Errorf("simulate uplink %s: %w", u.Name, err))
			continue
		}
		l.normal = Condition{
			Loss:   0.002,
			RTT:    time.Duration(8+c.dice.IntN(40)) * time.Millisecond,
			Jitter: time.Duration(1+c.dice.IntN(8)) * time.Millisecond,
		}
		n.Set(u.Interface, l.normal)
		c.lines = append(c.lines, l)
	}
	inside := map[string]bool{} // a LAN interface may be named twice, or be a DMZ as well
	for i, name := range append(append([]string{}, cfg.LAN...), cfg.DMZ...) {
		if inside[name] {
			continue
		}
		inside[name] = true
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 1}), 24)
		errs = append(errs, k.AddLink(name, false), k.SetUp(name, true), k.AddAddress(name, routing.Address{Prefix: prefix}))
	}
	return k, n, c, errors.Join(errs...)
}

// plug makes the interface of an uplink.
func plug(k *Kernel, u config.Uplink) (*line, error) {
	l := &line{uplink: u, address: address(u, 0)}
	err := errors.Join(
		k.AddLink(u.Interface, u.Type == config.PPP),
		k.SetUp(u.Interface, true),
		k.AddAddress(u.Interface, l.address),
	)
	if err == nil && u.Type != config.PPP {
		err = announce(k, l)
	}
	if err == nil {
		err = plug6(k, u)
	}
	return l, err
}

// announce makes the router of a line known as a DHCP client does, by a lease and by a default route
// in main. A static line whose configuration leaves the gateway out needs the same.
func announce(k *Kernel, l *line) error {
	if l.uplink.Gateway.IsValid() {
		return nil
	}
	router := l.address.Prefix.Masked().Addr().Next()
	k.SetLease(l.uplink.Interface, router)
	return k.Play(routing.Step{Op: routing.Replace, Route: &routing.Route{
		Family: config.IPv4, Table: mainTable, Type: routing.Unicast, Destination: netip.MustParsePrefix("0.0.0.0/0"),
		Metric: 100 + uint32(l.uplink.Index), Protocol: protocolDHCP,
		NextHops: []routing.NextHop{{Interface: l.uplink.Interface, Gateway: router, Weight: 1}},
	}})
}

// address is the one that a line has after so many others: the configured one, or one from 100.64.0.0/10
// (RFC 6598), where each uplink has a network of its own.
func address(u config.Uplink, before int) routing.Address {
	own := netip.AddrFrom4([4]byte{100, byte(64 + u.Index/250), byte(u.Index % 250), byte(2 + before%250)})
	if u.Address.IsValid() {
		own = u.Address
	}
	if u.Type == config.PPP {
		return routing.Address{
			Prefix: netip.PrefixFrom(own, 32),
			Peer:   netip.AddrFrom4([4]byte{100, byte(96 + u.Index/250), byte(u.Index % 250), 1}),
		}
	}
	return routing.Address{Prefix: netip.PrefixFrom(own, 24)}
}
