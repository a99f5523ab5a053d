// Package config reads the configuration file into typed, valid, immutable values.
//
// Nothing above this package parses a string again: addresses, durations, marks, tables and rule
// priorities are decided and checked here, once, and every other package only reads them.
package config

import (
	"fmt"
	"net/netip"
	"time"
)

// DefaultPath is where the original program, and so every existing installation, keeps its file.
const DefaultPath = "/etc/fault_tolerant_router.conf"

// MaxUplinks is the largest number of uplinks that one configuration may hold. Line tables end below
// 253 (ip-route(8): 253 default, 254 main, 255 local), and the default table needs one of its own.
const MaxUplinks = 250

// Family is an address family. Reachability is judged per uplink and family: the IPv4 of a line can
// be well while its IPv6 is dead.
type Family uint8

// The address families, by their IP version.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// FamilyOf returns the family of an address; an IPv4-mapped IPv6 address is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Config is one whole, valid configuration. It is inert: no functions, clocks or sockets, never
// changed after Parse returned it, so it may be shared freely.
type Config struct {
	Uplinks []Uplink // in the order of the file, which gives each its table, mark and priorities
	Groups  []Group  // that the file says something of; Failback answers for all
	LAN     []string // inside interfaces
	DMZ     []string // inside interfaces with servers; may be empty
	Tests   Tests    // for lines that say nothing of their own; the daemon reads Uplink.Tests
	Log     Log
	Email   Email
	Numbers Numbers
	Paths   Paths

	Firewall Firewall // who keeps the marks and the address translation
	Balance  Balance  // how new connections are spread
	Steers   []Steer  // by their position; only with FirewallManaged

	Sets     []Set     // what policies call by name; WithSets reads their files
	Policies []Policy  // in their order; only with FirewallManaged
	Forwards []Forward // only with FirewallManaged

	places map[string]Problem // of what only the host can judge: problems without a message
}

// Type says where an uplink's address and gateway come from.
type Type uint8

// The types of uplinks.
const (
	// Static: from the configuration; an address or gateway left out there is read from the interface.
	Static Type = iota
	// PPP: address and gateway (the peer's address) from the interface; both may be absent at any time.
	PPP
	// DHCP: address from the interface, gateway from what the DHCP client left: a route or a lease.
	DHCP
)

// String returns the word used in the configuration file.
func (t Type) String() string { return [...]string{"static", "ppp", "dhcp"}[t] }

// Uplink is one way to the internet, with all the numbers that belong to it.
type Uplink struct {
	Index     int        // position in the file, from 0
	Name      string     // the description; the interface name where there is none
	Interface string     // example "eth1", "ppp0", "eth0.100"
	Type      Type       //
	Address   netip.Addr // static: the primary address, source of SNAT; invalid: read from the interface
	Gateway   netip.Addr // static: the provider's router; invalid: the one known for the interface
	Grouped   bool       // false: never used for new outgoing connections; incoming ones still work
	Group     int        // priority_group: lower is preferred; meaningful only if Grouped
	Weight    int        // share within the group, 1 to 256
	Tunnel    Tunnel     // whether this router carries the line over its other lines
	Metered   bool       // every byte costs: asked less often while calm; Tests.Interval has it already
	Inet6     Inet6      // the line's IPv6
	Tests     Tests      // how this line is judged: Config.Tests with what the file says for this line
	ClampMSS  bool       // mss_clamp: TCP segments that leave here fit the path; only with FirewallManaged

	Table           uint32 // base_table+i: leads to this uplink and nowhere else
	Mark            uint32 // base_fwmark+i, to be set and matched only under Numbers.Mask
	AddressPriority uint32 // base_priority+i: rule from the uplink's address; with FirewallManaged base_priority+n+i
	MarkPriority    uint32 // base_priority+n+i: rule for the uplink's mark; with FirewallManaged base_priority+i
}

// Tunnel says whether a line is a tunnel that this router itself carries over its other lines.
type Tunnel uint8

// What the file says of it.
const (
	TunnelUnsaid Tunnel = iota // nothing: it is taken for none
	TunnelNo
	TunnelYes
)

// Group is what the file says of a priority group.
type Group struct {
	Number   int // priority_group of its uplinks
	Failback Failback
}

// Failback is what becomes of connections on less preferred lines when a group carries again.
type Failback uint8

// The ways of failback.
const (
	FailbackKeep Failback = iota // they stay until they end
	FailbackMove                 // they are released and begin anew on the preferred lines
)

// String returns the word used in the configuration file.
func (f Failback) String() string { return [...]string{"keep", "move"}[f] }

// Failback returns what is wanted of a priority group.
func (c *Config) Failback(group int) Failback {
	for _, g := range c.Groups {
		if g.Number == group {
			return g.Failback
		}
	}
	return FailbackKeep
}

// Log says where the log file is and how it is rotated.
type Log struct {
	File     string // empty: no file
	MaxSize  int64  // bytes before it is rotated; 0: never
	OldFiles int    // rotated files kept
}

// Numbers are the shared numbers of the kernel state, the same as the original program's.
type Numbers struct {
	BaseTable    uint32
	BasePriority uint32
	BaseMark     uint32
	Mask         uint32 // fwmark_mask: the only bits of marks that are read and written

	DefaultTable     uint32 // base_table+n: the default route over the selected uplinks
	DefaultPriority  uint32 // everything else goes to DefaultTable: base_priority+2n, one more with a managed firewall, and one with tunnels
	SuppressPriority uint32 // base_priority-1: main without its default route; 0: main is asked before us anyway

	SteerMask     uint32 // steer_mask: the bits that Steer.Mark is set and matched under; 0: there are no steers
	SteerPriority uint32 // base_priority+2n: the rules of all steers; 0: there are none

	OwnTable    uint32 // the default route of what the router itself sends: no tunnels; 0: it has the same as all
	OwnPriority uint32 // base_priority+2n, with a managed firewall one more: the rule to it; DefaultPriority is one more then
}

// Paths are the directories for what must survive a restart and what must not.
type Paths struct {
	State   string // mail queue, saved sysctls; example "/var/lib/ftr"
	Runtime string // sockets, locks; example "/run/ftr"
}

// Email says whether and how changes are mailed.
type Email struct {
	Enabled    bool // email.send
	Sender     string
	Recipients []string
	MaxAge     time.Duration // a mail that could not be sent for this long is given up
	SMTP       SMTP
}

// Auth is an SMTP authentication mechanism (RFC 4954).
type Auth uint8

// The authentication mechanisms of the original's smtp_parameters.
const (
	AuthNone Auth = iota
	AuthPlain
	AuthLogin
	AuthCRAMMD5
)

// SMTP are the parameters of the mail server.
type SMTP struct {
	Host     string
	Port     int
	HELO     string // smtp_parameters.domain; empty: the host name
	Auth     Auth
	STARTTLS bool // enable_starttls_auto: use STARTTLS where the server offers it
	User     string
	Password Secret
	// Where the password is to be read from instead, at the time of sending. At most one is set.
	PasswordFile       string // path of a file
	PasswordCredential string // name of a systemd credential (systemd.exec(5), LoadCredential=)
}

// Secret is a string that never prints: not in logs, errors, JSON or a crash.
type Secret struct{ value string }

// NewSecret wraps a value that must not be printed.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value, for the one place that sends it to the server.
func (s Secret) Reveal() string { return s.value }

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s.value == "" }

// Format prints the placeholder for every verb, also for those that would print the fields.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// String returns a placeholder.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return Redacted
}

// MarshalText returns the placeholder, for JSON, YAML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
