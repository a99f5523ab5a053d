package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExample(t *testing.T) {
	c := mustParse(t, "example", []byte(Example()))
	want := []Uplink{
		{Index: 0, Name: "Fibre", Interface: "eth1", Type: Static, Address: ip("192.0.2.2"), Gateway: ip("192.0.2.1"), Grouped: true, Group: 1, Weight: 1, Table: 1, Mark: 1, AddressPriority: 20003, MarkPriority: 20000},
		{Index: 1, Name: "DSL", Interface: "ppp0", Type: PPP, Grouped: true, Group: 1, Weight: 1, Table: 2, Mark: 2, AddressPriority: 20004, MarkPriority: 20001},
		{Index: 2, Name: "Cable", Interface: "eth2", Type: DHCP, Grouped: true, Group: 1, Weight: 1, Table: 3, Mark: 3, AddressPriority: 20005, MarkPriority: 20002},
	}
	for i := range want {
		want[i].Tests = c.Tests
	}
	if diff := cmp.Diff(want, c.Uplinks, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !slices.Equal(c.LAN, []string{"eth0"}) || c.Email.Enabled || c.HasInlinePassword() || len(c.Email.Lacking()) != 0 {
		t.Errorf("inside interfaces %v, email %+v", c.LAN, c.Email)
	}
	for _, k := range allKeys(table(new(draft)), "") {
		if k.era != since15 && !strings.Contains(Example(), k.name+":") {
			t.Errorf("key %s is not in the example", k.path)
		}
	}
}

// TestExampleUncommented: what stands in the example as a comment is valid too.
func TestExampleUncommented(t *testing.T) {
	text := strings.ReplaceAll(Example(), "    password_file:", "    # password_file:")
	for _, name := range []string{"dmz", "domain", "password_credential", "fwmark_mask", "state", "runtime", "targets", "metered_interval",
		"min_timeout", "rise", "fall", "hold_down", "max_hold_down", "flap_memory", "window", "loss", "loss_return", "latency",
		"latency_return", "jitter", "jitter_return", "action", "weight"} {
		if !strings.Contains(text, "# "+name+": ") {
			t.Errorf("%s is not a comment of the example", name)
		}
		text = strings.ReplaceAll(text, "# "+name+": ", name+": ")
	}
	c := mustParse(t, "uncommented", []byte(text))
	if c.Numbers.Mask != 0xff || c.Paths.State != "/var/lib/ftr" || c.Paths.Runtime != "/run/ftr" || !slices.Equal(c.DMZ, []string{"eth4"}) || c.Email.SMTP.PasswordCredential == "" {
		t.Errorf("%+v", c)
	}
}

func found() []Found {
	return []Found{
		{Interface: "enp1s0", Type: Static, Address: ip("198.51.100.7"), Gateway: ip("198.51.100.1"), Description: "Line 1: \"fast\"\x1b[31m", Guess: "Guessed: has the default\nroute."},
		{Interface: "eth0.7", Type: Static, Description: "yes"},
		{Interface: "ppp0", Type: PPP, Address: ip("203.0.113.9"), Gateway: ip("203.0.113.1"), Description: "# DSL"},
		{Interface: "007", Type: DHCP},
	}
}

func TestGenerate(t *testing.T) {
	c := mustParse(t, "generated", []byte(Generate(found(), []string{"lan0", "br-lan"})))
	type line struct{ name, iface, kind, address, gateway string }
	var got []line
	for _, u := range c.Uplinks {
		got = append(got, line{u.Name, u.Interface, u.Type.String(), u.Address.String(), u.Gateway.String()})
	}
	const none = "invalid IP"
	want := []line{
		{"Line 1: \"fast\" [31m", "enp1s0", "static", "198.51.100.7", "198.51.100.1"},
		{"yes", "eth0.7", "static", none, none},
		{"# DSL", "ppp0", "ppp", none, none},
		{"007", "007", "dhcp", none, none},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !slices.Equal(c.LAN, []string{"lan0", "br-lan"}) {
		t.Errorf("LAN %v", c.LAN)
	}
	if text := Generate(found(), nil); !strings.Contains(text, "  # Guessed: has the default route.\n  - interface: enp1s0\n") {
		t.Errorf("the guess is not the comment of the uplink:\n%s", text)
	}
}

// TestGenerateIPv6: what is proposed for a line that has IPv6 is a comment, and holds where it is followed.
func TestGenerateIPv6(t *testing.T) {
	lines := found()
	lines[1].Address6, lines[1].Gateway6 = ip("2001:db8::2"), ip("fe80::1")
	lines[3].Address6 = ip("2001:db8:3::2")
	text := Generate(lines, []string{"lan0"})
	for _, want := range []string{"(address 2001:db8::2, router", "(address 2001:db8:3::2)"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if c := mustParse(t, "as it is", []byte(text)); len(c.Families()) != 1 {
		t.Errorf("the families are %v", c.Families())
	}
	text = strings.Replace(text, "ips: [1.1.1.1,", `ips: ["2606:4700:4700::1111", "2001:4860:4860::8888", 1.1.1.1,`, 1)
	c := mustParse(t, "followed", []byte(strings.ReplaceAll(text, "    # ipv6: auto\n", "    ipv6: auto\n")))
	for i, u := range c.Uplinks {
		if u.Inet6.On != lines[i].Address6.IsValid() {
			t.Errorf("IPv6 of %s: %t", u.Name, u.Inet6.On)
		}
	}
}

// TestGenerateNothing: where nothing was found, the problems say what is to be filled in.
func TestGenerateNothing(t *testing.T) {
	for _, test := range []struct {
		found []Found
		lan   []string
		want  []string
	}{
		{nil, nil, []string{"uplinks", "downlinks.lan"}},
		{nil, []string{"eth0"}, []string{"uplinks"}},
		{found(), nil, []string{"downlinks.lan"}},
	} {
		c, problems := Parse("generated", []byte(Generate(test.found, test.lan)))
		var got []string
		for _, p := range problems {
			got = append(got, p.Path)
			if p.Message != "is empty" {
				t.Errorf("message %q, want that it is empty", p)
			}
		}
		if c != nil || !slices.Equal(got, test.want) {
			t.Errorf("problems %v, want %v", problems, test.want)
		}
	}
}

// row is a key with its path, for tests over the whole table.
type row struct {
	key
	path string
}

func allKeys(keys []key, path string) []row {
	var rows []row
	for _, k := range keys {
		rows = append(rows, row{k, join(path, k.name)})
		if inner, ok := k.inner(); ok {
			rows = append(rows, allKeys(inner, join(path, k.name))...)
		}
	}
	return rows
}

// TestTable: every row is documented, says what holds without the key, and has a default and
// examples that its own form accepts.
func TestTable(t *testing.T) {
	for _, k := range allKeys(table(new(draft)), "") {
		_, isSection := k.inner()
		if k.doc == "" || !strings.HasSuffix(k.doc, ".") {
			t.Errorf("%s: doc %q is no sentence", k.path, k.doc)
		}
		if says := k.required || k.fallback != "" || k.otherwise != ""; says == isSection && !k.required {
			t.Errorf("%s: required %t, default %q, otherwise %q", k.path, k.required, k.fallback, k.otherwise)
		}
		for _, text := range []string{k.fallback, k.example, k.sample} {
			if text == "" || isSection {
				continue
			}
			w := &walker{source: new(source)}
			n, p := readTree(fmt.Appendf(nil, "%s\n", text))
			if p != nil {
				t.Fatalf("%s: %q: %v", k.path, text, p)
			}
			k.form.read(w, n, place{path: k.path})
			for _, p := range w.problems {
				t.Errorf("%s: %v", k.path, p)
			}
		}
	}
}
