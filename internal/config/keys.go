package config

import (
	"cmp"
	"net/netip"
	"time"
)

// key is one row of the table of keys, the only place that knows which keys exist. Parsing, range
// checks, suggestions, the JSON Schema, the reference and the comments of the generated file are
// all made from it.
type key struct {
	name     string
	form     form   // the kind of value, its limits, and the field that it fills
	doc      string // sentences; the first says what the key is
	required bool
	secret   bool // never shown
	symbol   bool // a Ruby symbol (":name") names it too
	era      era

	fallback  string // the default, as it would be written; empty: none
	otherwise string // what holds without the key, where that is no fixed value
	example   string // written in the generated file; empty: not written
	sample    string // written there as a comment if example is empty; empty: the fallback
}

// era tells which files have a key.
type era string

const (
	always  era = ""
	since15 era = "2015" // only in the form of 2015 files
	sinceGo era = "new"  // not known to the original program
)

func names(keys []key) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

// inner returns the keys below a key, if it is a section or a list of sections.
func (k key) inner() ([]key, bool) {
	f, ok := k.form.(interface{ inner() []key })
	if !ok {
		return nil, false
	}
	return f.inner(), true
}

func (s section) inner() []key     { return s.keys }
func (s sections[T]) inner() []key { return s.keys(new(T)) }

// draft is a configuration as it stands in the file, before the whole is checked.
type draft struct {
	uplinks field[[]uplinkDraft]
	groups  field[[]groupDraft]

	downlinks field[struct{}]
	lan, dmz  field[[]field[string]]

	tests                      testsDraft
	log                        field[struct{}]
	logFile                    field[string]
	logSize, logKept           field[int64]
	email                      field[struct{}]
	send                       field[bool]
	sender                     field[string]
	recipients                 field[[]field[string]]
	maxAge                     field[time.Duration]
	smtp                       smtpDraft
	table, priority, base, msk field[int64]
	paths                      field[struct{}]
	state, runtime             field[string]
	firewall                   field[Firewall]
	balance                    field[Balance]
	steerMask                  field[int64]
	sets                       field[[]setDraft]
	policies                   field[[]policyDraft]
	forwards                   field[[]forwardDraft]
}

type uplinkDraft struct {
	section            field[struct{}]
	iface, description field[string]
	kind               field[Type]
	address, gateway   field[netip.Addr]
	group, weight      field[int64]
	defaultRoute       field[bool]
	metered, clampMSS  field[bool]
	tunnel             field[bool]
	inet6              inet6Draft
	tests              testsDraft
}

type groupDraft struct {
	section  field[struct{}]
	number   field[int64]
	failback field[Failback]
}

type testsDraft struct {
	section                           field[struct{}]
	ips                               field[[]field[netip.Addr]]
	targets                           field[[]field[Target]]
	required, retries, rise, fall     field[int64]
	interval, meteredInterval         field[time.Duration]
	timeout, minTimeout               field[time.Duration]
	holdDown, maxHoldDown, flapMemory field[time.Duration]
	quality                           qualityDraft
}

type qualityDraft struct {
	section                  field[struct{}]
	window                   field[time.Duration]
	loss, lossReturn, weight field[int64]
	latency, latencyReturn   field[time.Duration]
	jitter, jitterReturn     field[time.Duration]
	action                   field[Action]
}

type smtpDraft struct {
	section                              field[struct{}]
	host, helo, user                     field[string]
	port                                 field[int64]
	auth                                 field[Auth]
	starttls                             field[bool]
	password, passwordFile, passwordCred field[string]
}

const day = 24 * time.Hour

