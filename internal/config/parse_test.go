package config

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the files that are made from the key table, and the golden messages")

const examples = "../../docs/examples"

func exact() cmp.Options {
	return cmp.Options{
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
		cmp.Comparer(func(a, b Secret) bool { return a == b }),
		cmpopts.IgnoreUnexported(Config{}), // where in the file things stand
	}
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mustParse parses what has to be without any problem.
func mustParse(t *testing.T, name string, data []byte) *Config {
	t.Helper()
	c, problems := Parse(name, data)
	for _, p := range problems {
		t.Error(p.Render())
	}
	if c == nil {
		t.FailNow()
	}
	return c
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func echoes(list ...string) []Target {
	var targets []Target
	for _, s := range list {
		targets = append(targets, Echo(ip(s)))
	}
	return targets
}

// testsOf are tests with the defaults of a file that says nothing else.
func testsOf(required, retries int, interval, timeout time.Duration, targets ...string) Tests {
	return Tests{
		Targets: echoes(targets...), Required: required, Retries: retries, Interval: interval, Timeout: timeout, MinTimeout: 20 * time.Millisecond,
		Damping: Damping{Rise: 2, Fall: 1, HoldDown: time.Second, MaxHoldDown: 5 * time.Minute, FlapMemory: 10 * time.Minute},
		Quality: Quality{Window: 10 * time.Second, Loss: Limit[int]{50, 20}, WeightPercent: 25},
	}
}

func originalTests() Tests {
	return testsOf(4, 1, time.Minute, 2*time.Second, "8.8.8.8", "8.8.4.4", "208.67.222.222", "208.67.220.220", "4.2.2.2", "4.2.2.3")
}

// sameTests gives each uplink the tests of the file.
func sameTests(c *Config) *Config {
	for i := range c.Uplinks {
		c.Uplinks[i].Tests = c.Tests
	}
	return c
}

func TestParseForm2015(t *testing.T) {
	name := filepath.Join(examples, "2015.conf")
	got, problems := Parse(name, mustRead(t, name))
	// STARTTLS is off in this file, as it often was.
	if len(problems) != 1 || problems[0].Severity != Warning || problems[0].Path != "email.smtp_parameters.enable_starttls_auto" {
		t.Errorf("problems: %v", problems)
	}
	want := &Config{
		Uplinks: []Uplink{
			{Index: 0, Name: "Blue Telecom", Interface: "eth1", Address: ip("198.51.100.10"), Gateway: ip("198.51.100.9"), Grouped: true, Group: 1, Weight: 1, Table: 1, Mark: 1, AddressPriority: 40000, MarkPriority: 40003},
			{Index: 1, Name: "Green Cable", Interface: "eth2", Address: ip("203.0.113.34"), Gateway: ip("203.0.113.33"), Grouped: true, Group: 1, Weight: 2, Table: 2, Mark: 2, AddressPriority: 40001, MarkPriority: 40004},
			{Index: 2, Name: "Servers only", Interface: "eth3", Address: ip("192.0.2.66"), Gateway: ip("192.0.2.65"), Weight: 1, Table: 3, Mark: 3, AddressPriority: 40002, MarkPriority: 40005},
		},
		LAN: []string{"eth0"}, Tests: originalTests(),
		Log: Log{File: "/var/log/fault_tolerant_router.log", MaxSize: 1024000, OldFiles: 10},
		Email: Email{
			Enabled: true, Sender: "router@branch.example", Recipients: []string{"admin@branch.example", "helpdesk@branch.example"}, MaxAge: 72 * time.Hour,
			SMTP: SMTP{Host: "smtp.branch.example", Port: 25, HELO: "branch.example", Auth: AuthLogin, User: "router", Password: NewSecret("correct horse")},
		},
		Numbers: Numbers{BaseTable: 1, BasePriority: 40000, BaseMark: 1, Mask: 0xff, DefaultTable: 4, DefaultPriority: 40006},
	}
	if diff := cmp.Diff(sameTests(want), got, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !got.HasInlinePassword() {
		t.Error("HasInlinePassword: false, want true")
	}
}

func TestParseForm2016(t *testing.T) {
	name := filepath.Join(examples, "2016.conf")
	got := mustParse(t, name, mustRead(t, name))
	want := &Config{
		Uplinks: []Uplink{
			{Index: 0, Name: "Blue Telecom", Interface: "eth1", Address: ip("198.51.100.10"), Gateway: ip("198.51.100.9"), Grouped: true, Group: 1, Weight: 1, Table: 1, Mark: 1, AddressPriority: 40000, MarkPriority: 40004},
			{Index: 1, Name: "Green DSL", Interface: "ppp0", Type: PPP, Grouped: true, Group: 1, Weight: 2, Table: 2, Mark: 2, AddressPriority: 40001, MarkPriority: 40005},
			{Index: 2, Name: "Mobile backup", Interface: "ppp1", Type: PPP, Grouped: true, Group: 2, Weight: 1, Table: 3, Mark: 3, AddressPriority: 40002, MarkPriority: 40006},
			{Index: 3, Name: "Servers only", Interface: "eth3", Address: ip("192.0.2.66"), Gateway: ip("192.0.2.65"), Weight: 1, Table: 4, Mark: 4, AddressPriority: 40003, MarkPriority: 40007},
		},
		LAN: []string{"eth0"}, DMZ: []string{"eth4"}, Tests: originalTests(),
		Log: Log{File: "/var/log/fault_tolerant_router.log", MaxSize: 1024000, OldFiles: 10},
		Email: Email{
			Sender: "router@branch.example", Recipients: []string{"admin@branch.example"}, MaxAge: 72 * time.Hour,
			SMTP: SMTP{Host: "smtp.branch.example", Port: 587, HELO: "branch.example", Auth: AuthCRAMMD5, STARTTLS: true, User: "router", Password: NewSecret("correct horse")},
		},
		Numbers: Numbers{BaseTable: 1, BasePriority: 40000, BaseMark: 1, Mask: 0xff, DefaultTable: 5, DefaultPriority: 40008},
	}
	if diff := cmp.Diff(sameTests(want), got, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseMinimal(t *testing.T) {
	name := filepath.Join(examples, "minimal.conf")
	got := mustParse(t, name, mustRead(t, name))
	want := &Config{
		Uplinks: []Uplink{
			{Index: 0, Name: "eth1", Interface: "eth1", Type: DHCP, Grouped: true, Group: 1, Weight: 1, Table: 1, Mark: 1, AddressPriority: 20000, MarkPriority: 20002},
			{Index: 1, Name: "eth2", Interface: "eth2", Type: DHCP, Grouped: true, Group: 1, Weight: 1, Table: 2, Mark: 2, AddressPriority: 20001, MarkPriority: 20003},
		},
		LAN:     []string{"eth0"},
		Tests:   testsOf(1, 3, time.Second, 2*time.Second, "1.1.1.1", "8.8.8.8", "9.9.9.9"),
		Log:     Log{MaxSize: 1 << 20, OldFiles: 10},
		Email:   Email{MaxAge: 72 * time.Hour, SMTP: SMTP{Port: 25, STARTTLS: true}},
		Numbers: Numbers{BaseTable: 1, BasePriority: 20000, BaseMark: 1, Mask: 0xff, DefaultTable: 3, DefaultPriority: 20004, SuppressPriority: 19999},
	}
	if diff := cmp.Diff(sameTests(want), got, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.HasInlinePassword() {
		t.Error("HasInlinePassword: true, want false")
	}
}

func TestParseFull(t *testing.T) {
	name := filepath.Join(examples, "full.conf")
	got := mustParse(t, name, mustRead(t, name))
	want := &Config{
		Uplinks: []Uplink{
			{Index: 0, Name: "Fibre", Interface: "eth1", Address: ip("198.51.100.10"), Gateway: ip("198.51.100.9"), Grouped: true, Group: 1, Weight: 3, Table: 101, Mark: 0x100, AddressPriority: 10000, MarkPriority: 10004},
			{Index: 1, Name: "DSL: second floor", Interface: "ppp0", Type: PPP, Grouped: true, Group: 1, Weight: 1, Table: 102, Mark: 0x101, AddressPriority: 10001, MarkPriority: 10005},
			{Index: 2, Name: "LTE", Interface: "eth2.200", Type: DHCP, Grouped: true, Group: 2, Weight: 1, Table: 103, Mark: 0x102, AddressPriority: 10002, MarkPriority: 10006},
			{Index: 3, Name: "br-servers", Interface: "br-servers", Weight: 1, Table: 104, Mark: 0x103, AddressPriority: 10003, MarkPriority: 10007},
		},
		LAN: []string{"eth0", "wlan0"}, DMZ: []string{"eth4"},
		Tests: testsOf(2, 2, 500*time.Millisecond, 800*time.Millisecond, "1.1.1.1", "8.8.8.8", "9.9.9.9", "208.67.222.222"),
		Log:   Log{File: "/var/log/ftr/router.log", OldFiles: 3},
		Email: Email{
			Enabled: true, Sender: "router@example.com", Recipients: []string{"admin@example.com", "night-shift@example.com"}, MaxAge: 12 * time.Hour,
			SMTP: SMTP{Host: "mail.example.com", Port: 587, HELO: "router.example.com", Auth: AuthLogin, STARTTLS: true, User: "router", PasswordCredential: "smtp_password"},
		},
		Numbers: Numbers{BaseTable: 101, BasePriority: 10000, BaseMark: 0x100, Mask: 0x3ff, DefaultTable: 105, DefaultPriority: 10008, SuppressPriority: 9999},
		Paths:   Paths{State: "/var/lib/ftr/branch", Runtime: "/run/ftr/branch"},
	}
	if diff := cmp.Diff(sameTests(want), got, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The directories are known where other keys, or one of them, are refused.
func TestReadPaths(t *testing.T) {
	for text, want := range map[string]Paths{
		"paths: {state: /var/x, runtime: /run/x}\nuplinks: 7\nnonsense: 1\n": {State: "/var/x", Runtime: "/run/x"},
		"paths: {state: relative, runtime: /run/x}":                          {Runtime: "/run/x"},
		"paths: 3":                           {},
		"paths: {runtime: /run/x":            {},
		"":                                   {},
		"\ufeffpaths: {runtime: /run/bom}\n": {Runtime: "/run/bom"},
	} {
		if got := ReadPaths([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
