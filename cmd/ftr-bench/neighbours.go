package main

import (
	"errors"
	"fmt"
	"net"

	"ftr/internal/lab"
)

// settleNeighbours tells all hosts but the router the hardware addresses of their neighbours. The
// kernel has one table of learned neighbours for all namespaces, with room for 1024 (gc_thresh3 in
// arp(7)): a lab of 250 lines has four times as many as its router would have alone, and loses packets.
func settleNeighbours(l *lab.Lab) error {
	for i, line := range l.Plan.Lines {
		wire := fmt.Sprintf("isp%d", line.Number)
		for _, n := range []struct {
			host   *lab.Host
			device string
			of     *lab.Host
			other  string
		}{
			{l.Providers[i], customerLink, l.Router, line.Interface},
			{l.Providers[i], "core", l.Internet, wire},
			{l.Internet, wire, l.Providers[i], "core"},
		} {
			addresses, hardware, err := addressesOf(n.of, n.other)
			for k := range addresses {
				err = errors.Join(err, n.host.Batch(fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", addresses[k], hardware, n.device)))
			}
			if err != nil {
				return fmt.Errorf("line %d: set a neighbour: %w", line.Number, err)
			}
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