// table returns the keys of the file, bound to a draft.
func table(d *draft) []key {
	keys := []key{
		{name: "uplinks", required: true, form: sections[uplinkDraft]{into: &d.uplinks, least: 1, most: MaxUplinks, keys: uplinkKeys, at: func(u *uplinkDraft) *field[struct{}] { return &u.section }},
			doc: "The lines to the internet. Their order gives each its routing table, mark and rule priorities: append new lines at the end, so that the numbers of the others stay."},
		{name: "groups", era: sinceGo, form: sections[groupDraft]{into: &d.groups, most: MaxUplinks, keys: groupKeys, at: func(g *groupDraft) *field[struct{}] { return &g.section }},
			sample: "[{priority_group: 1, failback: move}]",
			doc:    "What is different for some priority groups. Those that are not listed have the defaults."},
		{name: "downlinks", required: true, form: section{&d.downlinks, downlinkKeys(d)},
			doc: "The inside interfaces, whose traffic goes out over the uplinks."},
		{name: "tests", required: true, form: section{&d.tests.section, testKeys(&d.tests)},
			doc: "How it is found out whether a line works: well-known hosts are asked through each line."},
		{name: "log", form: section{&d.log, logKeys(d)},
			doc: "The log file. Console and journal get the same messages."},
		{name: "email", form: section{&d.email, emailKeys(d)},
			doc: "Mails to the administrator when a line changes."},
		{name: "base_table", form: integer(&d.table, 1, 251), fallback: "1", example: "1",
			doc: "Number of the first routing table. With n uplinks, uplink i (from 0) has table base_table+i, which leads to it and nowhere else, and the default route over the selected uplinks is in table base_table+n. All must be below 252, where the system's own tables begin."},
		{name: "base_priority", form: integer(&d.priority, 2, 1<<32-1), fallback: "20000", example: "20000",
			doc: "Priority of the first IP rule. Rules take base_priority-1 to base_priority+2n. Below 32766, the place of table main, a default route in main (left there by a DHCP client) is passed over. The original's files have 40000: there main is asked first and must have no default route."},
		{name: "base_fwmark", form: mark(&d.base, 1, 1<<32-1), fallback: "1", example: "1",
			doc: "First firewall mark: connections of uplink i carry base_fwmark+i. Decimal or hexadecimal."},
		{name: "fwmark_mask", era: sinceGo, form: mark(&d.msk, 1, 1<<32-1), sample: "0xff",
			otherwise: "all ones over the largest mark, at least 0xff",
			doc:       "The bits of marks that are read and written; other software may use the others. All marks must fit into it."},
		{name: "firewall", era: sinceGo, form: choice(&d.firewall, []string{"managed", "manual"}, []Firewall{FirewallManaged, FirewallManual}), fallback: "manual", example: "managed",
			doc: "Who keeps the firewall rules that mark connections and translate addresses. managed: this program, in an nft table of its own, beside the rules that are there. manual: you, with what generate_iptables prints."},
		{name: "balance", era: sinceGo, form: choice(&d.balance, []string{"round_robin", "hash"}, []Balance{BalanceRoundRobin, BalanceHash}), sample: "round_robin",
			otherwise: "round_robin with firewall: managed, else hash",
			doc:       "How new connections are spread over the lines. round_robin: dealt in turn, exactly by weight; only with firewall: managed. hash: by addresses and ports, as the kernel spreads them."},
		{name: "steer_mask", era: sinceGo, form: mark(&d.steerMask, 1, 1<<32-1), sample: "0xff003f00",
			otherwise: "0xff003f00, which is clear of Kubernetes and Tailscale, without the bits of fwmark_mask",
			doc:       "The bits of marks that lead the first packet of a new connection to its line, with firewall: managed. In the marks of connections the two lowest say whether their packets are counted. They must not overlap with fwmark_mask."},
		{name: "paths", era: sinceGo, form: section{&d.paths, pathKeys(d)},
			doc: "Directories, for more than one router on a machine."},
	}
	return append(keys, policyTable(d)...)
}

