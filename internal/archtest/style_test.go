package archtest

import (
	"bytes"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	maxFile     = 500 // lines
	maxFunction = 60  // lines, of product code
)

// TestPackageComments: each package has a doc.go with a package comment, and
// the comment stands nowhere else.
func TestPackageComments(t *testing.T) {
	where := make(map[string][]string)
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if _, ok := where[s.folder()]; !ok {
			where[s.folder()] = nil
		}
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			where[s.folder()] = append(where[s.folder()], path.Base(s.name))
		}
	}
	for folder, files := range where {
		if !slices.Equal(files, []string{"doc.go"}) {
			t.Errorf("%s has package comments in %v, want one in doc.go", folder, files)
		}
	}
}

// TestNames: a package is called after what it is for.
func TestNames(t *testing.T) {
	for _, p := range list(t, false, "./...") {
		for _, bad := range []string{"util", "utils", "common", "helpers", "misc", "base", "types"} {
			if p.Name == bad || path.Base(p.folder()) == bad {
				t.Errorf("%s is called %q, which says nothing about what it does", p.folder(), bad)
			}
		}
	}
}

// TestNoInit: importing a package does nothing.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%v: func init: what a program links must not change what it does", s.fset.Position(f.Pos()))
			}
		}
	}
}

// forbidden is what product code does not import.
var forbidden = map[string]string{
	"testing":        "it adds flags to the program; suites return errors",
	"log":            "a library logs to the slog.Logger that it is given",
	"net/http/pprof": "it registers handlers by being imported",
	"expvar":         "it registers handlers by being imported",
}

func TestForbiddenImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, spec := range s.file.Imports {
			if why, bad := forbidden[strings.Trim(spec.Path.Value, `"`)]; bad {
				t.Errorf("%v: imports %s: %s", s.fset.Position(spec.Pos()), spec.Path.Value, why)
			}
		}
	}
}

// TestNoDefaultLogger: nothing is logged past the logger that was given.
func TestNoDefaultLogger(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "slog" && slices.Contains([]string{"Default", "SetDefault", "Debug", "Info", "Warn", "Error"}, sel.Sel.Name) {
				t.Errorf("%v: slog.%s uses the logger of the process", s.fset.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestSizes: files and functions that can be read at a glance.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines >= maxFile {
			t.Errorf("%s has %d lines, the most is %d", s.name, s.lines, maxFile-1)
		}
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%v: func %s has %d lines, the most is %d", s.fset.Position(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

// TestNothingLeftForLater: what is there is finished, what is not there is left out.
func TestNothingLeftForLater(t *testing.T) {
	// Put together, so that this file does not name them itself.
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "not imple" + "mented", `panic("ske` + `tch")`}
	for _, s := range sources(t) {
		for _, mark := range marks {
			if i := bytes.Index(s.text, []byte(mark)); i >= 0 {
				t.Errorf("%s:%d: %s", s.name, 1+bytes.Count(s.text[:i], []byte("\n")), mark)
			}
		}
	}
}

// TestLeaksAreLookedFor: the tests of each package end with a look for
// goroutines that they have left behind.
func TestLeaksAreLookedFor(t *testing.T) {
	const goleak = `"go.uber.org/goleak"`
	looks := make(map[string]bool)
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		imports := slices.ContainsFunc(s.file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == goleak })
		main := slices.ContainsFunc(s.file.Decls, func(decl ast.Decl) bool {
			f, ok := decl.(*ast.FuncDecl)
			return ok && f.Recv == nil && f.Name.Name == "TestMain"
		})
		looks[s.folder()] = looks[s.folder()] || imports && main
	}
	for folder, does := range looks {
		if !does {
			t.Errorf("%s has tests and no TestMain with goleak: a goroutine left behind would not be seen", folder)
		}
	}
}
