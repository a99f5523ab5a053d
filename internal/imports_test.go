// Package internal_test holds the packages to what docs/architecture.md says of them.
package internal_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is the path of the module in go.mod.
const module = "ftr/"

// pkg is what "go list -json" tells of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the package's path in the module, example "internal/routing".
func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the module's packages that have code apart from tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read what go list says: %v", err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		t.Fatal("go list names no packages")
	}
	return all
}

// The kinds of packages, as the table in docs/architecture.md calls them.
const (
	pure    = "pure"
	outside = "I/O"
	standIn = "I/O-free stand-in"
	whole   = "all"
	program = "main"
)

// kinds reads the table of packages in docs/architecture.md.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `((?:internal|cmd)/[a-z0-9-]+)` \\|.*\\| ([^|]+) \\|$")
	table := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		table[m[1]] = m[2]
	}
	return table
}

func TestEveryPackageIsInTheArchitecture(t *testing.T) {
	table := kinds(t)
	for path, kind := range table {
		if !slices.Contains([]string{pure, outside, standIn, whole, program}, kind) {
			t.Errorf("docs/architecture.md: %s is of kind %q, which is unknown", path, kind)
		}
	}
	for _, p := range packages(t) {
		if _, ok := table[p.path()]; !ok {
			t.Errorf("%s is not in the table of docs/architecture.md", p.path())
		}
		delete(table, p.path())
	}
	for path := range table {
		t.Errorf("docs/architecture.md describes %s, which does not exist", path)
	}
}

// layer orders the pure packages: each may import those of lower layers.
func layer(path string) int {
	return map[string]int{
		"internal/config": 1, "internal/health": 2, "internal/firewall": 2, "internal/routing": 3, "internal/status": 4,
	}[path]
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	table := kinds(t)
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			of, ours := strings.CutPrefix(imported, module)
			switch kind := table[p.path()]; {
			case ours && !mayImport(table, p.path(), of):
				t.Errorf("%s (%s) imports %s (%s)", p.path(), kind, of, table[of])
			case kind == pure && reachesOut(imported):
				t.Errorf("%s (pure) imports %s", p.path(), imported)
			}
		}
		// Tests may have private namespaces and the stand-in too; those of the whole, everything.
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			of, ours := strings.CutPrefix(imported, module)
			allowed := of == p.path() || of == "internal/netns" || table[of] == standIn || table[of] == pure
			if ours && !allowed && !mayImport(table, p.path(), of) {
				t.Errorf("tests of %s import %s (%s)", p.path(), of, table[of])
			}
		}
	}
}

// mayImport tells whether a package may import another one of ours.
func mayImport(table map[string]string, path, of string) bool {
	switch table[path] {
	case pure:
		return table[of] == pure && layer(path) != 0 && layer(of) < layer(path)
	case whole, program:
		return table[of] != program
	default:
		return table[of] == pure || path == "internal/lab" && of == "internal/netns"
	}
}

// reachesOut tells whether a package of others reads or changes something outside of the process.
func reachesOut(path string) bool {
	switch path {
	case "net", "os", "syscall", "log", "log/slog", "path/filepath", "io/ioutil", "embed", "plugin":
		return true
	}
	for _, prefix := range []string{"os/", "net/http", "net/smtp", "net/rpc", "log/", "runtime/", "golang.org/x/sys/", "golang.org/x/net/", "github.com/mdlayher/", "github.com/jsimonetti/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// clock are the functions of package time that read the clock or wait.
func clock(name string) bool {
	return slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, name)
}

func TestPurePackagesReadNoClock(t *testing.T) {
	table := kinds(t)
	for _, p := range packages(t) {
		if table[p.path()] != pure {
			continue
		}
		for _, f := range files(t, p, parser.SkipObjectResolution) {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && clock(s.Sel.Name) {
					t.Errorf("%s/%s uses time.%s: time is an argument in pure code", p.path(), f.name, s.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t) {
		var with []string
		for _, f := range files(t, p, parser.PackageClauseOnly|parser.ParseComments) {
			if f.syntax.Doc == nil {
				continue
			}
			with = append(with, f.name)
			name := f.syntax.Name.Name
			if text := f.syntax.Doc.Text(); name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
				t.Errorf("%s/%s: the package comment does not begin with \"Package %s\"", p.path(), f.name, name)
			}
		}
		if len(with) != 1 {
			t.Errorf("%s has %d package comments, want one: %v", p.path(), len(with), with)
		}
	}
}

// file is a parsed file.
type file struct {
	name   string
	syntax *ast.File
}

func files(t *testing.T, p pkg, mode parser.Mode) []file {
	t.Helper()
	var parsed []file
	for _, name := range p.GoFiles {
		syntax, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file{name, syntax})
	}
	return parsed
}
