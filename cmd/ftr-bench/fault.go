package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// customerLink is the provider's end of a line.
const customerLink = "customer"

// fault is a way to break a line that takes no time: a command would need milliseconds to start, and
// they would count as the program's.
type fault struct {
	name string
	// set breaks or repairs line i and returns when it began to.
	set func(d *bed, i int, broken bool) (time.Time, error)
}

// carrier takes the provider's end of the wire down, so that the router's interface loses its carrier.
// The kernel takes the IPv6 addresses of that end with it, and the lab puts them back.
func carrier() fault {
	return fault{"carrier", func(d *bed, i int, broken bool) (time.Time, error) {
		var at time.Time
		err := d.Providers[i].Do(func() (err error) {
			at, err = setLink(customerLink, !broken)
			return err
		})
		if err == nil && !broken {
			err = d.ServeInet6(i)
		}
		return at, wrap(err, "set the wire of line %d", i+1)
	}}
}

// silent makes the provider forward nothing, both ways, and say nothing of it. Wire and gateway stay
// well: only what lies behind is gone. Of a line with both families only the one that is measured breaks;
// the gateway goes on to call itself a router (the R flag of neighbour advertisements, RFC 4861 §4.4).
func silent() fault {
	return fault{"silent", func(d *bed, i int, broken bool) (time.Time, error) {
		at, provider := time.Now(), d.Providers[i]
		err := provider.Sysctl(d.bench.family.forwarding(), map[bool]string{true: "0", false: "1"}[broken])
		if d.bench.family == ipv6 && err == nil {
			err = provider.Sysctl("net/ipv6/conf/"+customerLink+"/forwarding", "1")
		}
		return at, wrap(err, "set the forwarding of provider %d", i+1)
	}}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// setLink sets an interface of the current namespace up or down (netdevice(7)).
func setLink(name string, up bool) (at time.Time, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return at, err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return at, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return at, err
	}
	flags := request.Uint16() &^ unix.IFF_UP
	if up {
		flags |= unix.IFF_UP
	}
	request.SetUint16(flags)
	at = time.Now()
	return at, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
