package main

import (
	"errors"
	"fmt"
	"net"

	"ftr/internal/config"
	"ftr/internal/kernel"
	"ftr/internal/lab"
)

// settleNeighbours tells all hosts the hardware addresses of their neighbours at the lines' wires. The
// kernel has one table of learned neighbours for all namespaces of a machine, with room for 1024 (gc_thresh3
// in arp(7)): a lab of 250 lines has four times as many as its router would have alone, and who asks for
// one over IPv6 needs another entry for the multicast address that it asks.
func settleNeighbours(l *lab.Lab) error {
	commands := map[*lab.Host][]string{}
	for i, line := range l.Plan.Lines {
		wire := fmt.Sprintf("isp%d", line.Number)
		for _, n := range []struct {
			host   *lab.Host
			device string
			of     *lab.Host
			other  string
		}{
			{l.Providers[i], customerLink, l.Router, line.Interface},
			{l.Router, line.Interface, l.Providers[i], customerLink},
			{l.Providers[i], "core", l.Internet, wire},
			{l.Internet, wire, l.Providers[i], "core"},
		} {
			addresses, hardware, err := addressesOf(n.of, n.other)
			if err != nil {
				return fmt.Errorf("line %d: look for neighbours: %w", line.Number, err)
			}
			for _, a := range addresses {
				commands[n.host] = append(commands[n.host], fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", a, hardware, n.device))
			}
		}
	}
	for host, lines := range commands {
		if err := host.Batch(lines...); err != nil {
			return fmt.Errorf("set neighbours: %w", err)
		}
	}
	return nil
}

// addressesOf returns the addresses of an interface, of both families, and its hardware address.
func addressesOf(host *lab.Host, name string) (addresses []net.IP, hardware net.HardwareAddr, err error) {
	err = host.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		list, err := link.Addrs()
		if err != nil {
			return err
		}
		hardware = link.HardwareAddr
		for _, a := range list {
			if n, ok := a.(*net.IPNet); ok {
				addresses = append(addresses, n.IP)
			}
		}
		if len(addresses) == 0 {
			return errors.New(name + " has no address")
		}
		return nil
	})
	return addresses, hardware, err
}

// overflows is how often the kernel had no room for another neighbour since the start of the machine, of both
// families: what it happens to during a measurement is no fault of the program.
func overflows(l *lab.Lab) (count uint64, err error) {
	k, err := kernel.Open(kernel.Options{NetNS: l.Router.FD()})
	if err != nil {
		return 0, err
	}
	defer k.Close()
	for _, f := range []config.Family{config.IPv4, config.IPv6} {
		t, err := k.NeighbourTable(f)
		if err != nil {
			return 0, err
		}
		count += t.Full
	}
	return count, nil
}
