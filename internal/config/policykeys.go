package config

import (
	"net/netip"
	"time"
)

type setDraft struct {
	section  field[struct{}]
	name     field[string]
	family   field[Family]
	prefixes field[[]field[netip.Prefix]]
	file     field[string]
	external field[bool]
}

type policyDraft struct {
	section                     field[struct{}]
	name                        field[string]
	source, destination         field[[]field[Endpoint]]
	inside                      field[[]field[string]]
	protocol, dscp              field[[]field[uint8]]
	sourcePort, destinationPort field[[]field[Ports]]
	mark                        field[Masked]
	router                      field[bool]
	user                        field[[]field[User]]
	cgroup                      field[[]field[Cgroup]]
	ways                        field[[]wayDraft]
	lastResort                  field[LastResort]
	sticky                      field[Sticky]
	stickyTimeout               field[time.Duration]
	balance                     field[Balance]
}

// wayDraft is one entry of a policy's list of uplinks: a line or a priority group.
type wayDraft struct {
	section       field[struct{}]
	uplink        field[string]
	group         field[int64]
	order, weight field[int64]
	at            position
	path          string
}

type forwardDraft struct {
	section  field[struct{}]
	name     field[string]
	protocol field[[]field[uint8]]
	ports    field[[]field[Ports]]
	to       field[netip.AddrPort]
	uplinks  field[[]field[string]]
	hairpin  field[bool]
}

const (
	maxSets     = 1000
	maxForwards = 1000
)

// policyTable returns the keys of the file that are about policies.
func policyTable(d *draft) []key {
	return []key{
		{name: "sets", era: sinceGo, form: sections[setDraft]{into: &d.sets, most: maxSets, keys: setKeys, at: func(s *setDraft) *field[struct{}] { return &s.section }},
			sample: "[{name: bank, prefixes: [203.0.113.0/24]}]",
			doc:    "Named sets of addresses for policies. Only with firewall: managed."},
		{name: "policies", era: sinceGo, form: sections[policyDraft]{into: &d.policies, most: MaxPolicies, keys: policyKeys, at: func(p *policyDraft) *field[struct{}] { return &p.section }},
			sample: "[{name: bank, destination: [203.0.113.0/24], uplinks: [eth1], sticky: source}]",
			doc:    "Which lines some of the forwarded new connections use. The first policy that matches decides; what no policy matches is spread over the priority groups. Only with firewall: managed."},
		{name: "forwards", era: sinceGo, form: sections[forwardDraft]{into: &d.forwards, most: maxForwards, keys: forwardKeys, at: func(f *forwardDraft) *field[struct{}] { return &f.section }},
			sample: "[{protocol: tcp, port: 443, to: 192.168.1.10}]",
			doc:    "Ports of the lines that lead to hosts inside. Answers leave by the line that was asked. Your own filter must let them pass, for example with ct status dnat accept. Only with firewall: managed."},
	}
}

func setKeys(s *setDraft) []key {
	return []key{
		{name: "name", required: true, form: setName(&s.name), sample: "bank",
			doc: "Name by which policies call the set, as @name, and its name in the nft table inet ftr."},
		{name: "family", era: sinceGo, form: choice(&s.family, []string{"ipv4", "ipv6"}, []Family{IPv4, IPv6}), fallback: "ipv4",
			doc: "Address family of the set."},
		{name: "prefixes", era: sinceGo, form: list[netip.Prefix]{&s.prefixes, prefix}, otherwise: "none", sample: "[203.0.113.0/24, 198.51.100.7]",
			doc: "Addresses and prefixes in the set."},
		{name: "file", era: sinceGo, form: filePath(&s.file), otherwise: "no file", sample: "/etc/ftr/bank.txt",
			doc: "Path of a file with more of them, one a line, # begins a comment. It is read at start and at reload."},
		{name: "external", era: sinceGo, form: boolean(&s.external), fallback: "no",
			doc: "Whether others fill the set, such as dnsmasq with nftset=/example.com/4#inet#ftr#NAME. Its contents are then never changed, also not by a reload. prefixes and file must not be given."},
	}
}

