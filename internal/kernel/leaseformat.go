package kernel

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// parseNetworkd reads a lease of systemd-networkd, and of NetworkManager's internal client that wrote
// the same: lines KEY=VALUE, with ROUTER= a list. The client removes the file when the lease ends.
func parseNetworkd(data []byte, _ string, _, _ time.Time) (netip.Addr, bool) {
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "ROUTER="); ok {
			return router(value)
		}
	}
	return netip.Addr{}, false
}

// parseNetworkManager reads NetworkManager's state of a device, a key file: the options of the lease,
// under their names in dhclient, are in the section [dhcp4], or in keys that begin with "dhcp4.".
func parseNetworkManager(data []byte, _ string, _, now time.Time) (netip.Addr, bool) {
	section, found := "", netip.Addr{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		name, prefixed := strings.CutPrefix(key, "dhcp4.")
		if section != "dhcp4" && !prefixed {
			continue
		}
		switch name {
		case "routers":
			found, _ = router(value)
		case "expiry":
			if end, err := parseEpoch(value); err == nil && !end.After(now) {
				return netip.Addr{}, false
			}
		}
	}
	return found, found.IsValid()
}

// Options of a DHCP message (RFC 2132).
const (
	optionPad       = 0
	optionRouter    = 3
	optionLeaseTime = 51
	optionEnd       = 255
)

// bootpHeader is the size of the fixed part of a DHCP message with the magic cookie (RFC 2131 §2, §3).
const bootpHeader = 240

// parseDhcpcd reads a lease of dhcpcd: the server's message as it came, whose lease time counts from
// the file's own time.
func parseDhcpcd(data []byte, _ string, modified, now time.Time) (netip.Addr, bool) {
	if len(data) < bootpHeader || binary.BigEndian.Uint32(data[236:]) != 0x63825363 {
		return netip.Addr{}, false
	}
	options := dhcpOptions(data[bootpHeader:])
	if v := options[optionLeaseTime]; len(v) == 4 {
		seconds := binary.BigEndian.Uint32(v)
		infinite := seconds == 0xffffffff // RFC 2131 §3.3
		if !infinite && !modified.Add(time.Duration(seconds)*time.Second).After(now) {
			return netip.Addr{}, false
		}
	}
	for v := options[optionRouter]; len(v) >= 4; v = v[4:] {
		if a := netip.AddrFrom4([4]byte(v)); usableRouter(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// dhcpOptions splits the options; parts of the same option are joined (RFC 3396).
func dhcpOptions(b []byte) map[byte][]byte {
	options := map[byte][]byte{}
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == optionPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			break
		}
		code, value := b[0], b[2:2+int(b[1])]
		options[code] = append(options[code][:len(options[code]):len(options[code])], value...)
		b = b[2+len(value):]
	}
	return options
}
