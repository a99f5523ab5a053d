package kernel

import (
	"net/netip"
	"os"

	"ftr/internal/config"
)

// maxPrefixFile is the largest file with a prefix that is read; they have a line or two.
const maxPrefixFile = 64 << 10

// prefixes returns the first IPv6 prefix that each of the files names. One that is not there, or without a
// prefix, names none: the provider has delegated nothing yet, or has taken it back. Administrators name
// these files, so symbolic links are followed; what could block is not opened.
func prefixes(files []string) map[string]netip.Prefix {
	var found map[string]netip.Prefix
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxPrefixFile {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if p, ok := config.FirstPrefix(string(data)); ok {
			if found == nil {
				found = make(map[string]netip.Prefix, len(files))
			}
			found[name] = p
		}
	}
	return found
}
