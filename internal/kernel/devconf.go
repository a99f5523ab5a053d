package kernel

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes in IFLA_AF_SPEC (linux/if_link.h): IFLA_INET_CONF and IFLA_INET6_CONF.
const (
	inetConf  = 1
	inet6Conf = 2
)

// told are the sysctls of an interface that its link message tells. With hundreds of lines there are as many
// times four to know at each look, and to read their files takes longer than all the rest of it.
var told = [...]struct {
	prefix, name string // of the key, before and behind the interface
	family       uint16
	at           int // place in the array: IPV4_DEVCONF_... - 1 (linux/ip.h), DEVCONF_... (linux/ipv6.h)
}{
	{"net/ipv4/conf/", "/rp_filter", unix.AF_INET, 7},
	{"net/ipv4/conf/", "/ignore_routes_with_linkdown", unix.AF_INET, 28},
	{"net/ipv6/conf/", "/accept_ra", unix.AF_INET6, 3},
	{"net/ipv6/conf/", "/ignore_routes_with_linkdown", unix.AF_INET6, 39},
}

// devconf are the values of an interface; the zero value knows of none.
type devconf [len(told)]struct {
	value int32
	known bool
}

// devconfs are those of interfaces by name.
type devconfs map[string]devconf

// decode reads IFLA_AF_SPEC: an array of 32-bit numbers in each family. What an older kernel leaves out is
// not known.
func (c *devconf) decode(families *netlink.AttributeDecoder) error {
	for families.Next() {
		family := families.Type()
		if family != unix.AF_INET && family != unix.AF_INET6 {
			continue
		}
		families.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				if family == unix.AF_INET && d.Type() == inetConf || family == unix.AF_INET6 && d.Type() == inet6Conf {
					c.take(family, d.Bytes())
				}
			}
			return nil
		})
	}
	return nil
}

func (c *devconf) take(family uint16, array []byte) {
	for i, t := range told {
		if t.family == family && len(array) >= 4*(t.at+1) {
			c[i].value, c[i].known = int32(binary.NativeEndian.Uint32(array[4*t.at:])), true
		}
	}
}

// value returns that of a sysctl by its key; ok is false where it is not told.
func (d devconfs) value(key string) (value string, ok bool) {
	for i, t := range told {
		rest, ok := strings.CutPrefix(key, t.prefix)
		if !ok {
			continue
		}
		if device, ok := strings.CutSuffix(rest, t.name); ok && d[device][i].known {
			return strconv.Itoa(int(d[device][i].value)), true
		}
	}
	return "", false
}
