package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Numbers of the lab's configuration (see the base_ keys of the configuration file).
const (
	baseTable    = 1
	basePriority = 20000
	baseMark     = 1
)

// ConfigOptions are the parts of the daemon's configuration that tests and scenarios change. The
// zero value of a field is its default.
type ConfigOptions struct {
	Interval time.Duration // tests.interval; default 1 s
	Timeout  time.Duration // tests.timeout; default: left out, so the program's own
	Required int           // tests.required_successful; default 4 of the 6 targets
	Retries  int           // tests.ping_retries; default 1
	Managed  bool          // firewall: managed; default: the rules of generate_iptables
	Extra    string        // appended as it is
}

// withDefaults fills in what is zero.
func (o ConfigOptions) withDefaults() ConfigOptions {
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Required == 0 {
		o.Required = 4
	}
	if o.Retries == 0 {
		o.Retries = 1
	}
	return o
}

// noticed returns how long the program may take to act on a line that went silent: a whole interval
// until the next round, that round, and a margin for the machine and for a client's own time-out.
func (o ConfigOptions) noticed() time.Duration {
	o = o.withDefaults()
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	return o.Interval + time.Duration(o.Retries)*timeout + 2*time.Second
}

// ConfigText returns a configuration file in the form that existing installations have, for the
// router of the plan. State and runtime directories are below dir.
func ConfigText(p Plan, dir string, o ConfigOptions) string {
	o = o.withDefaults()
	var b strings.Builder
	b.WriteString("uplinks:\n")
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "- interface: %s\n  type: %s\n", l.Interface, l.Kind)
		switch l.Kind {
		case Static:
			fmt.Fprintf(&b, "  ip: %s\n  gateway: %s\n", l.Address, l.Gateway)
		case Tunnel:
			fmt.Fprintf(&b, "  ip: %s\n  tunnel: yes\n", l.Address)
		case DHCP, PPP:
		}
		fmt.Fprintf(&b, "  description: %s\n", l.Provider)
		if l.Group >= 0 {
			fmt.Fprintf(&b, "  priority_group: %d\n", max(1, l.Group))
		}
		if l.Weight > 0 {
			fmt.Fprintf(&b, "  weight: %d\n", l.Weight)
		}
		b.WriteString(l.configInet6())
	}
	b.WriteString("downlinks:\n  lan: lan0\n  dmz: dmz0\ntests:\n  ips:\n")
	for _, t := range p.Targets {
		fmt.Fprintf(&b, "  - %s\n", t)
	}
	for _, t := range p.Targets6 {
		fmt.Fprintf(&b, "  - %q\n", t)
	}
	fmt.Fprintf(&b, "  required_successful: %d\n  ping_retries: %d\n  interval: %s\n", o.Required, o.Retries, seconds(o.Interval))
	if o.Timeout > 0 {
		fmt.Fprintf(&b, "  timeout: %s\n", seconds(o.Timeout))
	}
	fmt.Fprintf(&b, `log:
  file: "%s/ftr.log"
  max_size: 1024000
  old_files: 10
email:
  send: false
  sender: router@example.com
  recipients:
  - admin@example.com
  smtp_parameters:
    address: smtp.example.com
    port: 25
    domain: example.com
    authentication: :login
    enable_starttls_auto: true
    user_name: router
    password: secret
base_table: %d
base_priority: %d
base_fwmark: %d
paths:
  state: "%s/state"
  runtime: "%s/runtime"
`, dir, baseTable, basePriority, baseMark, dir, dir)
	if o.Managed {
		b.WriteString("firewall: managed\n")
	}
	b.WriteString(o.Extra)
	return b.String()
}

// seconds writes whole seconds as the original program wants them, others as a duration.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.Itoa(int(d / time.Second))
	}
	return d.String()
}
