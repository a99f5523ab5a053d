package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ftr/internal/config"
)

// documents returns what people read, by path from the root of the project.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatal("no documents found", err)
	}
	for _, path := range append(paths, "../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		docs[strings.TrimPrefix(path, "../../")] = string(text)
	}
	return docs
}

// What people copy from the documents is a valid configuration.
func TestDocumentedConfigurations(t *testing.T) {
	grammar := regexp.MustCompile(`(?s)<!-- grammar.*?<!-- end -->`)
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	found := 0
	for name, text := range documents(t) {
		for _, m := range block.FindAllStringSubmatch(grammar.ReplaceAllString(text, ""), -1) {
			found++
			if _, problems := config.Parse(name, []byte(m[1])); len(problems) > 0 {
				t.Errorf("%v in:\n%s", problems, m[1])
			}
		}
	}
	if found < 2 {
		t.Errorf("%d configurations found in the documents, want at least 2", found)
	}
}

// Every command line in the documents can be typed: commands, flags, targets of make, programs.
func TestDocumentedCommands(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	indented := regexp.MustCompile(`(?m)^    ((?:sudo )?(?:ftr|make|systemctl) .*)$`)
	inline := regexp.MustCompile("`((?:sudo )?(?:ftr|make) [^`]*)`")
	found := 0
	for name, text := range documents(t) {
		for _, m := range append(indented.FindAllStringSubmatch(text, -1), inline.FindAllStringSubmatch(text, -1)...) {
			line, _, _ := strings.Cut(m[1], " #")
			// Explanations are set apart by blanks in configuration.md.
			line, _, _ = strings.Cut(line, "  ")
			for part := range strings.SplitSeq(line, "&&") {
				found++
				words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(part), "sudo "))
				if problem := typeable(words, string(makefile)); problem != "" {
					t.Errorf("%s: %q: %s", name, part, problem)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("%d command lines found in the documents, want at least 20", found)
	}
}

// typeable returns what is wrong with a command line.
func typeable(words []string, makefile string) string {
	switch words[0] {
	case "make":
		for _, target := range words[1:] {
			if !strings.Contains(target, "=") && !strings.Contains(makefile, "\n"+target+":") {
				return "the Makefile has no target " + target
			}
		}
	case "ftr":
		cmd, rest, err := rootCommand("ftr").Find(words[1:])
		if err != nil {
			return err.Error()
		}
		if err := cmd.ParseFlags(rest); err != nil {
			return err.Error()
		}
		if !cmd.HasParent() && cmd.Flags().NArg() > 0 {
			return "no such command"
		}
		if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Files that the documents speak of are there.
func TestDocumentedFiles(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)[^)]*\)`)
	path := regexp.MustCompile("`((?:docs|packaging|internal|cmd)/[A-Za-z0-9_./-]+)`")
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			exists(t, name, filepath.Join(filepath.Dir(name), m[1]))
		}
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			exists(t, name, m[1])
		}
	}
}

func exists(t *testing.T, document, path string) {
	t.Helper()
	if _, err := fs.Stat(os.DirFS("../.."), filepath.Clean(path)); err != nil {
		t.Errorf("%s speaks of %s: %v", document, path, err)
	}
}

// The README's table of commands is complete.
func TestReadmeNamesEveryCommand(t *testing.T) {
	readme := documents(t)["README.md"]
	for _, c := range rootCommand("ftr").Commands() {
		if !strings.Contains(readme, "| `"+c.Name()+"` |") {
			t.Errorf("README.md does not list %s", c.Name())
		}
	}
}

// make install puts everything in its place, below DESTDIR; make uninstall takes it away again.
func TestInstall(t *testing.T) {
	// A copy, so that nothing is written into the source.
	source, dest := t.TempDir(), t.TempDir()
	output(t, "cp", "-r", "../../Makefile", "../../go.mod", "../../go.sum", "../../cmd", "../../internal", "../../packaging", "../../docs", source)
	arguments := []string{"-s", "-C", source, "DESTDIR=" + dest, "PREFIX=/opt/ftr", "VERSION=1.2.3"}
	output(t, "make", append(arguments, "install")...)

	want := map[string]fs.FileMode{
		"opt/ftr/bin/ftr":                   0o755,
		"opt/ftr/bin/fault_tolerant_router": fs.ModeSymlink | 0o777,
		"opt/ftr/share/ftr/ftr.schema.json": 0o644,
		"opt/ftr/share/ftr/prefix-hook":     0o755,
		"etc/systemd/system/ftr.service":    0o644,
	}
	for path, mode := range files(t, dest) {
		if want[path] != mode {
			t.Errorf("%s has mode %v, want %v", path, mode, want[path])
		}
		delete(want, path)
	}
	for path := range want {
		t.Errorf("%s is missing", path)
	}
	if got := output(t, filepath.Join(dest, "opt/ftr/bin/fault_tolerant_router"), "--version"); got != "fault_tolerant_router version 1.2.3\n" {
		t.Errorf("the installed program says %q", got)
	}
	unit, err := os.ReadFile(filepath.Join(dest, "etc/systemd/system/ftr.service"))
	if err != nil {
		t.Fatal(err)
	}
	checkUnit(t, string(unit), "/opt/ftr/bin/ftr monitor")

	output(t, "make", append(arguments, "uninstall")...)
	if left := files(t, dest); len(left) > 0 {
		t.Errorf("uninstall leaves %v", left)
	}
}

// checkUnit holds the unit against what docs/operations.md promises of it, and, where it can be asked,
// against systemd itself.
func checkUnit(t *testing.T, unit, command string) {
	t.Helper()
	for _, line := range []string{
		"Type=notify", "ExecStart=" + command, "Restart=always", "RestartPreventExitStatus=2", "User=ftr",
		"AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW",
		"StateDirectory=ftr", "RuntimeDirectory=ftr", "LogsDirectory=ftr", "WantedBy=multi-user.target",
	} {
		if !slices.Contains(strings.Split(unit, "\n"), line) {
			t.Errorf("ftr.service lacks %q", line)
		}
	}
	for _, line := range strings.Split(unit, "\n") {
		if !regexp.MustCompile(`^$|^#|^\[(Unit|Service|Install)\]$|^[A-Z][A-Za-z]+=\S.*$`).MatchString(line) {
			t.Errorf("ftr.service: %q is neither section, key nor comment", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // what stands above must do
	}
	// systemd looks for the program.
	path := filepath.Join(t.TempDir(), "ftr.service")
	program, _, _ := strings.Cut(command, " ")
	text := strings.ReplaceAll(unit, program, "/bin/true")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := output(t, analyze, "verify", "--man=no", path); strings.Contains(out, "ftr.service") {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}

// files returns everything but directories below a directory.
func files(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found[strings.TrimPrefix(path, root+"/")] = info.Mode()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// output runs a command and returns what it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