func uplinkKeys(u *uplinkDraft) []key {
	return []key{
		{name: "interface", required: true, form: interfaceName(&u.iface),
			doc: "Network interface of the line. Each interface can be used once."},
		{name: "type", form: choice(&u.kind, []string{"static", "ppp", "dhcp"}, []Type{Static, PPP, DHCP}), fallback: "static",
			doc: "Where address and gateway come from. static: from this file, or the interface where left out. ppp: from the interface, the gateway is the peer. dhcp (new): the address from the interface, the gateway from what the DHCP client left. With ppp and dhcp both may be absent and change at any time."},
		{name: "ip", form: address(&u.address), otherwise: "read from the interface",
			doc: "Primary address of a static line, source of its SNAT. Not for ppp and dhcp."},
		{name: "gateway", form: address(&u.gateway), otherwise: "the one known for the interface",
			doc: "Router of the provider on a static line. Not for ppp and dhcp. Lines may have the same gateway."},
		{name: "description", form: text(&u.description, 100), otherwise: "the interface's name",
			doc: "Name of the line in messages."},
		{name: "priority_group", form: integer(&u.group, -1000000, 1000000), otherwise: "never used for new outgoing connections; incoming ones still work",
			doc: "Lower is preferred: only the best group with a working line carries new outgoing connections, balanced over its working lines."},
		{name: "default_route", era: since15, form: boolean(&u.defaultRoute), otherwise: "yes if no uplink of the file has a type or priority_group, as files of 2015 have none; otherwise no",
			doc: "The form of 2015 files in place of priority_group: yes is group 1, no is none. Not together with priority_group."},
		{name: "weight", form: integer(&u.weight, 1, 256), fallback: "1",
			doc: "Share of the line within its group: a line of weight 2 gets twice the connections of one of weight 1."},
		{name: "tunnel", era: sinceGo, form: boolean(&u.tunnel), fallback: "no",
			doc: "Whether the line is a tunnel (WireGuard, OpenVPN, GRE, IPsec) that this router itself carries over its other lines. What the router itself sends then uses the best group of the lines that are none, so that a tunnel is never sent into itself."},
		{name: "metered", era: sinceGo, form: boolean(&u.metered), fallback: "no",
			doc: "Whether every byte of the line costs: it is asked each tests.metered_interval while all is calm."},
		{name: "mss_clamp", era: sinceGo, form: boolean(&u.clampMSS), fallback: "no",
			doc: "Whether the size of TCP segments is limited to what the line can carry, for lines with a small MTU (PPPoE, tunnels) where path MTU discovery fails. Only with firewall: managed."},
		{name: "ipv6", era: sinceGo, form: inet6Form{&u.inet6},
			doc: "IPv6 of the line, which is judged and selected by itself. no, the default: there is none. auto: address and router come from router advertisements or DHCPv6. What is fixed, or how addresses are translated, stands in a section."},
		{name: "tests", era: sinceGo, form: section{&u.tests.section, inherited(testKeys(&u.tests))},
			doc: "What is different for this line from the section tests, key by key."},
	}
}

func groupKeys(g *groupDraft) []key {
	return []key{
		{name: "priority_group", era: sinceGo, required: true, form: integer(&g.number, -1000000, 1000000),
			doc: "Number of the group, as its uplinks have it. Each group can be listed once."},
		{name: "failback", era: sinceGo, form: choice(&g.failback, []string{"keep", "move"}, []Failback{FailbackKeep, FailbackMove}), fallback: "keep",
			doc: "What becomes of the connections on less preferred lines when this group carries again. keep: they stay there until they end. move: they are released and begin anew on the lines of this group."},
	}
}

func downlinkKeys(d *draft) []key {
	return []key{
		{name: "lan", required: true, form: list[string]{&d.lan, interfaceName}, sample: "eth0",
			doc: "Interface of the LAN. May be a list."},
		{name: "dmz", form: list[string]{&d.dmz, interfaceName}, sample: "eth4", otherwise: "no DMZ",
			doc: "Interface of the DMZ, with servers that are reached from outside. May be a list, may be blank."},
	}
}

