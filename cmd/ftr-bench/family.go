package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"ftr/internal/lab"
)

// family is the IP version that is measured. Lines of a lab for IPv6 have both, as real ones do: their
// IPv4 stays well when their IPv6 breaks, and nothing of it is measured.
type family uint8

// The families.
const (
	ipv4 family = 4
	ipv6 family = 6
)

// String returns "IPv4" or "IPv6".
func (f family) String() string { return fmt.Sprintf("IPv%d", uint8(f)) }

// line is one of the lab.
func (f family) line() lab.Line {
	if f == ipv6 {
		return lab.Line{Inet6: lab.FixedIPv6}
	}
	return lab.Line{}
}

// datagrams is the network of UDP, for package net.
func (f family) datagrams() string { return fmt.Sprintf("udp%d", uint8(f)) }

// targets are the addresses that the program asks.
func (f family) targets(p lab.Plan) []netip.Addr {
	if f == ipv6 {
		return p.Targets6
	}
	return p.Targets
}

// servers are the addresses of the internet host's servers.
func (f family) servers(p lab.Plan) []netip.Addr {
	if f == ipv6 {
		return p.Servers6
	}
	return p.Servers
}

// customer is the network of a line.
func (f family) customer(l lab.PlanLine) netip.Prefix {
	if f == ipv6 {
		return l.Customer6
	}
	return l.Customer
}

// everywhere is the destination of a default route, for ip(8).
func (f family) everywhere() string {
	if f == ipv6 {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// table is the family's word of nft(8).
func (f family) table() string {
	if f == ipv6 {
		return "ip6"
	}
	return "ip"
}

// forwarding is the sysctl that makes a host a router.
func (f family) forwarding() string {
	if f == ipv6 {
		return "net/ipv6/conf/all/forwarding"
	}
	return "net/ipv4/ip_forward"
}

// sysctls are some of those that routing depends on, with wrong values.
func (f family) sysctls() map[string]string {
	if f == ipv6 {
		return map[string]string{
			f.forwarding(): "0", "net/ipv6/fib_multipath_hash_policy": "0", "net/ipv6/conf/wan1/ignore_routes_with_linkdown": "0",
		}
	}
	return map[string]string{f.forwarding(): "0", "net/ipv4/fib_multipath_hash_policy": "0", "net/ipv4/conf/wan1/rp_filter": "1"}
}

// number is that of the kernel (AF_INET, AF_INET6).
func (f family) number() uint8 {
	if f == ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// groups are the rtnetlink(7) groups that tell of routes and rules.
func (f family) groups() uint32 {
	const link = 1 << (unix.RTNLGRP_LINK - 1)
	if f == ipv6 {
		return link | 1<<(unix.RTNLGRP_IPV6_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)
	}
	return link | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV4_RULE-1)
}

// whole returns the message of a route as one that deletes all of it. With its next hops in it the kernel would
// delete those of an IPv6 route one by one, and tell of each (ip6_route_multipath_del in net/ipv6/route.c).
func (f family) whole(route string) string {
	if f == ipv4 {
		return route
	}
	short := []byte(route[:unix.SizeofRtMsg])
	for rest := route[unix.SizeofRtMsg:]; len(rest) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16([]byte(rest)))
		if n < unix.SizeofRtAttr || n > len(rest) {
			break
		}
		part := rest[:min((n+3)&^3, len(rest))]
		if binary.NativeEndian.Uint16([]byte(rest[2:])) != unix.RTA_MULTIPATH {
			short = append(short, part...)
		}
		rest = rest[len(part):]
	}
	return string(short)
}
