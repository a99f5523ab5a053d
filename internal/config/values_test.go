package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// base is a short valid file, into which the tests write one key.
const base = `uplinks:
  - {interface: eth1, type: static, priority_group: 1}
  - {interface: eth2, type: static, priority_group: 1}
downlinks: {lan: eth0}
tests: {ips: [1.1.1.1, 8.8.8.8]%s}
%s
`

func parseWith(t *testing.T, tests, rest string) *Config {
	t.Helper()
	return mustParse(t, "test.conf", fmt.Appendf(nil, base, tests, rest))
}

func TestFailback(t *testing.T) {
	for _, test := range []struct {
		rest string
		want Failback // of group 1
	}{
		{"", FailbackKeep}, {"groups:", FailbackKeep}, {"groups: []", FailbackKeep}, {"groups: [{priority_group: 1}]", FailbackKeep},
		{"groups: [{priority_group: 1, failback: keep}]", FailbackKeep}, {"groups: [{priority_group: 1, failback: move}]", FailbackMove},
	} {
		c := parseWith(t, "", test.rest)
		if got := c.Failback(1); got != test.want {
			t.Errorf("%q: failback of group 1 is %s, want %s", test.rest, got, test.want)
		}
		if got := c.Failback(2); got != FailbackKeep {
			t.Errorf("%q: failback of a group that is not listed is %s", test.rest, got)
		}
	}
}

