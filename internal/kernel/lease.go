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

// source is a place where a DHCP client keeps leases: a path whose last part is a pattern (path.Match).
type source struct {
	pattern string
	parse   parser
}

// sources returns the places to look at for a link.
func sources(l routing.Link) []source {
	index := strconv.Itoa(l.Index)
	return []source{
		{"run/systemd/netif/leases/" + index, parseNetworkd},
		{"run/NetworkManager/devices/" + index, parseNetworkManager},
		{"var/lib/NetworkManager/internal-" + anyUUID + "-" + literal(l.Name) + ".lease", parseNetworkd},
		{"var/lib/NetworkManager/dhclient-" + anyUUID + "-" + literal(l.Name) + ".lease", parseDhclient},
		{"var/lib/dhcp/dhclient*.lease*", parseDhclient},
		{"var/lib/dhclient/dhclient*.lease*", parseDhclient},
		{"var/lib/dhcpcd/" + literal(l.Name) + ".lease", parseDhcpcd},
		{"var/lib/dhcpcd5/dhcpcd-" + literal(l.Name) + ".lease", parseDhcpcd},
	}
}

// anyUUID matches a connection's UUID, and not the beginning of a longer interface name.
const anyUUID = "????????-????-????-????-????????????"

// literal quotes the characters that mean something in a pattern.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// leases returns the router of each link that a DHCP client's lease names: of several files the one
// written last. A file that cannot be read or understood counts as none, since a lease only ever
// completes what the kernel says.
func leases(root fs.FS, links []routing.Link, now time.Time) map[string]netip.Addr {
	cache := cache{root: root, dirs: map[string][]string{}, files: map[string]file{}}
	found := map[string]netip.Addr{}
	for _, l := range links {
		var newest time.Time
		for _, s := range sources(l) {
			for _, name := range cache.match(s.pattern) {
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

// match returns the files that match a pattern, most often none. Only its last part is a pattern.
func (c *cache) match(pattern string) []string {
	dir, last := path.Split(pattern)
	entries, known := c.dirs[dir]
	if !known {
		entries = list(c.root, path.Clean(dir))
		c.dirs[dir] = entries
	}
	var names []string
	for _, name := range entries {
		if ok, err := path.Match(last, name); ok && err == nil {
			names = append(names, dir+name)
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
