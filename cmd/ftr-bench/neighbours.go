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
			address, hardware, err := addressOf(n.of, n.other)
			if err == nil {
				err = n.host.Batch(fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", address, hardware, n.device))
			}
			if err != nil {
				return fmt.Errorf("line %d: set a neighbour: %w", line.Number, err)
			}
		}
	}
	return nil
}

// addressOf returns the first IPv4 address of an interface, and its hardware address.
func addressOf(host *lab.Host, name string) (address net.IP, hardware net.HardwareAddr, err error) {
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
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				address = n.IP
				return nil
			}
		}
		return errors.New(name + " has no IPv4 address")
	})
	return address, hardware, err
}
