package routing_test

import (
	"slices"
	"strings"
	"testing"

	"ftr/internal/config"
	"ftr/internal/routing"
)

func TestNeighbourRoom(t *testing.T) {
	cfg := func(lines, with6 int) *config.Config {
		c := &config.Config{Uplinks: make([]config.Uplink, lines)}
		for i := range with6 {
			c.Uplinks[i].Inet6.On = true
		}
		return c
	}
	for _, c := range []struct {
		name         string
		lines, with6 int
		family       config.Family
		limit        uint32
		want         string // in the warning; empty: none
	}{
		{"three lines", 3, 3, config.IPv6, 1024, ""},
		{"250 lines", 250, 0, config.IPv4, 1024, ""},
		{"250 lines of which none has IPv6", 250, 0, config.IPv6, 8, ""},
		{"128 lines with IPv6", 250, 128, config.IPv6, 1024, ""},
		{"129 lines with IPv6", 250, 129, config.IPv6, 1024, "net.ipv6.neigh.default.gc_thresh3: the kernel's IPv6 neighbour table holds 1024 hosts, of which the lines may take 258: "},
		{"a small table", 5, 0, config.IPv4, 16, "net.ipv4.neigh.default.gc_thresh3: the kernel's ARP table holds 16 hosts, of which the lines may take 5: "},
		{"raised", 250, 250, config.IPv6, 4096, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ws := routing.NeighbourRoom(cfg(c.lines, c.with6), c.family, c.limit)
			if c.want == "" && len(ws) > 0 || c.want != "" && !slices.ContainsFunc(ws, func(w routing.Warning) bool { return !w.Error && strings.HasPrefix(w.String(), c.want) }) {
				t.Errorf("got %v, want %q", ws, c.want)
			}
		})
	}
}
