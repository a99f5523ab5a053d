package config

import (
	"path/filepath"
	"regexp"
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
	if b := c.Numbers; b.DefaultTable != b.BaseTable+n || b.DefaultTable > lastTable || b.DefaultPriority != b.BasePriority+2*n || b.DefaultPriority < b.BasePriority || b.Mask < 1 {
		t.Errorf("invalid numbers %+v", b)
	}
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
