package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// link is a network interface.
type link struct {
	name         string
	index        int
	up           bool
	carrier      bool // the cable: what Observe shows needs the link to be up as well
	pointToPoint bool
	addresses    []routing.Address
}

func (l *link) observe(families []config.Family) routing.Link {
	shown := routing.Link{
		Name: l.name, Index: l.index, Up: l.up, Carrier: l.up && l.carrier, PointToPoint: l.pointToPoint,
	}
	if l.pointToPoint {
		shown.Tunnel = "tun" // the only ones that the contract's cases make
	}
	for _, f := range families {
		for _, a := range l.addresses {
			if config.FamilyOf(a.Prefix.Addr()) == f {
				shown.Addresses = append(shown.Addresses, a)
			}
		}
	}
	return shown
}

// has tells whether the link has any address of the family.
func (l *link) has(f config.Family) bool {
	return slices.ContainsFunc(l.addresses, func(a routing.Address) bool { return config.FamilyOf(a.Prefix.Addr()) == f })
}

// reaches tells whether an address is on the link.
func (l *link) reaches(addr netip.Addr) bool {
	return slices.ContainsFunc(l.addresses, func(a routing.Address) bool {
		if a.Peer.IsValid() {
			return netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked().Contains(addr)
		}
		return a.Prefix.Masked().Contains(addr)
	})
}

// find returns a link, or the kernel's error for one that does not exist.
func (k *Kernel) find(name string) (*link, error) {
	i := slices.IndexFunc(k.links, func(l *link) bool { return l.name == name })
	if i < 0 {
		return nil, fmt.Errorf("interface %s: %w", name, syscall.ENODEV)
	}
	return k.links[i], nil
}

// change finds a link, changes it and tells those who watch.
func (k *Kernel) change(name string, f func(l *link) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.find(name)
	if err != nil {
		return err
	}
	if err := f(l); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	k.notify()
	return nil
}

// AddLink makes an interface, down, with its cable plugged in.
func (k *Kernel) AddLink(name string, pointToPoint bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.find(name); err == nil {
		return fmt.Errorf("interface %s: %w", name, syscall.EEXIST)
	}
	k.index++
	k.links = append(k.links, &link{name: name, index: k.index, carrier: true, pointToPoint: pointToPoint})
	k.addSysctls(name)
	k.notify()
	return nil
}

// RemoveLink removes an interface, its addresses, and every IPv4 route with a next hop on it; an IPv6
// route loses that next hop.
func (k *Kernel) RemoveLink(name string) error {
	return k.change(name, func(l *link) error {
		k.down(l)
		k.flush(func(r *route) bool { return !r.leave(l) })
		k.links = slices.DeleteFunc(k.links, func(o *link) bool { return o == l })
		for key := range k.sysctls {
			if aboutDevice(key, name) {
				delete(k.sysctls, key)
			}
		}
		return nil
	})
}

// SetUp sets an interface up or down (ip link set). Going down removes its IPv6 addresses and, from
// every table, the routes that have no other way left; a multipath route stays and goes on when the
// link is up again.
func (k *Kernel) SetUp(name string, up bool) error {
	return k.change(name, func(l *link) error {
		if !up {
			k.down(l)
			return nil
		}
		l.up = true
		k.revive(l, config.IPv4)
		k.revive(l, config.IPv6)
		return nil
	})
}

func (k *Kernel) down(l *link) {
	l.up = false
	l.addresses = slices.DeleteFunc(l.addresses, func(a routing.Address) bool { return a.Prefix.Addr().Is6() })
	k.kill(l, config.IPv4)
	k.kill(l, config.IPv6)
}

// SetCarrier plugs the cable in or out. All routes stay.
func (k *Kernel) SetCarrier(name string, carrier bool) error {
	return k.change(name, func(l *link) error {
		l.carrier = carrier
		return nil
	})
}

// AddAddress gives an interface an address. Of several with the same IPv4 prefix the first is the
// primary one, and stands before the secondary ones.
func (k *Kernel) AddAddress(name string, a routing.Address) error {
	return k.change(name, func(l *link) error {
		addr := a.Prefix.Addr()
		if slices.ContainsFunc(l.addresses, func(o routing.Address) bool { return o.Prefix == a.Prefix && o.Peer == a.Peer }) {
			return syscall.EEXIST
		}
		if addr.Is6() {
			// IPv6 shows the one added last first.
			l.addresses = slices.Insert(l.addresses, l.firstOf(config.IPv6), a)
			k.revive(l, config.IPv6)
			return nil
		}
		a.Secondary = slices.ContainsFunc(l.addresses, func(o routing.Address) bool { return !o.Secondary && sameNetwork(o, a) })
		at := l.firstOf(config.IPv6)
		if !a.Secondary {
			at = slices.IndexFunc(l.addresses, func(o routing.Address) bool { return o.Secondary || o.Prefix.Addr().Is6() })
		}
		if at < 0 {
			at = len(l.addresses)
		}
		l.addresses = slices.Insert(l.addresses, at, a)
		k.revive(l, config.IPv4)
		return nil
	})
}

// firstOf returns the place of the first address of a family; IPv4 stands before IPv6.
func (l *link) firstOf(f config.Family) int {
	i := slices.IndexFunc(l.addresses, func(a routing.Address) bool { return config.FamilyOf(a.Prefix.Addr()) == f })
	if i < 0 {
		return len(l.addresses)
	}
	return i
}

func sameNetwork(a, b routing.Address) bool {
	return network(a) == network(b)
}

// network is the prefix that an address connects to: that of the peer, if it has one.
func network(a routing.Address) netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked()
	}
	return a.Prefix.Masked()
}

// RemoveAddress takes an address from an interface, and with a primary one its secondary ones. An IPv4
// address takes the routes in main with it as source along, and the last one all IPv4 routes of the
// interface in every table; an IPv6 address leaves routes without their source.
func (k *Kernel) RemoveAddress(name string, addr netip.Addr) error {
	return k.change(name, func(l *link) error {
		i := slices.IndexFunc(l.addresses, func(a routing.Address) bool { return a.Prefix.Addr() == addr })
		if i < 0 {
			return fmt.Errorf("address %s: %w", addr, syscall.EADDRNOTAVAIL)
		}
		gone := l.addresses[i]
		l.addresses = slices.DeleteFunc(l.addresses, func(a routing.Address) bool {
			return a == gone || a.Secondary && !gone.Secondary && sameNetwork(a, gone)
		})
		if addr.Is6() {
			k.dropSource(addr)
			return nil
		}
		k.flush(func(r *route) bool { return r.Table == mainTable && r.Source.IsValid() && !k.local(r.Source) })
		if !l.has(config.IPv4) {
			k.kill(l, config.IPv4)
		}
		return nil
	})
}

// local tells whether an address is on any interface.
func (k *Kernel) local(addr netip.Addr) bool {
	return slices.ContainsFunc(k.links, func(l *link) bool {
		return slices.ContainsFunc(l.addresses, func(a routing.Address) bool { return a.Prefix.Addr() == addr })
	})
}

// SetLease makes a DHCP client's lease file name a router for an interface; an invalid address removes
// it. No watcher is told: the kernel does not watch files.
func (k *Kernel) SetLease(name string, router netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if router.IsValid() {
		k.leases[name] = router
	} else {
		delete(k.leases, name)
	}
}
