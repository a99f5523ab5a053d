package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// act is one thing that happens in a world.
type act func(w world) error

func link(name string, addresses ...string) act {
	return func(w world) error {
		errs := []error{w.AddLink(name, false), w.SetUp(name, true)}
		for _, a := range addresses {
			errs = append(errs, w.AddAddress(name, routing.Address{Prefix: netip.MustParsePrefix(a)}))
		}
		return errors.Join(errs...)
	}
}

func tunnel(name, addr, peer string) act {
	return func(w world) error {
		return errors.Join(w.AddLink(name, true), w.SetUp(name, true), w.AddAddress(name, routing.Address{
			Prefix: netip.PrefixFrom(netip.MustParseAddr(addr), 32), Peer: netip.MustParseAddr(peer)}))
	}
}

func up(name string, up bool) act    { return func(w world) error { return w.SetUp(name, up) } }
func cable(name string, in bool) act { return func(w world) error { return w.SetCarrier(name, in) } }
func remove(name string) act         { return func(w world) error { return w.RemoveLink(name) } }

func address(name, prefix string) act {
	return func(w world) error {
		return w.AddAddress(name, routing.Address{Prefix: netip.MustParsePrefix(prefix)})
	}
}

func noAddress(name, addr string) act {
	return func(w world) error { return w.RemoveAddress(name, netip.MustParseAddr(addr)) }
}

func apply(steps ...routing.Step) act {
	return func(w world) error {
		for _, s := range steps {
			if err := w.Apply(context.Background(), s); err != nil {
				return err
			}
		}
		return nil
	}
}

// refused expects that a step fails with an errno and a text.
func refused(s routing.Step, errno syscall.Errno, text string) act {
	return func(w world) error {
		err := w.Apply(context.Background(), s)
		if !errors.Is(err, errno) || !strings.Contains(fmt.Sprint(err), text) {
			return fmt.Errorf("%s: got error %v, want %v with %q", s, err, errno, text)
		}
		return nil
	}
}

// other lets another program make a change.
func other(steps ...routing.Step) act {
	return func(w world) error {
		for _, s := range steps {
			if err := w.Play(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// force lets another program add rules without looking whether they are there.
func force(rules ...routing.Rule) act {
	return func(w world) error {
		for _, r := range rules {
			w.DuplicateRule(r)
		}
		return nil
	}
}

func add(v any) routing.Step     { return step(routing.Add, v) }
func replace(v any) routing.Step { return step(routing.Replace, v) }
func del(v any) routing.Step     { return step(routing.Delete, v) }

func step(op routing.Op, v any) routing.Step {
	switch v := v.(type) {
	case routing.Route:
		return routing.Step{Op: op, Route: &v}
	case routing.Rule:
		return routing.Step{Op: op, Rule: &v}
	default:
		panic("neither route nor rule")
	}
}

// Edits of routes and rules, so that each case shows what is special about it.
func def(table uint32, hops ...routing.NextHop) routing.Route {
	r := routing.Route{Family: config.IPv4, Table: table, Type: routing.Unicast,
		Destination: netip.MustParsePrefix("0.0.0.0/0"), Protocol: routing.RouteProtocol, NextHops: hops}
	if len(hops) == 0 {
		r.Type = routing.Unreachable
	}
	return r
}

func def6(table uint32, metric uint32, hops ...routing.NextHop) routing.Route {
	r := metric4(def(table, hops...), metric)
	r.Family, r.Destination = config.IPv6, netip.MustParsePrefix("::/0")
	return r
}

func metric4(r routing.Route, metric uint32) routing.Route { r.Metric = metric; return r }
func src(r routing.Route, addr string) routing.Route {
	r.Source = netip.MustParseAddr(addr)
	return r
}
func by(r routing.Route, protocol uint8) routing.Route { r.Protocol = protocol; return r }
func to(r routing.Route, prefix string) routing.Route {
	r.Destination = netip.MustParsePrefix(prefix)
	return r
}

func via(device, gateway string, weight int) routing.NextHop {
	h := routing.NextHop{Interface: device, Weight: weight}
	if gateway != "" {
		h.Gateway = netip.MustParseAddr(gateway)
	}
	return h
}

func onlink(h routing.NextHop) routing.NextHop { h.OnLink = true; return h }

func lookup(priority, table uint32) routing.Rule {
	return routing.Rule{Family: config.IPv4, Priority: priority, Table: table,
		SuppressPrefixLength: routing.NoSuppress, Protocol: routing.RuleProtocol}
}
func from(r routing.Rule, prefix string) routing.Rule {
	r.From = netip.MustParsePrefix(prefix)
	r.Family = config.FamilyOf(r.From.Addr())
	return r
}
func mark(r routing.Rule, mark, mask uint32) routing.Rule { r.Mark, r.Mask = mark, mask; return r }
func suppress(r routing.Rule, length int) routing.Rule    { r.SuppressPrefixLength = length; return r }
func ruleBy(r routing.Rule, protocol uint8) routing.Rule  { r.Protocol = protocol; return r }
func bound(r routing.Rule, device string) routing.Rule    { r.Output = device; return r }
func datagrams(r routing.Rule) routing.Rule               { r.Local, r.Transport = true, 17; return r }
func sport(r routing.Rule, port uint16) routing.Rule      { r.SourcePort = port; return r }
func six(r routing.Rule) routing.Rule                     { r.Family = config.IPv6; return r }
