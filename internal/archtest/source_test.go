package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "github.com/dagstore/dagstore"
	top    = "../.." // the module's folder, seen from this package
)

// A pkg is what "go list -json" says about a package.
type pkg struct {
	ImportPath string
	Name       string
	Standard   bool
	Imports    []string
}

// folder is the place of p in the module; "." is the root.
func (p *pkg) folder() string { return folderOf(p.ImportPath) }

// folderOf is the folder of one of our packages.
func folderOf(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// ours reports whether an import path is one of this module.
func ours(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// list asks the Go command about packages, with what they link if deps is set.
func list(t *testing.T, deps bool, patterns ...string) []*pkg {
	t.Helper()
	args := []string{"list", "-json"}
	if deps {
		args = append(args, "-deps")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, patterns...)...)
	cmd.Dir = top
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []*pkg
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		p := new(pkg)
		if err := decoder.Decode(p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// A source is one Go file of the module, for whatever platform it is.
type source struct {
	name  string // below the module's folder, with slashes
	test  bool
	lines int
	text  []byte
	fset  *token.FileSet
	file  *ast.File
}

// folder is the folder of the file; "." is the root.
func (s *source) folder() string { return path.Dir(s.name) }

// sources parses every Go file of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	err := filepath.WalkDir(top, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") && name != top {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		s, err := parse(name)
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files: does this test still look in the right place?")
	}
	return all
}

func parse(name string) (*source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(top, name)
	if err != nil {
		return nil, err
	}
	return &source{
		name:  filepath.ToSlash(rel),
		test:  strings.HasSuffix(name, "_test.go"),
		lines: bytes.Count(text, []byte("\n")),
		text:  text,
		fset:  fset,
		file:  file,
	}, nil
}
