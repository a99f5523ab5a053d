package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// How objects are deleted.
const (
	healLimit = 3 * time.Second
	healGrace = 100 * time.Millisecond // connections that begin in this time may fail
	// healRound is the least time from one deletion of an object to its next: a program may take
	// several in a short time for a fight with another program.
	healRound = 4 * time.Second
	healPause = 120 * time.Millisecond
)

// healed collects what a deletion did.
type healed struct {
	figure *Figure
	events []time.Time
}

// healPhase deletes each rule, route and table that the program made, and changes its sysctls.
func healPhase(ctx context.Context, b *bench) (_ []*Figure, err error) {
	d, err := b.newBed(ctx, 3, "", defaults)
	if err != nil {
		return nil, err
	}
	defer func() { err = errJoin(err, d.close) }()
	var before map[string]time.Time
	if err := d.watch.look(func(s *state) { before = maps.Clone(s.present) }); err != nil {
		return nil, err
	}
	if err := d.fresh(ctx); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	var objects []string
	if err := d.watch.look(func(s *state) { objects = made(s.present, before) }); err != nil {
		return nil, err
	}
	h := &healed{figure: &Figure{Unit: "ms", Goal: worst(100)}}
	load := startLoad(ctx, d.Lab, d.bench.family)
	err = h.rounds(ctx, d, objects, max(1, b.runs/4))
	sysctls, err2 := h.sysctls(ctx, d, max(1, b.runs/4))
	attempts := load.end()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	h.figure.What = fmt.Sprintf("each of %d rules, routes and tables deleted by hand → back", len(objects))
	return []*Figure{h.figure, sysctls, h.beyond(attempts)}, nil
}

// made returns what is there now and was not before, rules first.
func made(now, before map[string]time.Time) []string {
	return slices.SortedFunc(func(yield func(string) bool) {
		for object := range now {
			if _, there := before[object]; !there && !yield(object) {
				return
			}
		}
	}, func(a, b string) int { return strings.Compare(b, a) })
}

// rounds deletes all objects, several times.
func (h *healed) rounds(ctx context.Context, d *bed, objects []string, n int) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: d.Router.FD()})
	if err != nil {
		return err
	}
	defer conn.Close()
	for round := range n {
		start := time.Now()
		for _, object := range objects {
			if err := h.one(ctx, d, conn, object); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
		if err := pause(ctx, healRound-time.Since(start)); err != nil {
			return err
		}
	}
	return nil
}

// one deletes an object and measures from the kernel's word that it is gone to the one that it is back.
func (h *healed) one(ctx context.Context, d *bed, conn *netlink.Conn, object string) error {
	gone := d.watch.expect(func(s *state) bool { return !s.has(object) })
	start := time.Now()
	var back *expectation
	if err := remove(d, conn, object); err != nil {
		return fmt.Errorf("delete %s: %w", nameOf(object), err)
	}
	at, ok, err := gone.wait(ctx, healLimit)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("delete %s: the kernel did not tell", nameOf(object)))
	}
	back = d.watch.expect(func(s *state) bool { return s.has(object) })
	_, ok, err = back.wait(ctx, healLimit)
	if err != nil {
		return err
	}
	var came time.Time
	if err := d.watch.look(func(s *state) { came = s.present[object] }); err != nil {
		return err
	}
	h.events = append(h.events, start)
	h.figure.took(came.Sub(at), ok, healLimit)
	if !ok {
		h.figure.Note = note(h.figure.Note, nameOf(object)+" did not come back")
	}
	return pause(ctx, healPause)
}

// remove deletes an object as ip(8) or nft(8) would, with the message that told of it.
func remove(d *bed, conn *netlink.Conn, object string) error {
	kind := netlink.HeaderType(unix.RTM_DELRULE)
	data, isRule := strings.CutPrefix(object, "rule")
	if !isRule {
		kind = unix.RTM_DELROUTE
		var isRoute bool
		if data, isRoute = strings.CutPrefix(object, "route"); !isRoute {
			return d.Router.Run("nft", "delete", "table", familyOf(object), tableOf(object))
		}
		data = d.bench.family.whole(data)
	}
	_, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge}, Data: []byte(data),
	})
	return err
}