func policyKeys(p *policyDraft) []key {
	return []key{
		{name: "name", required: true, form: text(&p.name, 60), sample: "bank",
			doc: "Name of the policy in messages."},
		{name: "source", era: sinceGo, form: list[Endpoint]{&p.source, endpoint}, otherwise: "any", sample: "[192.168.1.0/25, \"@voip\"]",
			doc: "Where the connection comes from."},
		{name: "destination", era: sinceGo, form: list[Endpoint]{&p.destination, endpoint}, otherwise: "any", sample: "[203.0.113.0/24, \"@bank\"]",
			doc: "Where it goes to."},
		{name: "inside", era: sinceGo, form: list[string]{&p.inside, interfaceName}, otherwise: "any but the lines", sample: "[eth0]",
			doc: "Interfaces that it comes in on. They need not be downlinks (VPN), but must not be uplinks."},
		{name: "protocol", era: sinceGo, form: list[uint8]{&p.protocol, protocol}, otherwise: "any; tcp, udp, dccp, sctp and udplite where ports are given", sample: "[tcp, udp]",
			doc: "IP protocols."},
		{name: "source_port", era: sinceGo, form: list[Ports]{&p.sourcePort, ports}, otherwise: "any", sample: "[5060, 10000-20000]",
			doc: "Ports of the one who connects."},
		{name: "destination_port", era: sinceGo, form: list[Ports]{&p.destinationPort, ports}, otherwise: "any", sample: "[80, 443, 8000-8099]",
			doc: "Ports that are connected to."},
		{name: "dscp", era: sinceGo, form: list[uint8]{&p.dscp, dscp}, otherwise: "any", sample: "[ef, af41]",
			doc: "Differentiated services code points (RFC 2474)."},
		{name: "mark", era: sinceGo, form: masked(&p.mark), otherwise: "any", sample: "0x10000/0xff0000",
			doc: "Firewall mark of the packet, under a mask, as other software has set it before. It must be clear of fwmark_mask and steer_mask."},
		{name: "router", era: sinceGo, form: boolean(&p.router), otherwise: "no; yes where user or cgroup is given", sample: "yes",
			doc: "Whether the policy is for what the router itself connects to, and for nothing else. Without it, it is for what the router forwards. What is bound to an interface and refused there is not led elsewhere: packets with all bits of steer_mask in their mark are left alone, as probes are."},
		{name: "user", era: sinceGo, form: list[User]{&p.user, userName}, otherwise: "any", sample: "[backup, 1001]",
			doc: "Users, by name or number, whose programs connect from the router itself."},
		{name: "cgroup", era: sinceGo, form: list[Cgroup]{&p.cgroup, cgroupPath}, otherwise: "any", sample: "[system.slice/backup.service]",
			doc: "Control groups (version 2), by their path below /sys/fs/cgroup, whose programs connect from the router itself. While one is not there, nothing matches it."},
		{name: "uplinks", required: true, form: wayList{&p.ways}, sample: "[eth1, {uplink: eth2, order: 2}]",
			doc: "The lines to use: interfaces, names of lines, or group:NUMBER for the lines of a priority group. Of the entries with the lowest order those that are well share the connections; if none is, the next order is used. Without weight, a line has its own."},
		{name: "last_resort", era: sinceGo, form: choice(&p.lastResort, []string{"default", "block", "bypass"}, []LastResort{LastResortDefault, LastResortBlock, LastResortBypass}), fallback: "default",
			doc: "What becomes of new connections while none of the lines is well. default: as if there were no policy. block: they are refused. bypass: they follow the default route in table main."},
		{name: "sticky", era: sinceGo, form: choice(&p.sticky, []string{"none", "source", "source_destination"}, []Sticky{StickyNone, StickySource, StickySourceDestination}), fallback: "none",
			doc: "Which connections stay on one line: those of one source, or of one source to one destination. When that line dies they move to one other, and stay there."},
		{name: "sticky_timeout", era: sinceGo, form: duration(&p.stickyTimeout, time.Second, 30*day), fallback: "1h",
			doc: "Time after the last new connection until the line is forgotten."},
		{name: "balance", era: sinceGo, form: choice(&p.balance, []string{"round_robin", "hash"}, []Balance{BalanceRoundRobin, BalanceHash}), otherwise: "as balance of the whole", sample: "round_robin",
			doc: "How new connections are spread over the lines of the policy."},
	}
}

func wayKeys(w *wayDraft) []key {
	return []key{
		{name: "uplink", form: text(&w.uplink, 100)},
		{name: "group", form: integer(&w.group, -1000000, 1000000)},
		{name: "order", form: integer(&w.order, 1, 1000), fallback: "1"},
		{name: "weight", form: integer(&w.weight, 1, 256)},
	}
}

func forwardKeys(f *forwardDraft) []key {
	return []key{
		{name: "name", era: sinceGo, form: text(&f.name, 60), otherwise: "protocol and port", sample: "web",
			doc: "Name in messages."},
		{name: "protocol", era: sinceGo, form: list[uint8]{&f.protocol, portProtocol}, fallback: "tcp",
			doc: "tcp, udp, or both."},
		{name: "port", required: true, form: list[Ports]{&f.ports, ports}, sample: "443",
			doc: "Ports as they are outside."},
		{name: "to", required: true, form: hostPort(&f.to), sample: "192.168.1.10:8443",
			doc: "Address of the host inside, and its port where it is another."},
		{name: "uplinks", era: sinceGo, form: list[string]{&f.uplinks, lineName}, otherwise: "all lines", sample: "[eth1]",
			doc: "Lines on which it holds, by interface or name."},
		{name: "hairpin", era: sinceGo, form: boolean(&f.hairpin), fallback: "yes",
			doc: "Whether hosts of lan and dmz reach it by the lines' addresses too. For lines without ip in this file, this is every address of the router but that of the interface that the host is behind."},
	}
}
