package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
)

var moment = time.Date(2026, 3, 1, 14, 5, 6, 789e6, time.FixedZone("", 3600))

func TestLines(t *testing.T) {
	tests := []struct {
		name                   string
		level                  slog.Level
		message                string
		attrs                  []slog.Attr
		console, journal, file string
	}{{
		name:    "plain",
		message: "started",
		console: "14:05:06.789 INFO  started\n",
		journal: "<6>started\n",
		file:    "2026-03-01T14:05:06.789+01:00 INFO  started\n",
	}, {
		name:    "values",
		level:   slog.LevelWarn,
		message: "uplink down",
		attrs: []slog.Attr{
			slog.String("uplink", "my dsl"), slog.String("empty", ""), slog.String("equal", "a=b"),
			slog.Int("weight", 3), slog.Duration("for", 900*time.Millisecond), slog.Bool("used", true),
			slog.Any("address", netip.MustParseAddr("192.0.2.1")), slog.Any("err", errors.New("no route")),
			slog.Any("nothing", nil), slog.Time("since", moment), slog.Any("list", []string{"a", "b"}),
		},
		console: `14:05:06.789 WARN  uplink down uplink="my dsl" empty="" equal="a=b" weight=3 for=900ms used=true address=192.0.2.1 err="no route" nothing=<nil> since=2026-03-01T14:05:06.789+01:00 list="[a b]"` + "\n",
		journal: `<4>uplink down uplink="my dsl" empty="" equal="a=b" weight=3 for=900ms used=true address=192.0.2.1 err="no route" nothing=<nil> since=2026-03-01T14:05:06.789+01:00 list="[a b]"` + "\n",
		file:    `2026-03-01T14:05:06.789+01:00 WARN  uplink down uplink="my dsl" empty="" equal="a=b" weight=3 for=900ms used=true address=192.0.2.1 err="no route" nothing=<nil> since=2026-03-01T14:05:06.789+01:00 list="[a b]"` + "\n",
	}, {
		name:    "several lines",
		level:   slog.LevelError,
		message: "Uplinks status change\ndsl: up --> down\r\n\tcable: up\n",
		attrs:   []slog.Attr{slog.Int("cycle", 7)},
		console: "14:05:06.789 ERROR Uplinks status change cycle=7\n                   dsl: up --> down\\r\n                   \tcable: up\n",
		journal: "<3>Uplinks status change cycle=7\n<3>    dsl: up --> down\\r\n<3>    \tcable: up\n",
		file:    "2026-03-01T14:05:06.789+01:00 ERROR Uplinks status change cycle=7\n    dsl: up --> down\\r\n    \tcable: up\n",
	}, {
		name:    "hostile",
		level:   slog.LevelDebug,
		message: "reply \x1b[2J\x07 \xff \u202egnp.exe ünï ↯",
		attrs:   []slog.Attr{slog.String("text", "a\n<0>forged\x9b"), slog.String("k\x1b=", "\u200b")},
		console: `14:05:06.789 DEBUG reply \x1b[2J\a \xff \u202egnp.exe ünï ↯ text="a\n<0>forged\x9b" "k\x1b="="\u200b"` + "\n",
		journal: `<7>reply \x1b[2J\a \xff \u202egnp.exe ünï ↯ text="a\n<0>forged\x9b" "k\x1b="="\u200b"` + "\n",
		file:    `2026-03-01T14:05:06.789+01:00 DEBUG reply \x1b[2J\a \xff \u202egnp.exe ünï ↯ text="a\n<0>forged\x9b" "k\x1b="="\u200b"` + "\n",
	}, {
		name:    "groups",
		message: "step",
		attrs: []slog.Attr{
			slog.Group("probe", slog.String("target", "8.8.8.8"), slog.Group("rtt", slog.Int("ms", 12))),
			slog.Group("", slog.Int("inline", 1)), slog.Group("empty"), {},
		},
		console: "14:05:06.789 INFO  step probe.target=8.8.8.8 probe.rtt.ms=12 inline=1\n",
		journal: "<6>step probe.target=8.8.8.8 probe.rtt.ms=12 inline=1\n",
		file:    "2026-03-01T14:05:06.789+01:00 INFO  step probe.target=8.8.8.8 probe.rtt.ms=12 inline=1\n",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, form := range []struct {
				layout layout
				want   string
			}{{consoleLayout{}, tt.console}, {journalLayout{}, tt.journal}, {fileLayout{}, tt.file}} {
				var got bytes.Buffer
				record := slog.NewRecord(moment, tt.level, tt.message, 0)
				record.AddAttrs(tt.attrs...)
				if err := newHandler(&got, form.layout, slog.LevelDebug).Handle(t.Context(), record); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(form.want, got.String()); diff != "" {
					t.Errorf("%T (-want +got):\n%s", form.layout, diff)
				}
			}
		})
	}
}

