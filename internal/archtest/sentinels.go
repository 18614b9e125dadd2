package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
)

// Sentinels returns the exported error variables of the package in dir, those
// whose names begin with Err. The tables that give each of them a status or an
// exit code are held against it. That there are none is an error: whoever asks
// looks in the wrong place.
func Sentinels(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.VAR {
				names = append(names, errorsIn(group)...)
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("archtest: no sentinels in %s", dir)
	}
	return names, nil
}

func errorsIn(group *ast.GenDecl) (names []string) {
	for _, spec := range group.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if strings.HasPrefix(name.Name, "Err") {
				names = append(names, name.Name)
			}
		}
	}
	return names
}
