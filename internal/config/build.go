package config

import (
	"cmp"
	"math/bits"
	"slices"
)

// systemMain is the priority of the kernel's rule for table main (ip-rule(8)); 32767 is that of
// table default.
const systemMain = 32766

// config makes the typed configuration of a draft without errors.
func (d *draft) config() *Config {
	n := len(d.uplinks.value)
	c := &Config{
		LAN:     values(d.lan.value),
		DMZ:     values(d.dmz.value),
		Tests:   d.tests.config(d.tests.interval.value),
		Log:     Log{File: d.logFile.value, MaxSize: d.logSize.value, OldFiles: int(d.logKept.value)},
		Email:   d.emailConfig(),
		Numbers: d.numbers(uint32(n)),
		Paths:   d.directories(),

		Firewall: d.firewall.value,
		Balance:  d.balanceIn(),
	}
	for i := range d.uplinks.value {
		c.Uplinks = append(c.Uplinks, d.uplink(i, c.Numbers, uint32(n)))
	}
	for _, g := range d.groups.value {
		c.Groups = append(c.Groups, Group{Number: int(g.number.value), Failback: g.failback.value})
	}
	c.Sets, c.Policies, c.Forwards = d.setsConfig(), d.policiesConfig(), d.forwardsConfig()
	c.Steers = steers(c)
	return c
}

// directories are those that the file names; of a refused one there is no value.
func (d *draft) directories() Paths { return Paths{State: d.state.value, Runtime: d.runtime.value} }

// uplink makes the i-th of n uplinks with the numbers that follow from its place.
func (d *draft) uplink(i int, base Numbers, n uint32) Uplink {
	u, index := &d.uplinks.value[i], uint32(i)
	group, grouped := u.groupIn(d.isForm2015())
	line := Uplink{
		Index: i, Name: u.name(), Interface: u.iface.value, Type: u.kind.value,
		Grouped: grouped, Group: group, Weight: int(u.weight.value),
		Table: base.BaseTable + index, Mark: base.BaseMark + index,
		AddressPriority: base.BasePriority + index, MarkPriority: base.BasePriority + n + index,
	}
	if d.isManaged() {
		// What is forwarded has a mark, mostly, and meets its rule before those that it does not need: the
		// kernel tries one after another.
		line.AddressPriority, line.MarkPriority = line.MarkPriority, line.AddressPriority
	}
	line.Metered, line.Tests = u.metered.value, u.testsIn(d)
	line.Tunnel = u.tunnelIn()
	line.ClampMSS = u.clampMSS.value && d.isManaged()
	line.Inet6 = u.inet6.config()
	if line.Type == Static {
		line.Address, line.Gateway = u.address.value, u.gateway.value
	}
	return line
}

func (u *uplinkDraft) tunnelIn() Tunnel {
	switch {
	case !u.tunnel.given():
		return TunnelUnsaid
	case u.tunnel.value:
		return TunnelYes
	}
	return TunnelNo
}

// hasTunnels tells whether some line is a tunnel.
func (d *draft) hasTunnels() bool {
	return slices.ContainsFunc(d.uplinks.value, func(u uplinkDraft) bool { return u.tunnelIn() == TunnelYes })
}

func (u *uplinkDraft) name() string { return cmp.Or(u.description.value, u.iface.value) }

// isForm2015 tells whether the file has the form of 2015: no uplink has a type or a priority_group.
func (d *draft) isForm2015() bool {
	return !slices.ContainsFunc(d.uplinks.value, func(u uplinkDraft) bool {
		return u.kind.state != absent || u.group.state != absent
	})
}

// groupIn returns the group of an uplink, and whether it has one. In the form of 2015 every uplink
// is in group 1 unless it says otherwise; later, an uplink without group is never used for new
// outgoing connections.
func (u *uplinkDraft) groupIn(form2015 bool) (int, bool) {
	switch {
	case u.group.given():
		return int(u.group.value), true
	case u.defaultRoute.given() && u.defaultRoute.value, !u.defaultRoute.given() && form2015:
		return 1, true
	}
	return 0, false
}

// numbers derives the shared numbers for n uplinks.
func (d *draft) numbers(n uint32) Numbers {
	b := Numbers{
		BaseTable: uint32(d.table.value), BasePriority: uint32(d.priority.value), BaseMark: uint32(d.base.value),
		Mask: uint32(d.mask(int64(n))),
	}
	b.DefaultTable = b.BaseTable + n
	b.DefaultPriority = b.BasePriority + 2*n
	if d.isManaged() {
		b.SteerMask, b.SteerPriority = uint32(d.steering(int64(n))), b.DefaultPriority
		b.DefaultPriority++
	}
	if d.hasTunnels() {
		b.OwnTable, b.OwnPriority = OwnTable, b.DefaultPriority
		b.DefaultPriority++
	}
	if b.BasePriority <= systemMain {
		b.SuppressPriority = b.BasePriority - 1
	}
	return b
}

// mask returns fwmark_mask, or its default: all ones over the marks of n uplinks, and at least 0xff,
// so that a few more lines do not change it.
func (d *draft) mask(n int64) int64 {
	if d.msk.given() {
		return d.msk.value
	}
	last := uint64(max(d.base.value+n-1, 0))
	return max(int64(1)<<bits.Len64(last)-1, 0xff)
}

func (d *draft) emailConfig() Email {
	s := &d.smtp
	return Email{
		Enabled: d.send.value, Sender: d.sender.value, Recipients: values(d.recipients.value), MaxAge: d.maxAge.value,
		SMTP: SMTP{
			Host: s.host.value, Port: int(s.port.value), HELO: s.helo.value,
			Auth: s.mechanism(), STARTTLS: s.starttls.value, User: s.user.value, Password: NewSecret(s.password.value),
			PasswordFile: s.passwordFile.value, PasswordCredential: s.passwordCred.value,
		},
	}
}

// mechanism returns the authentication to use. Without one, a user is authenticated by PLAIN, as the
// original's mail library does.
func (s *smtpDraft) mechanism() Auth {
	if s.auth.state == absent && s.user.given() {
		return AuthPlain
	}
	return s.auth.value
}

// values returns what a list holds; nil if it is empty.
func values[T any](fields []field[T]) []T {
	var list []T
	for _, f := range fields {
		list = append(list, f.value)
	}
	return list
}

// HasInlinePassword tells whether the password stands in the file itself, which others should then
// not be able to read.
func (c *Config) HasInlinePassword() bool { return !c.Email.SMTP.Password.IsZero() }

// Lacking returns the paths of the keys without which no mail can be sent, also if sending is
// disabled: a test mail needs them too. It is empty for an Email that is complete.
func (e Email) Lacking() []string {
	s := e.SMTP
	password := !s.Password.IsZero() || s.PasswordFile != "" || s.PasswordCredential != ""
	var list []string
	for _, need := range []struct {
		path    string
		lacking bool
	}{
		{"email.sender", e.Sender == ""},
		{"email.recipients", len(e.Recipients) == 0},
		{"email.smtp_parameters.address", s.Host == ""},
		{"email.smtp_parameters.user_name", s.Auth != AuthNone && s.User == ""},
		{"email.smtp_parameters.password", s.Auth != AuthNone && !password},
	} {
		if need.lacking {
			list = append(list, need.path)
		}
	}
	return list
}
