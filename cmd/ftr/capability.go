package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// require returns an error that names those of the capabilities (capabilities(7)) that this process
// lacks: without them every single change would be refused.
func require(what string, capabilities ...int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities of this process: %w", err)
	}
	var missing []string
	for _, c := range capabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			missing = append(missing, capabilityName(c))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	noun := "capability "
	if len(missing) > 1 {
		noun = "capabilities "
	}
	return fmt.Errorf("%s needs the %s%s: run it as root, or as the unit ftr.service does; nothing was changed",
		what, noun, strings.Join(missing, " and "))
}

func capabilityName(c int) string {
	switch c {
	case unix.CAP_NET_ADMIN:
		return "CAP_NET_ADMIN"
	case unix.CAP_NET_RAW:
		return "CAP_NET_RAW"
	default:
		return fmt.Sprintf("number %d", c)
	}
}
