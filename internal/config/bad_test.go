package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	badFiles    = "testdata/bad"
	badMessages = "testdata/messages.txt"
)

// TestBadFiles holds every message, as shown on a terminal, to the golden table: what an
// administrator reads is part of the product.
func TestBadFiles(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(badFiles, "*.conf"))
	if err != nil {
		t.Fatal(err)
	}
	const least = 100
	if len(names) < least {
		t.Fatalf("%d malformed files, want at least %d", len(names), least)
	}
	var got strings.Builder
	for _, name := range names {
		got.WriteString("== " + filepath.Base(name) + "\n")
		c, problems := Parse(filepath.Base(name), mustRead(t, name))
		if len(problems) == 0 {
			t.Errorf("%s: no problem found", name)
		}
		checkProblems(t, c, problems)
		for _, p := range problems {
			got.WriteString(p.Render())
			// Every secret of these files begins so.
			if strings.Contains(p.Render()+p.String()+p.Value+p.Suggestion, "hunter") {
				t.Errorf("%s: a problem shows the secret: %s", name, p.Render())
			}
		}
	}
	golden(t, badMessages, got.String())
}

// golden compares a text with a file, or writes the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(mustRead(t, name)), got); diff != "" {
		t.Errorf("%s: (-want +got; -update writes it)\n%s", name, diff)
	}
}

// checkProblems holds what is true of every result of Parse.
func checkProblems(t *testing.T, c *Config, problems []Problem) {
	t.Helper()
	if (c == nil) != hasErrors(problems) {
		t.Errorf("config %v with problems %v", c != nil, problems)
	}
	for i, p := range problems {
		if p.Message == "" || p.File == "" || strings.ContainsAny(p.String(), "\n\r\x1b") {
			t.Errorf("malformed problem %q", p)
		}
		if p.Path != "" && (p.Line < 1 || p.Column < 1) {
			t.Errorf("problem without place: %v", p)
		}
		if i > 0 && p.Line > 0 && p.Line < problems[i-1].Line {
			t.Errorf("problem out of order: %v", p)
		}
	}
}
