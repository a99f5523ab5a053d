package kernel

import (
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/routing"
)

// DuplicateRule adds a rule without asking the kernel whether it is there already.
func DuplicateRule(k *Kernel, r routing.Rule) error {
	b, err := encodeRule(r)
	if err != nil {
		return err
	}
	return k.change(unix.RTM_NEWRULE, netlink.Create, b)
}

// SetWatchBuffer makes the buffer of later calls of Watch small.
func SetWatchBuffer(k *Kernel, size int) { k.watchBuffer = size }

// Overflows tells how often Watch lost notifications.
func Overflows(k *Kernel) int64 { return k.overflows.Load() }

// SetNftPaths makes nft(8) be looked for elsewhere.
func SetNftPaths(k *Kernel, paths ...string) { k.nftPaths = paths }

// Told returns those of the sysctls that messages of links tell.
func Told(k *Kernel, keys []string) ([]string, error) {
	_, confs, err := k.links()
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		_, ok := confs.value(key)
		return !ok
	}), err
}
