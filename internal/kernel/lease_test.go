package kernel

import (
	"encoding/binary"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/routing"
)

var (
	leaseNow = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	addrs    = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
)

const networkdLease = `# This is private data. Do not parse.
ADDRESS=192.0.2.50
NETMASK=255.255.255.0
ROUTER=192.0.2.1 192.0.2.2
SERVER_ADDRESS=192.0.2.3
LIFETIME=3600
`

const dhclientLeases = `# a comment with a "quote
default-duid "\000\001;{";
lease {
  interface "eth0";
  fixed-address 192.0.2.50;
  option subnet-mask 255.255.255.0;
  option routers 192.0.2.1;
  option domain-name "a \"strange; name }";
  renew 3 2026/03/04 06:00:00;
  expire 3 2026/03/04 18:00:00;
}
lease {
  interface "eth1";
  option routers 198.51.100.1, 198.51.100.2;
  expire never;
}
lease {
  interface "eth0";
  option routers 192.0.2.9;
  expire 3 2026/03/04 18:00:00;
}
lease {
  interface "eth0";
  option routers 192.0.2.8;
  expire 2 2026/03/03 18:00:00;
}
lease {
  interface "eth2";
  option routers 203.0.113.1;
  expire epoch 1772625601; # Wed Mar  4 12:00:01 2026
}
lease6 {
  interface "eth0";
  ia-na 1:2:3:4 {
    iaaddr 2001:db8::50 { max-life 7200; }
  }
}
`

func TestParseLeases(t *testing.T) {
	cases := []struct {
		name     string
		parse    parser
		data     string
		device   string
		modified time.Time
		want     string // empty: none
	}{
		{"networkd", parseNetworkd, networkdLease, "eth0", leaseNow, "192.0.2.1"},
		{"networkd without router", parseNetworkd, "ADDRESS=192.0.2.50\n", "eth0", leaseNow, ""},
		{"networkd with a router that cannot be", parseNetworkd, "ROUTER=0.0.0.0 255.255.255.255 127.0.0.1 224.0.0.1 ::1 x 192.0.2.4", "eth0", leaseNow, "192.0.2.4"},
		{"NetworkManager", parseNetworkManager, "[device]\nmanaged=true\nrouters=9.9.9.9\n[dhcp4]\nip_address=192.0.2.50\nrouters=192.0.2.1\n", "eth0", leaseNow, "192.0.2.1"},
		{"NetworkManager, other form", parseNetworkManager, "[device]\nmanaged=true\ndhcp4.routers=192.0.2.1\n", "eth0", leaseNow, "192.0.2.1"},
		{"NetworkManager, expired", parseNetworkManager, "[dhcp4]\nrouters=192.0.2.1\nexpiry=1772625599\n", "eth0", leaseNow, ""},
		{"NetworkManager, static", parseNetworkManager, "[device]\nmanaged=true\n", "eth0", leaseNow, ""},
		{"dhclient: the last that is valid", parseDhclient, dhclientLeases, "eth0", leaseNow, "192.0.2.9"},
		{"dhclient: never expires, two routers", parseDhclient, dhclientLeases, "eth1", leaseNow, "198.51.100.1"},
		{"dhclient: expires in a second", parseDhclient, dhclientLeases, "eth2", leaseNow, "203.0.113.1"},
		{"dhclient: of another interface", parseDhclient, dhclientLeases, "eth3", leaseNow, ""},
		{"dhclient: without interface", parseDhclient, "lease { option routers 192.0.2.1; expire never; }", "eth7", leaseNow, "192.0.2.1"},
		{"dhclient: unknown expiry", parseDhclient, "lease { option routers 192.0.2.1; expire soon; }", "eth7", leaseNow, ""},
		{"dhclient: cut off", parseDhclient, `lease { interface "eth0"; option routers 192.0.2.1;`, "eth0", leaseNow, ""},
		{"dhclient: string without end", parseDhclient, `lease { interface "eth0; option routers 192.0.2.1; }`, "eth0", leaseNow, ""},
		{"dhcpcd", parseDhcpcd, dhcpMessage(3600, 3, 4, 192, 0, 2, 1), "eth0", leaseNow, "192.0.2.1"},
		{"dhcpcd, expired", parseDhcpcd, dhcpMessage(3600, 3, 4, 192, 0, 2, 1), "eth0", leaseNow.Add(-time.Hour), ""},
		{"dhcpcd, for ever", parseDhcpcd, dhcpMessage(0xffffffff, 3, 4, 192, 0, 2, 1), "eth0", leaseNow.Add(-1000 * time.Hour), "192.0.2.1"},
		{"dhcpcd, router in two parts", parseDhcpcd, dhcpMessage(3600, 3, 2, 192, 0, 3, 2, 2, 1), "eth0", leaseNow, "192.0.2.1"},
		{"dhcpcd, no router", parseDhcpcd, dhcpMessage(3600), "eth0", leaseNow, ""},
		{"dhcpcd, cut off", parseDhcpcd, dhcpMessage(3600, 3, 8, 192, 0, 2, 1), "eth0", leaseNow, ""},
		{"dhcpcd, no DHCP", parseDhcpcd, strings.Repeat("x", 400), "eth0", leaseNow, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := c.parse([]byte(c.data), c.device, c.modified, leaseNow)
			if ok != (c.want != "") || ok && got.String() != c.want {
				t.Errorf("got %v %v, want %q", got, ok, c.want)
			}
		})
	}
}

