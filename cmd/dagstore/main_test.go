package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// asProgram makes the test binary be the program, for tests that need a process.
const asProgram = "DAGSTORE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	testscript.Main(tidy{m}, map[string]func(){"dagstore": main})
}

// tidy runs the tests and then wants that no goroutine is left over.
type tidy struct{ m *testing.M }

func (t tidy) Run() int {
	code := t.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs testdata/script/*.txtar: each is a conversation with the
// command, its files included.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DAGSTORE_PATH", env.WorkDir+"/store")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     code,
			"mkcar":    mkcar,
			"mkbytes":  mkbytes,
			"setcid":   setcid,
			"concat":   concat,
			"envsubst": envsubst,
			"odd":      odd,
			"flip":     flip,
			"esc":      esc,
		},
	})
}

// code runs a command and wants an exit code:
//
//	code 3 dagstore find ...
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// mkcar writes a CARv1 of raw blocks, one for each text:
//
//	mkcar FILE TEXT...
func mkcar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkcar file text...")
	}
	name := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o777))
	ts.Check(os.WriteFile(name, carOf(args[1:]...), 0o666))
}

// mkbytes writes a Go string literal:
//
//	mkbytes FILE "a\xff"
func mkbytes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkbytes file literal")
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
}

// carOf is a CARv1 of one raw block for each text; the first one is the root.
func carOf(texts ...string) []byte {
	blocks := make([]cartest.Block, len(texts))
	for i, text := range texts {
		blocks[i] = cartest.Raw([]byte(text))
	}
	return cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
}

// concat writes files one after the other:
//
//	concat FILE PART...
func concat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: concat file part...")
	}
	var all []byte
	for _, part := range args[1:] {
		all = append(all, ts.ReadFile(part)...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), all, 0o666))
}

// envsubst replaces variables in a file:
//
//	envsubst FILE
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: envsubst file")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
}

// odd makes a folder of CARs whose names are hard to handle:
//
//	odd FOLDER
func odd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: odd folder")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o777))
	for i, name := range []string{"50%", "a b#c?d", "caf\xe9", "new\nline", "\x1b[31mred", "日本"} {
		ts.Check(os.WriteFile(filepath.Join(dir, name+".car"), carOf("b"+strconv.Itoa(i)), 0o666))
	}
}

// flip changes a byte of a text in a file:
//
//	flip FILE TEXT
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip file text")
	}
	before := ts.ReadFile(args[0])
	after := strings.Replace(before, args[1], "#"+args[1][1:], 1)
	if after == before {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o666))
}

// esc makes a bad CAR whose name begins with an escape sequence:
//
//	esc FOLDER
func esc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: esc folder")
	}
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "\x1b[31m.car"), []byte("bad"), 0o666))
}

// setcid sets a variable to the CID of a raw block:
//
//	setcid NAME TEXT
func setcid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setcid name text")
	}
	ts.Setenv(args[0], cartest.Raw([]byte(args[1])).CID.String())
}
