package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// FuzzParse: whatever the file holds, Parse returns either a configuration or errors, never panics,
// and never shows the password.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{badFiles + "/*.conf", examples + "/*.conf"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			f.Add(mustRead(f, name))
		}
	}
	f.Add([]byte(Example()))
	f.Add([]byte(Generate(nil, nil)))
	f.Add([]byte(policies))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := Parse("fuzz.conf", data)
		checkProblems(t, c, problems)
		if c != nil {
			checkConfig(t, c)
		}
		for _, p := range problems {
			checkSecrets(t, data, p)
		}
	})
}

// checkConfig holds what other packages rely on.
func checkConfig(t *testing.T, c *Config) {
	t.Helper()
	n := uint32(len(c.Uplinks))
	checkConfigTests(t, c.Tests)
	if n < 1 || n > MaxUplinks || len(c.LAN) == 0 {
		t.Errorf("invalid configuration %+v", c)
	}
	tunnels := slices.ContainsFunc(c.Uplinks, func(u Uplink) bool { return u.Tunnel == TunnelYes })
	last := c.Numbers.BasePriority + 2*n + uint32(c.Firewall)
	if tunnels {
		last++
	}
	if b := c.Numbers; (b.OwnTable != 0) != tunnels || b.DefaultTable != b.BaseTable+n || b.DefaultTable > lastTable || b.DefaultPriority != last || b.DefaultPriority < b.BasePriority || b.Mask < 1 {
		t.Errorf("invalid numbers %+v", b)
	}
	checkPolicies(t, c)
	for _, u := range c.Uplinks {
		if u.Name == "" || u.Interface == "" || u.Weight < 1 || u.Weight > 256 || u.Mark == 0 || u.Mark&^c.Numbers.Mask != 0 {
			t.Errorf("invalid uplink %+v", u)
		}
		checkConfigTests(t, u.Tests)
	}
	if c.Email.Enabled && len(c.Email.Lacking()) > 0 {
		t.Errorf("mails cannot be sent: %v", c.Email.Lacking())
	}
}

func checkPolicies(t *testing.T, c *Config) {
	t.Helper()
	if c.Firewall != FirewallManaged && len(c.Policies)+len(c.Sets)+len(c.Forwards)+len(c.Steers) > 0 {
		t.Errorf("policies without a managed firewall: %+v", c)
	}
	for i, p := range c.Policies {
		if p.Number != i+1 || p.Name == "" || len(p.Ways) == 0 {
			t.Errorf("invalid policy %+v", p)
		}
		if _, ok := c.Steer(p.Number, NoUplink); !ok {
			t.Errorf("no steer for policy %+v", p)
		}
		seen := map[int]bool{}
		for _, w := range p.Ways {
			if _, ok := c.Steer(p.Number, w.Uplink); seen[w.Uplink] || w.Uplink < 0 || w.Uplink >= len(c.Uplinks) || w.Weight < 1 || w.Weight > 256 || ok != p.PerLine() {
				t.Errorf("invalid way %+v of policy %+v", w, p)
			}
			seen[w.Uplink] = true
		}
		for _, e := range slices.Concat(p.Match.Sources, p.Match.Destinations) {
			if _, ok := c.Set(e.Set); e.Prefix.IsValid() == ok {
				t.Errorf("invalid endpoint %+v of policy %+v", e, p)
			}
		}
	}
	for _, f := range c.Forwards {
		if len(f.Ports) == 0 || !f.To.IsValid() || len(f.Uplinks) == 0 || len(f.Protocols) == 0 {
			t.Errorf("invalid forward %+v", f)
		}
	}
}

func checkConfigTests(t *testing.T, c Tests) {
	t.Helper()
	if len(c.Targets) < c.Required || c.Required < 1 || c.Retries < 1 || c.Interval <= 0 || c.MinTimeout <= 0 || c.MinTimeout > c.Timeout {
		t.Errorf("invalid tests %+v", c)
	}
	if d := c.Damping; d.Rise < 1 || d.Fall < 1 || d.HoldDown < 0 || d.HoldDown > d.MaxHoldDown || d.FlapMemory <= 0 {
		t.Errorf("invalid damping %+v", d)
	}
	if q := c.Quality; q.Window <= 0 || q.Loss.Return > q.Loss.Leave || q.Latency.Return > q.Latency.Leave || q.Jitter.Return > q.Jitter.Leave || q.WeightPercent < 1 {
		t.Errorf("invalid quality %+v", q)
	}
}

// checkSecrets: the password is not shown. It can only be told apart if it is long and stands once
// in the file.
func checkSecrets(t *testing.T, data []byte, p Problem) {
	t.Helper()
	var file struct {
		Email struct {
			SMTP struct {
				Password string `yaml:"password"`
			} `yaml:"smtp_parameters"`
		} `yaml:"email"`
	}
	if yaml.Unmarshal(data, &file) != nil {
		return
	}
	secret := file.Email.SMTP.Password
	if !regexp.MustCompile(`^[0-9A-Za-z]{6,}$`).MatchString(secret) || strings.Count(string(data), secret) != 1 {
		return
	}
	if shown := p.Render() + p.Value + p.Suggestion; strings.Contains(shown, secret) {
		t.Errorf("password %q is shown: %s", secret, shown)
	}
}