// familyOf and tableOf read the name of an nft table, as keep was given it.
func familyOf(object string) string {
	family, _, _ := strings.Cut(strings.TrimPrefix(object, "nft"), " ")
	return map[string]string{
		strconv.Itoa(unix.NFPROTO_INET): "inet", strconv.Itoa(unix.NFPROTO_IPV4): "ip", strconv.Itoa(unix.NFPROTO_IPV6): "ip6",
		strconv.Itoa(unix.NFPROTO_ARP): "arp", strconv.Itoa(unix.NFPROTO_BRIDGE): "bridge", strconv.Itoa(unix.NFPROTO_NETDEV): "netdev",
	}[family]
}

func tableOf(object string) string {
	_, name, _ := strings.Cut(object, " ")
	return name
}

// nameOf names an object for people.
func nameOf(object string) string {
	switch {
	case strings.HasPrefix(object, "nft"):
		return fmt.Sprintf("nft table %s %s", familyOf(object), tableOf(object))
	case strings.HasPrefix(object, "rule"):
		return fmt.Sprintf("rule %d", attribute(object[len("rule"):], unix.FRA_PRIORITY))
	default:
		data := object[len("route"):]
		return fmt.Sprintf("route of table %d, metric %d", attribute(data, unix.RTA_TABLE), attribute(data, unix.RTA_PRIORITY))
	}
}

// attribute reads a number of a rule or route; both have a header of the same size.
func attribute(data string, kind uint16) (v uint32) {
	d, err := netlink.NewAttributeDecoder([]byte(data)[unix.SizeofRtMsg:])
	if err != nil {
		return 0
	}
	for d.Next() {
		if d.Type() == kind {
			v = d.Uint32()
		}
	}
	return v
}

// sysctls changes those that routing depends on.
func (h *healed) sysctls(ctx context.Context, d *bed, rounds int) (*Figure, error) {
	f := &Figure{What: "sysctls changed by hand → back", Unit: "ms", Goal: worst(1000)}
	for range rounds {
		for key, wrong := range d.bench.family.sysctls() {
			right, err := sysctl(d, key)
			if err != nil {
				return nil, err
			}
			start := time.Now()
			if err := d.Router.Sysctl(key, wrong); err != nil {
				return nil, err
			}
			h.events = append(h.events, start)
			back := false
			for !back && time.Since(start) < 15*time.Second {
				now, err := sysctl(d, key)
				if err := errors.Join(err, pause(ctx, time.Millisecond)); err != nil {
					return nil, err
				}
				back = now == right
			}
			f.took(time.Since(start), back, 15*time.Second)
			if !back { // the rest must still be measurable
				f.Note = note(f.Note, key+" did not come back")
				if err := d.Router.Sysctl(key, right); err != nil {
					return nil, err
				}
			}
		}
	}
	return f, nil
}

func sysctl(d *bed, key string) (value string, err error) {
	err = d.Router.Do(func() error {
		text, err := os.ReadFile(filepath.Join("/proc/sys", key))
		value = strings.TrimSpace(string(text))
		return err
	})
	return value, err
}

// beyond counts the connections that failed although they began after the grace of every deletion. Those
// of sysctls have a second.
func (h *healed) beyond(attempts []attempt) *Figure {
	f := &Figure{What: "connections that fail, begun 100 ms after a deletion or later", Goal: worst(0), Samples: []float64{0}}
	for _, a := range attempts {
		if a.err == nil || slices.ContainsFunc(h.events, func(at time.Time) bool {
			return a.start.After(at.Add(-healGrace)) && a.start.Before(at.Add(healGrace))
		}) {
			continue
		}
		f.Samples[0]++
		if f.Note == "" {
			f.Note = firstError([]attempt{a}, a.start)
		}
	}
	f.Note = note(fmt.Sprintf("%d connections", len(attempts)), f.Note)
	return f
}
