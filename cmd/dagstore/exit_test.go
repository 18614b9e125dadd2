package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/archtest"
	"github.com/dagstore/dagstore/shard"
)

// TestExitCodesHaveEverySentinel reads the sources, so that a new sentinel
// without a row fails here.
func TestExitCodesHaveEverySentinel(t *testing.T) {
	rows := selectorsIn(t, "exit.go", "exitCodes")
	for pkg, dir := range map[string]string{
		"dagstore": "../..",
		"shard":    "../../shard",
		"mount":    "../../mount",
		"index":    "../../index",
	} {
		names, err := archtest.Sentinels(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !rows[pkg+"."+name] {
				t.Errorf("%s.%s has no row in exitCodes", pkg, name)
			}
		}
	}
}

// selectorsIn lists the "package.Name" expressions in one variable of a file.
func selectorsIn(t *testing.T, file, variable string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if spec.Names[0].Name != variable {
			return false
		}
		ast.Inspect(spec, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok {
					found[pkg.Name+"."+sel.Sel.Name] = true
				}
			}
			return true
		})
		return false
	})
	return found
}

func TestExitCode(t *testing.T) {
	inShard := func(err error) error {
		return fmt.Errorf("adding: %w", &shard.Error{Key: "k", Op: shard.OpRegister, Err: err})
	}
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("something else"), 1},
		{inShard(&shard.Fault{Kind: shard.BadSection}), 1},
		{inShard(shard.ErrUnknown), 3},
		{inShard(shard.ErrKey), 2},
		{inShard(shard.ErrExists), 0},
		{inShard(context.Canceled), 130},
		{fmt.Errorf("x: %w", dagstore.ErrNoStore), 10},
		{fmt.Errorf("x: %w", dagstore.ErrInUse), 11},
		{fmt.Errorf("x: %w", dagstore.ErrNoSpace), 12},
		{fmt.Errorf("x: %w", dagstore.ErrVersion), 13},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 12},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, 12}, // over quota
		// A full disk says more than the shard that met it.
		{inShard(errors.Join(shard.ErrSource, dagstore.ErrNoSpace)), 12},
		// What a command has decided goes before the table.
		{fmt.Errorf("x: %w", exitError(exitFailed, shard.ErrUnknown)), 1},
	}
	for _, test := range tests {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

// TestFinishInterrupted: an interrupt hides no other error that has come up.
func TestFinishInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("x: %w", context.Canceled), "dagstore: interrupted\n"},
		{errors.New("the disk is broken"), "dagstore: the disk is broken\ndagstore: interrupted\n"},
	} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr, command: "dagstore x"}
		if code := a.finish(ctx, test.err); code != exitInterrupted || stderr.String() != test.want {
			t.Errorf("%v: exit code %d, %q, want %q", test.err, code, stderr.String(), test.want)
		}
	}
}

// TestExitHelp holds the help against the constants.
func TestExitHelp(t *testing.T) {
	for _, code := range []int{
		exitOK, exitFailed, exitUsage, exitNotFound, exitPartial, exitNoStore,
		exitInUse, exitNoSpace, exitVersion, exitInterrupted,
	} {
		if !strings.Contains(exitHelp, fmt.Sprintf("\n%5d  ", code)) {
			t.Errorf("the help does not explain exit code %d", code)
		}
	}
}

func TestTally(t *testing.T) {
	unknown, bad := shard.ErrUnknown, shard.ErrCAR
	tests := []struct {
		name string
		errs []error
		want int
	}{
		{"nothing", nil, 0},
		{"all well", []error{nil, nil}, 0},
		{"unchanged is well", []error{shard.ErrExists}, 0},
		{"one of two", []error{nil, bad}, 4},
		{"the other of two", []error{unknown, nil}, 4},
		{"all in the same way", []error{unknown, unknown}, 3},
		{"all in different ways", []error{unknown, bad}, 1},
		{"and again", []error{bad, unknown, unknown}, 1},
	}
	for _, test := range tests {
		var got tally
		for _, err := range test.errs {
			got.add(err)
		}
		if code := exitCode(got.err()); code != test.want {
			t.Errorf("%s: exit code %d, want %d", test.name, code, test.want)
		}
	}
}

func TestTallyOfStopped(t *testing.T) {
	for want, got := range map[string]tally{
		"1 failed, 3 done, 0 not tried":                                {done: 3, failed: 1, stopped: true},
		"1 failed, 0 done, 2 cut off, 5 not tried":                     {failed: 1, stopped: true, cutOff: 2, untried: 5},
		"1 failed, 0 done, 5 not tried, nor what standard input names": {failed: 1, stopped: true, untried: 5, piped: true},
		"2 of 9 would fail, 5 not tried":                               {done: 7, failed: 2, dry: true, stopped: true, untried: 5},
	} {
		if err := got.err(); err == nil || err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
