package kernel

import (
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"time"

	"ftr/internal/routing"
)

// maxLease is the largest lease file that is read; dhclient appends to its file, the others have a few
// hundred bytes.
const maxLease = 1 << 20

// maxLeaseFiles bounds how many files a pattern may give.
const maxLeaseFiles = 1024

// parser reads a lease file and returns the router for an interface. Modified is the file's time, for
// formats that count from it; ok is false without a valid, unexpired lease for that interface.
type parser func(data []byte, device string, modified, now time.Time) (router netip.Addr, ok bool)

// source is a place where a DHCP client keeps leases; %s stands for the interface's name, %d for its
// index.
type source struct {
	pattern string
	parse   parser
}

// sources returns the places to look at for a link.
func sources(l routing.Link) []source {
	return []source{
		{fmt.Sprintf("run/systemd/netif/leases/%d", l.Index), parseNetworkd},
		{fmt.Sprintf("run/NetworkManager/devices/%d", l.Index), parseNetworkManager},
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
	cache := map[string]file{}
	found := map[string]netip.Addr{}
	for _, l := range links {
		var newest time.Time
		for _, s := range sources(l) {
			for _, name := range expand(root, s.pattern) {
				f := read(root, name, cache)
				router, ok := s.parse(f.data, l.Name, f.modified, now)
				if ok && f.modified.After(newest) {
					newest, found[l.Name] = f.modified, router
				}
			}
		}
	}
	return found
}

// expand returns the files that match a pattern, most often none.
func expand(root fs.FS, pattern string) []string {
	if !strings.ContainsAny(pattern, `*?\`) {
		return []string{pattern}
	}
	dir, last := path.Split(pattern)
	entries, err := fs.ReadDir(root, path.Clean(dir))
	if err != nil || len(entries) > maxLeaseFiles {
		return nil
	}
	var names []string
	for _, e := range entries {
		if ok, err := path.Match(last, e.Name()); ok && err == nil {
			names = append(names, dir+e.Name())
		}
	}
	return names
}

// file is what was read, nothing if it is not a regular file of a sensible size.
type file struct {
	data     []byte
	modified time.Time
}

func read(root fs.FS, name string, cache map[string]file) file {
	if f, ok := cache[name]; ok {
		return f
	}
	f := readRegular(root, name)
	cache[name] = f
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
