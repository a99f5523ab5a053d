package config

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ownPolicies = `uplinks:
  - {interface: eth1, priority_group: 1}
  - {interface: eth2, priority_group: 1}
downlinks: {lan: eth0}
tests: {ips: [1.1.1.1]}
firewall: managed
policies:
  - {name: backup, user: [backup, 1001], protocol: tcp, uplinks: eth2}
  - {name: service, cgroup: [/sys/fs/cgroup/system.slice/a.service/, b.slice], uplinks: eth1}
  - {name: mail, router: yes, destination_port: 25, uplinks: eth2}
  - {name: guests, source: 192.168.9.0/24, uplinks: eth2}
`

// Policies for the router itself match nothing else, and the others nothing of its own.
func TestOwnPolicies(t *testing.T) {
	c := mustParse(t, "own.conf", []byte(ownPolicies))
	users := map[string]uint32{"backup": 34}
	full, problems := c.WithUsers(func(name string) (uint32, error) {
		if id, ok := users[name]; ok {
			return id, nil
		}
		return 0, errors.New("unknown user " + name)
	})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff([]User{{"backup", 34}, {"", 1001}}, full.Policies[0].Match.Users); diff != "" {
		t.Errorf("users (-want +got)\n%s", diff)
	}
	if c.Policies[0].Match.Users[0].ID != 0 {
		t.Error("the configuration was changed")
	}
	if diff := cmp.Diff([]string{"b.slice", "system.slice/a.service"}, full.Cgroups()); diff != "" {
		t.Errorf("control groups (-want +got)\n%s", diff)
	}
	full = full.WithCgroups(map[string]uint64{"system.slice/a.service": 44})
	other := ip("203.0.113.9")
	for _, test := range []struct {
		name   string
		packet Packet
		want   string
	}{
		{"user by name", Packet{Own: true, Destination: other, Protocol: 6, User: 34}, "backup"},
		{"user by number", Packet{Own: true, Destination: other, Protocol: 6, User: 1001}, "backup"},
		{"another user", Packet{Own: true, Destination: other, Protocol: 6, User: 1002, DestinationPort: 80}, ""},
		{"another protocol", Packet{Own: true, Destination: other, Protocol: 17, User: 34}, ""},
		{"group", Packet{Own: true, Destination: other, Cgroup: "system.slice/a.service"}, "service"},
		{"below a group", Packet{Own: true, Destination: other, Cgroup: "system.slice/a.service/child"}, "service"},
		{"like a group", Packet{Own: true, Destination: other, Cgroup: "system.slice/a.service2"}, ""},
		{"a group that is not there", Packet{Own: true, Destination: other, Cgroup: "b.slice"}, ""},
		{"port", Packet{Own: true, Destination: other, Protocol: 6, DestinationPort: 25}, "mail"},
		{"port, forwarded", Packet{Source: ip("192.168.1.9"), Destination: other, Protocol: 6, DestinationPort: 25}, ""},
		{"source, own", Packet{Own: true, Source: ip("192.168.9.1"), Destination: other}, ""},
		{"source, forwarded", Packet{Source: ip("192.168.9.1"), Destination: other}, "guests"},
	} {
		got := ""
		if p := full.PolicyFor(test.packet, nil); p != nil {
			got = p.Name
		}
		if got != test.want {
			t.Errorf("%s: policy %q, want %q", test.name, got, test.want)
		}
	}
	own := slices.DeleteFunc(slices.Clone(full.Steers), func(s Steer) bool { return !full.Own(s) })
	if len(own) != 3 {
		t.Errorf("steers of own policies: %v", own)
	}
	if err := compileSchema(t).Validate(asEditor(t, []byte(ownPolicies))); err != nil {
		t.Error(err)
	}
	delete(users, "backup")
	if _, problems := c.WithUsers(func(string) (uint32, error) { return 0, errors.New("unknown user") }); len(problems) != 1 ||
		problems[0].String() != "own.conf:8:27: policies[0].user[0]: backup cannot be found on this host: unknown user" {
		t.Errorf("%v", problems)
	}
}

// No steer has the mark of WireGuard's own packets or that of probes, and two never have the same.
func TestSteerMarks(t *testing.T) {
	for _, mask := range []uint32{0xff003f00, 0xffffff00, 0xf00, 0xc0000000} {
		seen := map[uint32]bool{}
		for place := range uint32(maxSteers(int64(mask))) {
			m := steerMark(place, mask)
			if m == 0 || m&^mask != 0 || m == mask || m == WireGuardMark&mask || seen[m] {
				t.Fatalf("mask %#x, place %d: mark %#x", mask, place, m)
			}
			seen[m] = true
		}
	}
}
