package lab

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// tool is a program that the lab runs, and the Debian package that it comes with.
type tool struct{ name, pkg string }

// tools returns what a lab with such lines runs.
func tools(lines []Line) []tool {
	list := []tool{{"ip", "iproute2"}, {"tc", "iproute2"}, {"nft", "nftables"}, {"iptables-restore", "iptables"}, {"nsenter", "util-linux"}}
	if slices.ContainsFunc(lines, func(l Line) bool { return l.Kind == DHCP }) {
		list = append(list, tool{"dnsmasq", "dnsmasq-base"}, tool{"dhclient", "isc-dhcp-client"})
	}
	return list
}

// CheckTools tells what is missing on this machine to build a lab with such lines, all at once, with
// the Debian packages to install.
func CheckTools(lines []Line) error {
	return checkTools(tools(lines), func(name string) error {
		_, err := exec.LookPath(name)
		return err
	})
}

func checkTools(list []tool, find func(name string) error) error {
	var missing, packages []string
	for _, t := range list {
		err := find(t.name)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			missing, packages = append(missing, t.name), append(packages, t.pkg)
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(packages)
	return fmt.Errorf("the lab needs %s: apt-get install %s (as root; sbin directories must be in PATH)",
		strings.Join(missing, ", "), strings.Join(slices.Compact(packages), " "))
}
