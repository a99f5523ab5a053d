package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ftr/internal/lab"
)

// defaults returns the shortest configuration of a router: everything that can be left out is.
func defaults(p lab.Plan, dir string) string { return withDefaults(p, dir, "", "") }

// metered is the same, of lines whose bytes cost.
func metered(p lab.Plan, dir string) string {
	return withDefaults(p, dir, "    metered: true\n", "")
}

// withoutHold is the same, of lines that are used again as soon as they are well, however often they
// broke.
func withoutHold(p lab.Plan, dir string) string {
	return withDefaults(p, dir, "", "  hold_down: 0s\n  max_hold_down: 0s\n")
}

// original is a file of the original program, with its interval of a minute.
func original(p lab.Plan, dir string) string {
	return lab.ConfigText(p, dir, lab.ConfigOptions{Interval: time.Minute})
}

func withDefaults(p lab.Plan, dir, uplink, tests string) string {
	var b strings.Builder
	b.WriteString("uplinks:\n")
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "  - interface: %s\n    type: static\n    ip: %s\n    gateway: %s\n    priority_group: 1\n%s", l.Interface, l.Address, l.Gateway, uplink)
		if l.Inet6 != lab.NoIPv6 {
			fmt.Fprintf(&b, "    ipv6: {ip: %q, gateway: %q}\n", l.Address6, lab.Gateway6)
		}
	}
	b.WriteString("downlinks:\n  lan: lan0\ntests:\n  ips:\n")
	for _, t := range slices.Concat(p.Targets, p.Targets6) {
		fmt.Fprintf(&b, "    - %q\n", t)
	}
	fmt.Fprintf(&b, "%slog:\n  file: %s/ftr.log\npaths:\n  state: %s/state\n  runtime: %s/runtime\n", tests, dir, dir, dir)
	return b.String()
}
