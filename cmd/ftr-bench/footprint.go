package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ftr/internal/lab"
)

// month is what probe traffic is reckoned for.
const month = 30 * 24 * time.Hour

// counters are what went over an interface, both ways.
type counters struct{ bytes, packets float64 }

// The sizes of Ethernet (IEEE 802.3), in bytes.
const (
	leastFrame    = 64 // with its check sequence of 4
	checkSequence = 4
	frameHeader   = 14 // the addresses and the type
)

// footprintPhase measures two idle routers side by side: default and metered lines.
func footprintPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	span := 2 * time.Minute
	if b.quick {
		span = 20 * time.Second
	}
	kinds := []func(lab.Plan, string) string{defaults, metered}
	if !b.own() {
		kinds = kinds[:1]
	}
	var beds []*bed
	defer func() {
		for _, d := range beds {
			err = errJoin(err, d.close)
		}
	}()
	for k, config := range kinds {
		d, err := b.newBed(ctx, 3, fmt.Sprintf("idle%d-", k), config)
		if err != nil {
			return nil, err
		}
		beds = append(beds, d)
		if err := d.fresh(ctx); err != nil {
			return nil, err
		}
	}
	if err := pause(ctx, 2*settle); err != nil { // the first look at everything is over
		return nil, err
	}
	costs, err := costsOf(ctx, beds, span)
	if err != nil {
		return nil, err
	}
	return footprintFigures(costs, span), nil
}

// cost is what one program took over a span.
type cost struct {
	share   float64 // of a core, percent
	process process // at the end
	lines   []counters
	ip      float64 // bytes of IP packets over all interfaces, both ways
}

// costsOf measures all beds over the same span.
func costsOf(ctx context.Context, beds []*bed, span time.Duration) ([]cost, error) {
	read := func() ([]cost, error) {
		list := make([]cost, len(beds))
		for k, d := range beds {
			var err error
			if list[k].process, err = statusOf(d.program); err != nil {
				return nil, err
			}
			if list[k].lines, list[k].ip, err = d.counters(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	before, err := read()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, span); err != nil {
		return nil, err
	}
	after, err := read()
	if err != nil {
		return nil, err
	}
	for k := range after {
		after[k].share = 100 * float64(after[k].process.cpu-before[k].process.cpu) / float64(span)
		after[k].ip -= before[k].ip
		for i := range after[k].lines {
			after[k].lines[i].bytes -= before[k].lines[i].bytes
			after[k].lines[i].packets -= before[k].lines[i].packets
		}
	}
	return after, nil
}

// counters reads those of the router's lines, and of its IP layer (where nothing else runs), for the family.
func (d *bed) counters() (list []counters, ip float64, err error) {
	if d.bench.family == ipv6 {
		return d.counters6()
	}
	var text, netstat []byte
	err = d.Router.Do(func() (err error) {
		if text, err = os.ReadFile("/proc/thread-self/net/dev"); err == nil {
			netstat, err = os.ReadFile("/proc/thread-self/net/netstat")
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the counters of the router: %w", err)
	}
	byName := parseCounters(string(text))
	list = make([]counters, len(d.Plan.Lines))
	for i, line := range d.Plan.Lines {
		list[i] = byName[line.Interface]
	}
	return list, octets(string(netstat)), nil
}

// counters6 reads those of IPv6 alone, since the lines carry the other family's probes too.
func (d *bed) counters6() (list []counters, ip float64, err error) {
	for _, line := range d.Plan.Lines {
		var text []byte
		err = d.Router.Do(func() (err error) {
			text, err = os.ReadFile("/proc/thread-self/net/dev_snmp6/" + line.Interface)
			return err
		})
		if err != nil {
			return nil, 0, fmt.Errorf("read the counters of IPv6: %w", err)
		}
		c := parseSNMP6(string(text))
		ip += c.bytes
		list = append(list, counters{c.bytes + frameHeader*c.packets, c.packets})
	}
	return list, ip, nil
}

// parseSNMP6 reads /proc/net/dev_snmp6: bytes of IP and packets, both ways.
func parseSNMP6(text string) (c counters) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		v, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "Ip6InOctets", "Ip6OutOctets":
			c.bytes += v
		case "Ip6InReceives", "Ip6OutRequests":
			c.packets += v
		}
	}
	return c
}

// octets reads InOctets and OutOctets of /proc/net/netstat: pairs of lines, names and values.
func octets(text string) (sum float64) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(names) != len(fields) || names[0] != fields[0] {
			names = fields
			continue
		}
		for i, name := range names {
			if names[0] == "IpExt:" && (name == "InOctets" || name == "OutOctets") {
				v, _ := strconv.ParseFloat(fields[i], 64)
				sum += v
			}
		}
		names = nil
	}
	return sum
}

// parseCounters reads /proc/net/dev: bytes and packets of both ways.
func parseCounters(text string) map[string]counters {
	list := map[string]counters{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 10 {
			continue
		}
		at := func(k int) float64 {
			v, _ := strconv.ParseFloat(fields[k], 64)
			return v
		}
		list[strings.TrimSpace(name)] = counters{at(0) + at(8), at(1) + at(9)}
	}
	return list
}

// footprintFigures reckons a month from a span.
func footprintFigures(costs []cost, span time.Duration) []*Figure {
	monthly := float64(month) / float64(span) / 1e6
	seen := fmt.Sprintf("over %s", span)
	cpu := &Figure{What: "idle, 3 uplinks, defaults: share of a core", Unit: "%", Goal: worst(0.3), Samples: []float64{costs[0].share}, Note: seen}
	rss := &Figure{What: "idle, 3 uplinks, defaults: resident memory", Unit: "MB", Goal: worst(25), Samples: []float64{costs[0].process.rss}, Note: "peak " + number(costs[0].process.peak) + " MB"}
	wire := &Figure{What: "probe traffic of an idle line in 30 days, frames", Unit: "MB", Goal: worst(300)}
	padded := 0.0
	for _, c := range costs[0].lines {
		wire.Samples = append(wire.Samples, c.bytes*monthly)
		padded = max(padded, max(c.bytes+checkSequence*c.packets, leastFrame*c.packets)*monthly)
	}
	wire.Note = fmt.Sprintf("from the counters of the interfaces, %s; with Ethernet's padding to %d bytes %s MB", seen, leastFrame, number(padded))
	figures := []*Figure{cpu, rss, wire}
	if len(costs) < 2 {
		return figures
	}
	ip := &Figure{
		What: "probe traffic of an idle metered line in 30 days, IP packets", Unit: "MB", Goal: worst(60), Note: "from the counters of the IP layer, " + seen,
		Samples: []float64{costs[1].ip / float64(len(costs[1].lines)) * monthly},
	}
	return append(figures, ip, &Figure{What: "idle, 3 metered uplinks: share of a core", Unit: "%", Samples: []float64{costs[1].share}})
}