// dhcpMessage is a DHCP message (RFC 2131) with a lease time and more options.
func dhcpMessage(lease uint32, options ...byte) string {
	b := make([]byte, bootpHeader)
	b[0] = 2 // BOOTREPLY
	binary.BigEndian.PutUint32(b[236:], 0x63825363)
	b = append(b, 53, 1, 5, 0, 0, optionLeaseTime, 4)
	b = binary.BigEndian.AppendUint32(b, lease)
	return string(append(append(b, options...), optionEnd))
}

func leaseFile(data string, age time.Duration) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(data), Mode: 0o644, ModTime: leaseNow.Add(-age)}
}

func TestLeases(t *testing.T) {
	const uuid = "01234567-89ab-cdef-0123-456789abcdef"
	link := &fstest.MapFile{Data: []byte("../../../etc/shadow"), Mode: fs.ModeSymlink, ModTime: leaseNow}
	pipe := &fstest.MapFile{Mode: fs.ModeNamedPipe, ModTime: leaseNow}
	huge := leaseFile(strings.Repeat("#", maxLease)+"\nROUTER=192.0.2.66\n", 0)
	cases := []struct {
		name  string
		files fstest.MapFS
		want  map[string]string
	}{
		{"none", nil, map[string]string{}},
		{"networkd by index", fstest.MapFS{
			"run/systemd/netif/leases/2": leaseFile("ROUTER=192.0.2.1\n", 0),
			"run/systemd/netif/leases/9": leaseFile("ROUTER=192.0.2.9\n", 0),
		}, map[string]string{"eth0": "192.0.2.1"}},
		{"dhclient, one file for each", fstest.MapFS{
			"var/lib/dhcp/dhclient.eth0.leases": leaseFile(dhclientLeases, 0),
			"var/lib/dhcp/dhclient.leases":      leaseFile(dhclientLeases, time.Hour),
		}, map[string]string{"eth0": "192.0.2.9", "br-lan": ""}},
		{"dhcpcd", fstest.MapFS{"var/lib/dhcpcd/br-lan.lease": leaseFile(dhcpMessage(3600, 3, 4, 192, 0, 2, 7), 0)},
			map[string]string{"br-lan": "192.0.2.7"}},
		{"NetworkManager's files name the interface at their end", fstest.MapFS{
			"var/lib/NetworkManager/internal-" + uuid + "-br-lan.lease": leaseFile("ROUTER=192.0.2.1\n", 0),
			"var/lib/NetworkManager/dhclient-" + uuid + "-eth0.lease":   leaseFile(dhclientLeases, 0),
		}, map[string]string{"br-lan": "192.0.2.1", "eth0": "192.0.2.9"}},
		{"the newest counts", fstest.MapFS{
			"run/systemd/netif/leases/2":   leaseFile("ROUTER=192.0.2.1\n", time.Hour),
			"run/NetworkManager/devices/2": leaseFile("[dhcp4]\nrouters=192.0.2.2\n", time.Minute),
			"var/lib/dhcpcd/eth0.lease":    leaseFile(dhcpMessage(36000, 3, 4, 192, 0, 2, 3), 2*time.Hour),
		}, map[string]string{"eth0": "192.0.2.2"}},
		{"nothing odd is followed", fstest.MapFS{
			"run/systemd/netif/leases/2": link, "var/lib/dhcp/dhclient.leases": pipe,
			"run/systemd/netif/leases/3": huge, "etc/shadow": leaseFile("ROUTER=192.0.2.66\n", 0),
		}, map[string]string{}},
	}
	links := []routing.Link{{Name: "eth0", Index: 2}, {Name: "br-lan", Index: 3}, {Name: "lan", Index: 4}}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := map[string]netip.Addr{}
			for name, router := range c.want {
				if router != "" {
					want[name] = netip.MustParseAddr(router)
				}
			}
			if d := cmp.Diff(want, leases(c.files, links, leaseNow), addrs); d != "" {
				t.Errorf("leases (-want +got):\n%s", d)
			}
		})
	}
}

func TestLeaseNamesAreNotPatterns(t *testing.T) {
	files := fstest.MapFS{
		"var/lib/dhcpcd/eth0.lease": leaseFile(dhcpMessage(3600, 3, 4, 192, 0, 2, 1), 0),
		"var/lib/dhcpcd/e*.lease":   leaseFile(dhcpMessage(3600, 3, 4, 192, 0, 2, 2), time.Minute),
	}
	want := map[string]netip.Addr{"e*": netip.MustParseAddr("192.0.2.2")}
	if d := cmp.Diff(want, leases(files, []routing.Link{{Name: "e*", Index: 2}}, leaseNow), addrs); d != "" {
		t.Errorf("leases (-want +got):\n%s", d)
	}
}

func FuzzParseLeases(f *testing.F) {
	for _, seed := range []string{networkdLease, dhclientLeases, dhcpMessage(3600, 3, 4, 192, 0, 2, 1), `lease { "`, "[dhcp4]\nrouters=", "lease {{}}}; \\"} {
		f.Add([]byte(seed), "eth0")
	}
	f.Fuzz(func(t *testing.T, data []byte, device string) {
		for _, parse := range []parser{parseNetworkd, parseNetworkManager, parseDhclient, parseDhcpcd} {
			if a, ok := parse(data, device, leaseNow, leaseNow); ok && !usableRouter(a) {
				t.Errorf("unusable router %v", a)
			}
		}
	})
}
