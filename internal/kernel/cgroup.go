package kernel

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where nft(8) looks for control groups of version 2, too.
const cgroupRoot = "/sys/fs/cgroup"

// Cgroups returns the numbers of the control groups that exist, by path. The number of a group is the inode of
// its directory; one that takes its place has another.
func Cgroups(paths []string) map[string]uint64 {
	var found map[string]uint64
	for _, path := range paths {
		full := filepath.Join(cgroupRoot, path)
		var system unix.Statfs_t
		var directory unix.Stat_t
		if unix.Statfs(full, &system) != nil || system.Type != unix.CGROUP2_SUPER_MAGIC || unix.Stat(full, &directory) != nil {
			continue
		}
		if found == nil {
			found = make(map[string]uint64, len(paths))
		}
		found[path] = directory.Ino
	}
	return found
}