func TestColor(t *testing.T) {
	var got bytes.Buffer
	record := slog.NewRecord(moment, slog.LevelWarn, "down", 0)
	record.AddAttrs(slog.Int("n", 1))
	if err := newHandler(&got, consoleLayout{color: true}, slog.LevelInfo).Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[2m14:05:06.789\x1b[0m \x1b[33mWARN \x1b[0m down \x1b[2mn=\x1b[0m1\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWith(t *testing.T) {
	var got bytes.Buffer
	base := slog.New(newHandler(&got, journalLayout{}, slog.LevelInfo)).With("a", 1)
	// Two loggers derived from one must not share what they append.
	one, two := base.With("b", 2), base.WithGroup("g").With("c", 3)
	one.Info("x")
	two.Info("y", "d", 4)
	base.Debug("hidden")
	if diff := cmp.Diff("<6>x a=1 b=2\n<6>y a=1 g.c=3 g.d=4\n", got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type broken struct{}

func (*broken) String() string { panic("no") }

type failing struct{}

func (failing) MarshalText() ([]byte, error) { return nil, errors.New("cannot") }

func TestAwkwardValues(t *testing.T) {
	var got bytes.Buffer
	var none *netip.Addr
	slog.New(newHandler(&got, journalLayout{}, slog.LevelInfo)).Info("x",
		"panics", &broken{}, "nil", none, "failing", failing{})
	want := `<6>x panics="%!v(PANIC=String method: no)" nil=<nil> failing="!ERROR: cannot"` + "\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecretsStayRedacted(t *testing.T) {
	const password = "hunter2-Zq9"
	secret := config.NewSecret(password)
	email := config.Email{SMTP: config.SMTP{User: "bob", Password: secret}}
	var console, journal bytes.Buffer
	file := filepath.Join(t.TempDir(), "log")
	for _, opts := range []Options{
		{Console: &console, Debug: true},
		{Console: &journal, Journal: true, File: config.Log{File: file}},
	} {
		logger, closer, err := Setup(opts)
		if err != nil {
			t.Fatal(err)
		}
		logger.With("with", secret).WithGroup("g").Error("x", "value", secret, "pointer", &secret,
			"struct", email, "config", &config.Config{Email: email}, "map", map[string]config.Secret{"k": secret},
			slog.Group("in", "error", fmt.Errorf("log in as %v with %#v: %+v", email, secret, email.SMTP)))
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"console": console.String(), "journal": journal.String(), "file": string(written)} {
		if strings.Contains(text, password) || !strings.Contains(text, "with=<redacted>") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestSetup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	var console bytes.Buffer
	logger, closer, err := Setup(Options{Console: &console, Debug: true, File: config.Log{File: file}})
	if err != nil {
		t.Fatal(err)
	}
	logger.Debug("detail")
	logger.Info("fact")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(console.String(), "\n"); got != 2 {
		t.Errorf("console has %d lines, want debug and info: %s", got, console.String())
	}
	if got := string(written); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, " INFO  fact\n") {
		t.Errorf("file must hold info only: %s", got)
	}
}

func TestSetupWithoutFile(t *testing.T) {
	var console bytes.Buffer
	path := filepath.Join(t.TempDir(), "missing", "log")
	logger, closer, err := Setup(Options{Console: &console, File: config.Log{File: path}})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "create the directory "+filepath.Dir(path)) {
		t.Errorf("error must name path and cure: %v", err)
	}
	logger.Info("goes on")
	if !strings.Contains(console.String(), "goes on") || closer.Close() != nil {
		t.Errorf("console alone must work: %q", console.String())
	}
}

func TestDetect(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stream := deviceAndInode(t, file)
	for name, tt := range map[string]struct {
		stream string
		want   bool
	}{"ours": {stream, true}, "another": {"1:2", false}, "none": {"", false}} {
		env := map[string]string{"JOURNAL_STREAM": tt.stream}
		color, journal := Detect(file, func(k string) string { return env[k] })
		if color || journal != tt.want {
			t.Errorf("%s: color %v journal %v", name, color, journal)
		}
	}
}

func TestDetectTerminal(t *testing.T) {
	terminal := pseudoTerminal(t)
	for name, tt := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"plain":          {nil, true},
		"NO_COLOR":       {map[string]string{"NO_COLOR": "1"}, false},
		"empty NO_COLOR": {map[string]string{"NO_COLOR": ""}, true},
		"dumb":           {map[string]string{"TERM": "dumb"}, false},
		"journal too":    {map[string]string{"JOURNAL_STREAM": deviceAndInode(t, terminal)}, false},
	} {
		if color, _ := Detect(terminal, func(k string) string { return tt.env[k] }); color != tt.want {
			t.Errorf("%s: color %v", name, color)
		}
	}
}

// countWrites fails if records are written in pieces.
type countWrites struct {
	mu     sync.Mutex
	writes int
}

func (c *countWrites) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return len(p), nil
}

func TestOneWritePerRecord(t *testing.T) {
	var w countWrites
	logger := slog.New(newHandler(&w, fileLayout{}, slog.LevelInfo))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				logger.Info("several\nlines", "a", 1)
			}
		})
	}
	wg.Wait()
	if w.writes != 800 {
		t.Errorf("%d writes for 800 records", w.writes)
	}
}

func FuzzNoInjection(f *testing.F) {
	f.Add("message\nline", "key", "value")
	f.Add("\x1b]0;title\x07", "\r\n<0>x", "2026-01-01T00:00:00.000Z INFO  forged\n")
	f.Add("\xc2\x9b31m\u2028", "\xff\xfe", "\u202e")
	f.Fuzz(func(t *testing.T, message, key, value string) {
		for _, form := range []layout{consoleLayout{}, journalLayout{}, fileLayout{}} {
			var out bytes.Buffer
			record := slog.NewRecord(moment, slog.LevelInfo, message, 0)
			record.AddAttrs(slog.String(key, value))
			if err := newHandler(&out, form, slog.LevelInfo).Handle(context.Background(), record); err != nil {
				t.Fatal(err)
			}
			checkLines(t, form, out.String())
		}
	})
}

// checkLines fails where a byte could drive a terminal, or a line could be taken for a record.
func checkLines(t *testing.T, form layout, out string) {
	t.Helper()
	head := string(form.head(nil, moment, slog.LevelInfo))
	more := string(form.more(nil, slog.LevelInfo))
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		if i == 0 && !strings.HasPrefix(line, head) || i > 0 && !strings.HasPrefix(line, more) {
			t.Errorf("%T: line %d has a wrong start: %q", form, i, line)
		}
		if escaped := string(appendText(nil, line)); escaped != line {
			t.Errorf("%T: unescaped: %q", form, line)
		}
	}
}

func TestNoOutput(t *testing.T) {
	logger, closer, err := Setup(Options{})
	if err != nil {
		t.Fatal(err)
	}
	logger.Error("nowhere")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
}