func testKeys(t *testsDraft) []key {
	return []key{
		{name: "ips", form: list[netip.Addr]{&t.ips, host4or6}, otherwise: "only tests.targets are asked", example: "[1.1.1.1, 8.8.8.8, 9.9.9.9, 208.67.222.222, 4.2.2.2, 193.0.14.129]",
			doc: "Hosts to ask by ICMP echo: those of different operators that answer from everywhere. They are asked in random order, over IPv4 or IPv6 by their kind. There must be at least one in ips or targets."},
		{name: "targets", era: sinceGo, form: targetList{&t.targets}, otherwise: "only tests.ips are asked", sample: "[\"tcp://1.1.1.1:443\", \"dns://9.9.9.9/example.com\", {url: \"https://1.1.1.1/\", host: one.one.one.one, status: 200}]",
			doc: "More hosts to ask, each with its method; they and ips make one quorum. icmp: echo. tcp: a connection, a refusal answers too. dns: a query for the name, any answer counts. http and https: a GET; host is the host name sent and verified (without it: the address), status the expected one (without it: any from 200 to 399). gateway: the line's own gateway by ARP or neighbour discovery, in each family. Hosts are addresses: names would be resolved through whichever line works."},
		{name: "required_successful", form: integer(&t.required, 1, 100000), fallback: "1", example: "2",
			doc: "How many targets must answer for a line to be up. At most the number of targets; over IPv6 all of its targets are enough where these are fewer. A target that is silent through all lines loses its vote."},
		{name: "ping_retries", form: integer(&t.retries, 1, 100), fallback: "3", example: "3",
			doc: "Attempts per target before it counts as silent."},
		{name: "interval", form: duration(&t.interval, 10*time.Millisecond, day), fallback: "1s", example: "1s",
			doc: "Time between probes while all is calm. A lost answer or an error has all targets asked at once, whatever the interval; traffic without replies one of them."},
		{name: "metered_interval", era: sinceGo, form: duration(&t.meteredInterval, 10*time.Millisecond, day), fallback: "4s",
			doc: "The interval of metered lines, unless interval is longer or the line has an interval of its own."},
		{name: "timeout", era: sinceGo, form: duration(&t.timeout, 10*time.Millisecond, day), fallback: "2s", example: "2s",
			doc: "Longest wait for one answer. The wait follows the measured round-trip time."},
		{name: "min_timeout", era: sinceGo, form: duration(&t.minTimeout, time.Millisecond, day), fallback: "20ms",
			doc: "Shortest wait for one answer, above the noise of this machine. A line is down only after five times as long without any answer. At most timeout."},
		{name: "rise", era: sinceGo, form: integer(&t.rise, 1, 1000), fallback: "2",
			doc: "Good rounds in a row before a line that was down is up again."},
		{name: "fall", era: sinceGo, form: integer(&t.fall, 1, 1000), fallback: "1",
			doc: "Bad rounds in a row before a line is down."},
		{name: "hold_down", era: sinceGo, form: duration(&t.holdDown, 0, day), fallback: "1s",
			doc: "How long a line that was down must be well before it is up again. Doubles with each time it went down that is not forgotten. 0: no waiting."},
		{name: "max_hold_down", era: sinceGo, form: duration(&t.maxHoldDown, 0, day), fallback: "5m",
			doc: "The longest that a line is held down. At least hold_down."},
		{name: "flap_memory", era: sinceGo, form: duration(&t.flapMemory, time.Second, 366*day), fallback: "10m",
			doc: "Time without going down after which one time is forgotten."},
		{name: "quality", era: sinceGo, form: section{&t.quality.section, qualityKeys(&t.quality)},
			doc: "What loss, latency and jitter a line may have. Each has a value at which a line is bad and another at which it is good again."},
	}
}

func qualityKeys(q *qualityDraft) []key {
	return []key{
		{name: "window", era: sinceGo, form: duration(&q.window, time.Second, day), fallback: "10s",
			doc: "Time over which loss, latency and jitter are measured; for latency and jitter at least five probes."},
		{name: "loss", era: sinceGo, form: integer(&q.loss, 0, 100), fallback: "50",
			doc: "Percent of lost round trips from which a line is bad. Targets that do not answer at all are left to the quorum. 0: loss is not judged."},
		{name: "loss_return", era: sinceGo, form: integer(&q.lossReturn, 0, 100), sample: "20", otherwise: "two fifths of loss",
			doc: "Percent of lost round trips at which it is good again."},
		{name: "latency", era: sinceGo, form: duration(&q.latency, 0, day), sample: "400ms", otherwise: "latency is not judged",
			doc: "Mean round-trip time from which a line is bad. 0: latency is not judged."},
		{name: "latency_return", era: sinceGo, form: duration(&q.latencyReturn, 0, day), sample: "300ms", otherwise: "four fifths of latency",
			doc: "Mean round-trip time at which it is good again."},
		{name: "jitter", era: sinceGo, form: duration(&q.jitter, 0, day), sample: "100ms", otherwise: "jitter is not judged",
			doc: "Mean difference of a round-trip time from the one before, to the same target, from which a line is bad. 0: jitter is not judged."},
		{name: "jitter_return", era: sinceGo, form: duration(&q.jitterReturn, 0, day), sample: "60ms", otherwise: "four fifths of jitter",
			doc: "Mean difference at which it is good again."},
		{name: "action", era: sinceGo, form: choice(&q.action, []string{"down", "weight"}, []Action{ActionDown, ActionWeight}), fallback: "down",
			doc: "What becomes of a bad line. down: it is down. weight: it stays up with a smaller share of the new connections."},
		{name: "weight", era: sinceGo, form: integer(&q.weight, 1, 100), fallback: "25",
			doc: "Percent of its weight that a bad line keeps, with action: weight."},
	}
}

