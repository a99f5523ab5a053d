package config

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTargets(t *testing.T) {
	for text, want := range map[string]Target{
		"9.9.9.9":                        Echo(ip("9.9.9.9")),
		"icmp://9.9.9.9":                 Echo(ip("9.9.9.9")),
		"icmp://9.9.9.9/":                Echo(ip("9.9.9.9")),
		"gateway":                        {Method: Gateway},
		"tcp://1.1.1.1:443":              {Method: TCP, Address: ip("1.1.1.1"), Port: 443},
		"dns://9.9.9.9/example.com":      {Method: DNS, Address: ip("9.9.9.9"), Port: 53, Name: "example.com"},
		"dns://9.9.9.9:5353/.":           {Method: DNS, Address: ip("9.9.9.9"), Port: 5353, Name: "."},
		"http://1.1.1.1":                 {Method: HTTP, Address: ip("1.1.1.1"), Port: 80, Path: "/"},
		"https://1.1.1.1:8443/a/b?c=d&e": {Method: HTTPS, Address: ip("1.1.1.1"), Port: 8443, Path: "/a/b?c=d&e"},
		`{url: "http://1.1.1.1/generate_204", host: connectivity.example, status: 204}`: {Method: HTTP, Address: ip("1.1.1.1"), Port: 80, Name: "connectivity.example", Path: "/generate_204", Status: 204},
		`{url: "https://1.1.1.1/", host: one.one.one.one}`:                              {Method: HTTPS, Address: ip("1.1.1.1"), Port: 443, Name: "one.one.one.one", Path: "/"},
		`{url: gateway}`: {Method: Gateway},
	} {
		quoted := text
		if text[0] != '{' {
			quoted = fmt.Sprintf("%q", text)
		}
		c := parseWith(t, ", targets: ["+quoted+"]", "")
		if got := c.Tests.Targets[2]; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		// As it is written out, it is read back.
		held := targetList{&field[[]field[Target]]{value: []field[Target]{{value: want, state: good}}}}.held()
		if got := parseWith(t, ", targets: "+held, "").Tests.Targets[2]; got != want {
			t.Errorf("%s: written as %s, read as %+v", text, held, got)
		}
	}
}

// TestTargetLists: both lists make one quorum, and either may be left out.
func TestTargetLists(t *testing.T) {
	c := mustParse(t, "targets", []byte("uplinks: [{interface: eth1}]\ndownlinks: {lan: eth0}\ntests:\n  targets: [gateway, tcp://1.1.1.1:443]\n  required_successful: 2\n"))
	want := []Target{{Method: Gateway}, {Method: TCP, Address: ip("1.1.1.1"), Port: 443}}
	if diff := cmp.Diff(want, c.Tests.Targets, exact()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestUplinkTests: each key of a line overrides one of the section tests, alone.
func TestUplinkTests(t *testing.T) {
	c := mustParse(t, "uplinks", []byte(fileOfLines))
	base := testsOf(2, 3, time.Second, 2*time.Second, "1.1.1.1", "8.8.8.8")
	base.Quality.Jitter = Limit[time.Duration]{100 * time.Millisecond, 10 * time.Millisecond}
	base.Quality.Loss = Limit[int]{40, 30}
	metered := base
	metered.Interval = 8 * time.Second
	own := base
	own.Interval, own.Timeout, own.MinTimeout = 30*time.Second, 15*time.Millisecond, 15*time.Millisecond
	own.Quality.Action, own.Quality.Loss = ActionWeight, Limit[int]{10, 4}
	other := base
	other.Targets, other.Required, other.Damping.Rise = []Target{{Method: Gateway}, {Method: TCP, Address: ip("9.9.9.9"), Port: 53}}, 1, 3
	other.Damping.HoldDown, other.Damping.MaxHoldDown = 20*time.Minute, 20*time.Minute
	other.Quality.Latency = Limit[time.Duration]{500 * time.Millisecond, 400 * time.Millisecond}
	other.Quality.Jitter = Limit[time.Duration]{}
	for i, want := range []Tests{base, metered, own, other} {
		if diff := cmp.Diff(want, c.Uplinks[i].Tests, exact()); diff != "" {
			t.Errorf("uplink %d (-want +got)\n%s", i, diff)
		}
		if c.Uplinks[i].Metered != (i == 1 || i == 2) {
			t.Errorf("uplink %d: metered %t", i, c.Uplinks[i].Metered)
		}
	}
	// A minute is more than the interval of metered lines.
	c = mustParse(t, "minute", []byte("uplinks: [{interface: eth1, metered: yes}]\ndownlinks: {lan: eth0}\ntests: {ips: 1.1.1.1, interval: 60}\n"))
	if c.Uplinks[0].Tests.Interval != time.Minute {
		t.Errorf("metered, of a minute: %v", c.Uplinks[0].Tests.Interval)
	}
}

const fileOfLines = `uplinks:
  - {interface: eth1}
  - interface: eth2
    metered: yes
  - interface: eth3
    metered: yes
    tests: {interval: 30s, timeout: 15ms, quality: {action: weight, loss: 10}}
  - interface: eth4
    tests:
      ips: []
      targets: [gateway, "tcp://9.9.9.9:53"]
      required_successful: 1
      rise: 3
      hold_down: 20m
      quality: {latency: 500ms, jitter: 0}
downlinks: {lan: eth0}
tests:
  ips: [1.1.1.1, 8.8.8.8]
  required_successful: 2
  metered_interval: 8s
  quality: {jitter: 100ms, jitter_return: 10ms, loss: 40, loss_return: 30}
`

func TestWordsOfEnumerations(t *testing.T) {
	if got := fmt.Sprint(ActionDown, ActionWeight, ICMP, TCP, DNS, HTTP, HTTPS, Gateway); got != "down weight icmp tcp dns http https gateway" {
		t.Errorf("%s", got)
	}
}
