package kernel

import (
	"io"
	"io/fs"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"ftr/internal/routing"
)

// maxLease is the largest lease file that is read; dhclient appends to its file, the others have a few
// hundred bytes.
const maxLease = 1 << 20

// maxLeaseFiles bounds how many files a directory may hold.
const maxLeaseFiles = 1024

// parser reads a lease file and returns the router for an interface. Modified is the file's time, for
// formats that count from it; ok is false without a valid, unexpired lease for that interface.
type parser func(data []byte, device string, modified, now time.Time) (router netip.Addr, ok bool)

// source is a place where a DHCP client keeps leases.
type source struct {
	dir string
	// pattern returns that of the names of the files for a link (path.Match).
	pattern func(l routing.Link) string
	parse   parser
}

// sources are the places to look at.
var sources = []source{
	{"run/systemd/netif/leases/", number, parseNetworkd},
	{"run/NetworkManager/devices/", number, parseNetworkManager},
	{"var/lib/NetworkManager/", named("internal-" + anyUUID + "-"), parseNetworkd},
	{"var/lib/NetworkManager/", named("dhclient-" + anyUUID + "-"), parseDhclient},
	{"var/lib/dhcp/", anyLink, parseDhclient},
	{"var/lib/dhclient/", anyLink, parseDhclient},
	{"var/lib/dhcpcd/", named(""), parseDhcpcd},
	{"var/lib/dhcpcd5/", named("dhcpcd-"), parseDhcpcd},
}

// anyUUID matches a connection's UUID, and not the beginning of a longer interface name.
const anyUUID = "????????-????-????-????-????????????"

func number(l routing.Link) string { return strconv.Itoa(l.Index) }

func anyLink(routing.Link) string { return "dhclient*.lease*" }

// named quotes the characters of the link's name that mean something in a pattern.
func named(before string) func(routing.Link) string {
	return func(l routing.Link) string {
		return before + strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(l.Name) + ".lease"
	}
}

// leases returns the router of each link that a DHCP client's lease names: of several files the one
// written last. A file that cannot be read or understood counts as none, since a lease only ever
// completes what the kernel says.
func leases(root fs.FS, links []routing.Link, now time.Time) map[string]netip.Addr {
	cache := cache{root: root, dirs: map[string][]string{}, files: map[string]file{}}
	found := map[string]netip.Addr{}
	for _, l := range links {
		var newest time.Time
		for _, s := range sources {
			for _, name := range cache.match(s, l) {
				f := cache.read(name)
				router, ok := s.parse(f.data, l.Name, f.modified, now)
				if ok && f.modified.After(newest) {
					newest, found[l.Name] = f.modified, router
				}
			}
		}
	}
	return found
}

// cache reads each directory and each file once for all links.
type cache struct {
	root  fs.FS
	dirs  map[string][]string
	files map[string]file
}

// match returns the files for a link, most often none.
func (c *cache) match(s source, l routing.Link) []string {
	entries, known := c.dirs[s.dir]
	if !known {
		entries = list(c.root, path.Clean(s.dir))
		c.dirs[s.dir] = entries
	}
	if len(entries) == 0 {
		return nil
	}
	var names []string
	pattern := s.pattern(l)
	for _, name := range entries {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			names = append(names, s.dir+name)
		}
	}
	return names
}

// list returns the names in a directory, none if there are absurdly many.
func list(root fs.FS, dir string) []string {
	entries, err := fs.ReadDir(root, dir)
	if err != nil || len(entries) > maxLeaseFiles {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// file is what was read, nothing if it is not a regular file of a sensible size.
type file struct {
	data     []byte
	modified time.Time
}

func (c *cache) read(name string) file {
	if f, ok := c.files[name]; ok {
		return f
	}
	f := readRegular(c.root, name)
	c.files[name] = f
	return f
}

// readRegular follows no link and opens nothing that could block.
func readRegular(root fs.FS, name string) file {
	info, err := fs.Lstat(root, name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxLease {
		return file{}
	}
	f, err := root.Open(name)
	if err != nil {
		return file{}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLease))
	if err != nil {
		return file{}
	}
	return file{data: data, modified: info.ModTime()}
}

// router reads the first usable IPv4 address of a list separated by spaces or commas.
func router(list string) (netip.Addr, bool) {
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		if a, err := netip.ParseAddr(word); err == nil && usableRouter(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func usableRouter(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