// inherited makes keys that need not be given: what is absent holds as in the section tests.
func inherited(keys []key) []key {
	for i := range keys {
		k := &keys[i]
		if s, ok := k.form.(section); ok {
			k.form = section{s.into, inherited(s.keys)}
			continue
		}
		if k.sample == "" {
			k.sample = cmp.Or(k.example, k.fallback)
		}
		k.fallback, k.example, k.otherwise = "", "", "as in tests"
	}
	return keys
}

func logKeys(d *draft) []key {
	return []key{
		{name: "file", form: filePath(&d.logFile), otherwise: "no log file", example: "/var/log/ftr/ftr.log",
			doc: "Path of the log file."},
		{name: "max_size", form: integer(&d.logSize, 0, 1<<40), fallback: "1048576", example: "1048576",
			doc: "Bytes before the file is rotated. 0: it is never rotated."},
		{name: "old_files", form: integer(&d.logKept, 0, 1000), fallback: "10", example: "10",
			doc: "Rotated files kept."},
	}
}

func pathKeys(d *draft) []key {
	return []key{
		{name: "state", era: sinceGo, form: filePath(&d.state), sample: "/var/lib/ftr", otherwise: "taken from the command line or STATE_DIRECTORY",
			doc: "Directory for what must survive a restart: mail queue, saved sysctls."},
		{name: "runtime", era: sinceGo, form: filePath(&d.runtime), sample: "/run/ftr", otherwise: "taken from the command line or RUNTIME_DIRECTORY",
			doc: "Directory for what must not: sockets, locks."},
	}
}

func emailKeys(d *draft) []key {
	return []key{
		{name: "send", form: boolean(&d.send), fallback: "no", example: "no",
			doc: "Whether mails are sent. If yes, sender, recipients and the mail server's address are needed."},
		{name: "sender", form: mailAddress(&d.sender), otherwise: "none; required if send is yes", example: "router@example.com",
			doc: "Address that the mails come from."},
		{name: "recipients", form: list[string]{&d.recipients, mailAddress}, otherwise: "none; required if send is yes", example: "[admin@example.com]",
			doc: "Addresses that the mails go to."},
		{name: "max_age", era: sinceGo, form: duration(&d.maxAge, time.Minute, 366*day), fallback: "72h", example: "72h",
			doc: "A mail that could not be sent for this long is given up."},
		{name: "smtp_parameters", form: section{&d.smtp.section, smtpKeys(&d.smtp)},
			doc: "The mail server. Keys may be written with a leading colon, as Ruby symbols."},
	}
}

func smtpKeys(s *smtpDraft) []key {
	keys := []key{
		{name: "address", form: host(&s.host), otherwise: "none; required if send is yes", example: "mail.example.com",
			doc: "Host name or address of the mail server."},
		{name: "port", form: integer(&s.port, 1, 65535), fallback: "25", example: "587",
			doc: "TCP port of the mail server: 25, or 587 for submission."},
		{name: "domain", form: host(&s.helo), otherwise: "the host name", sample: "router.example.com",
			doc: "Name that the router gives itself in HELO."},
		{name: "authentication", form: authentication(&s.auth), otherwise: "plain if user_name is given, else none", example: "plain",
			doc: "Mechanism of authentication. May be written as a Ruby symbol, :login."},
		{name: "enable_starttls_auto", form: boolean(&s.starttls), fallback: "yes", example: "yes",
			doc: "Encrypt with STARTTLS where the server offers it."},
		{name: "user_name", form: text(&s.user, 256), otherwise: "no authentication", example: "router",
			doc: "User for authentication."},
		{name: "password", secret: true, form: text(&s.password, 1024), otherwise: "no password in the file", sample: "secret",
			doc: "Password in clear; the file should then be readable by its owner alone. At most one of password, password_file and password_credential may be given."},
		{name: "password_file", secret: true, era: sinceGo, form: filePath(&s.passwordFile), otherwise: "none", example: "/etc/ftr/smtp_password",
			doc: "Path of a file that holds the password, read at the time of sending."},
		{name: "password_credential", secret: true, era: sinceGo, form: credential(&s.passwordCred), otherwise: "none", sample: "smtp_password",
			doc: "Name of the systemd credential that holds the password (LoadCredential= in the unit)."},
	}
	for i := range keys {
		keys[i].symbol = true
	}
	return keys
}