func TestParseInteger(t *testing.T) {
	for _, test := range []struct {
		text string
		want int64
	}{
		{"7", 7}, {"-3", -3}, {"+7", 7}, {"0", 0}, {" 7 ", 7}, {"1_000", 1000}, {"0xff", 255}, {"0XFF", 255}, {"9223372036854775807", 1<<63 - 1},
	} {
		if got, f := parseInteger(test.text); got != test.want || !f.none() {
			t.Errorf("parseInteger(%q) = %d, %v, want %d", test.text, got, f, test.want)
		}
	}
	for _, text := range []string{"", "010", "00", "-010", "1,000", "1.0", "1e3", "0x", "0xg", "yes", "1 0", "1__0", "_1", "1_", "0b1", "0o7", "9223372036854775808", "٣"} {
		if got, f := parseInteger(text); f.none() {
			t.Errorf("parseInteger(%q) = %d, want a fault", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
	}{
		{"60", time.Minute}, {"0.5", 500 * time.Millisecond}, {".5", 500 * time.Millisecond}, {"2.", 2 * time.Second}, {"1_000", 1000 * time.Second},
		{"500ms", 500 * time.Millisecond}, {"2s", 2 * time.Second}, {"1m", time.Minute}, {"1h30m", 90 * time.Minute}, {"-5", -5 * time.Second}, {"0", 0},
	} {
		if got, f := parseDuration(test.text); got != test.want || !f.none() {
			t.Errorf("parseDuration(%q) = %s, %v, want %s", test.text, got, f, test.want)
		}
	}
	for _, text := range []string{"", "soon", "5 s", "1d", "1:30", "060", "1,5", ".", "1e3", ".inf", "NaN", "5sec", "1_", strings.Repeat("9", 400)} {
		if got, f := parseDuration(text); f.none() {
			t.Errorf("parseDuration(%q) = %s, want a fault", text, got)
		}
	}
}

func TestSpell(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0s": 0, "10ms": 10 * time.Millisecond, "2s": 2 * time.Second, "1m": time.Minute, "1m30s": 90 * time.Second, "72h": 72 * time.Hour, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute,
	} {
		if got := spell(d); got != text {
			t.Errorf("spell(%v) = %q, want %q", d, got, text)
		}
	}
}

// TestQuotedNumbers: quotes do not change what somebody means by a number.
func TestQuotedNumbers(t *testing.T) {
	c := parseWith(t, `, interval: "60", timeout: '1.5', ping_retries: "2"`, `base_table: "5"`)
	want := testsOf(1, 2, time.Minute, 1500*time.Millisecond, "1.1.1.1", "8.8.8.8")
	if diff := cmp.Diff(want, c.Tests, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.Numbers.BaseTable != 5 {
		t.Errorf("base_table: %d, want 5", c.Numbers.BaseTable)
	}
}

func TestBooleans(t *testing.T) {
	const needs = "\n  sender: a@example.com\n  recipients: b@example.com\n  smtp_parameters: {address: mail.example.com}"
	for word, want := range map[string]bool{
		"yes": true, "Yes": true, "on": true, "TRUE": true, "true": true, `"yes"`: true, "!!bool true": true,
		"no": false, "No": false, "off": false, "OFF": false, "false": false, "'no'": false, "": false, "~": false, "null": false,
	} {
		c := parseWith(t, "", "email:\n  send: "+word+needs)
		if c.Email.Enabled != want {
			t.Errorf("send: %s gives %t, want %t", word, c.Email.Enabled, want)
		}
	}
}

func TestAuthentication(t *testing.T) {
	for _, test := range []struct {
		words string
		want  Auth
	}{
		{":login", AuthLogin}, {"login", AuthLogin}, {"LOGIN", AuthLogin}, {`":plain"`, AuthPlain}, {"plain", AuthPlain}, {":cram_md5", AuthCRAMMD5},
		{"cram-md5", AuthCRAMMD5}, {"none", AuthNone}, {":none", AuthNone}, {"", AuthNone}, {"!ruby/symbol login", AuthLogin},
		{"none, user_name: me", AuthNone}, {"~, user_name: me", AuthPlain},
	} {
		c := parseWith(t, "", "email: {smtp_parameters: {authentication: "+test.words+"}}")
		if c.Email.SMTP.Auth != test.want {
			t.Errorf("authentication: %s gives %d, want %d", test.words, c.Email.SMTP.Auth, test.want)
		}
	}
}

func TestPasswordsAreText(t *testing.T) {
	for text, want := range map[string]string{
		"12345678": "12345678", "007": "007", "yes": "yes", `"#x: y"`: "#x: y", "1.50": "1.50", "!!str 5": "5", "2020-01-01": "2020-01-01", "'<<'": "<<",
	} {
		c := parseWith(t, "", "email: {smtp_parameters: {password: "+text+"}}")
		if got := c.Email.SMTP.Password.Reveal(); got != want {
			t.Errorf("password: %s gives %q, want %q", text, got, want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	c := parseWith(t, "", "email: {smtp_parameters: {password: hunter2}}")
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Email.SMTP.Password
	text := fmt.Sprintf("%v %+v %#v %s %d %x %q %v", c, c, c, p, p, p, p, &p) + fmt.Sprint(c.Email) + string(asJSON)
	if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
		t.Errorf("printing the configuration shows the password: %s", text)
	}
}

func TestGroups(t *testing.T) {
	type group struct {
		grouped bool
		group   int
	}
	for _, test := range []struct {
		name, first, second string
		want                [2]group
	}{
		{"2015, default", "", "", [2]group{{true, 1}, {true, 1}}},
		{"2015, explicit", "default_route: yes", "default_route: no", [2]group{{true, 1}, {}}},
		{"2015, half", "", "default_route: no", [2]group{{true, 1}, {}}},
		{"2016, half", "type: static, priority_group: 3", "type: ppp", [2]group{{true, 3}, {}}},
		{"2016 without type", "priority_group: 0", "", [2]group{{true, 0}, {}}},
		{"mixed", "priority_group: 2", "default_route: yes", [2]group{{true, 2}, {true, 1}}},
		{"type makes it 2016", "type: dhcp, default_route: yes", "", [2]group{{true, 1}, {}}},
	} {
		c := mustParse(t, test.name, fmt.Appendf(nil, "uplinks: [{interface: eth1, %s}, {interface: eth2, %s}]\ndownlinks: {lan: eth0}\ntests: {ips: 1.1.1.1}\n", test.first, test.second))
		got := [2]group{{c.Uplinks[0].Grouped, c.Uplinks[0].Group}, {c.Uplinks[1].Grouped, c.Uplinks[1].Group}}
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		file string
		want Numbers
	}{
		{"base_priority: 2", Numbers{1, 2, 1, 0xff, 3, 6, 1, 0, 0, 0, 0}},
		{"base_priority: 32761", Numbers{1, 32761, 1, 0xff, 3, 32765, 32760, 0, 0, 0, 0}},
		{"base_priority: 32768", Numbers{1, 32768, 1, 0xff, 3, 32772, 0, 0, 0, 0, 0}},
		{"base_priority: 4294967291", Numbers{1, 4294967291, 1, 0xff, 3, 4294967295, 0, 0, 0, 0, 0}},
		{"base_table: 249", Numbers{249, 20000, 1, 0xff, 251, 20004, 19999, 0, 0, 0, 0}},
		{"base_fwmark: 0xff", Numbers{1, 20000, 0xff, 0x1ff, 3, 20004, 19999, 0, 0, 0, 0}},
		{"base_fwmark: 254", Numbers{1, 20000, 254, 0xff, 3, 20004, 19999, 0, 0, 0, 0}},
		{"base_fwmark: 0xfffffffe", Numbers{1, 20000, 0xfffffffe, 0xffffffff, 3, 20004, 19999, 0, 0, 0, 0}},
		{"base_fwmark: 0x100\nfwmark_mask: 0x101", Numbers{1, 20000, 0x100, 0x101, 3, 20004, 19999, 0, 0, 0, 0}},
		{"firewall: managed", Numbers{1, 20000, 1, 0xff, 3, 20005, 19999, 0xff003f00, 20004, 0, 0}},
		{"firewall: managed\nbase_priority: 32760", Numbers{1, 32760, 1, 0xff, 3, 32765, 32759, 0xff003f00, 32764, 0, 0}},
		{"firewall: managed\nbase_fwmark: 0x100", Numbers{1, 20000, 0x100, 0x1ff, 3, 20005, 19999, 0xff003e00, 20004, 0, 0}},
		{"firewall: managed\nsteer_mask: 0xf0000000", Numbers{1, 20000, 1, 0xff, 3, 20005, 19999, 0xf0000000, 20004, 0, 0}},
		{"fwmark_mask: 3", Numbers{1, 20000, 1, 3, 3, 20004, 19999, 0, 0, 0, 0}},
	} {
		if diff := cmp.Diff(test.want, parseWith(t, "", test.file).Numbers); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.file, diff)
		}
	}
}

func TestClosest(t *testing.T) {
	words := names(uplinkKeys(new(uplinkDraft)))
	for word, want := range map[string]string{
		"gatway": "gateway", "wieght": "weight", "Interface": "interface", "priority-group": "priority_group", "default route": "default_route",
		":type": "type", "ipp": "ip", "colour": "", "": "", strings.Repeat("weight", 10000): "",
	} {
		if got := closest(word, words); got != want {
			t.Errorf("closest(%.20q) = %q, want %q", word, got, want)
		}
	}
}
