package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/longtest"
)

func TestTotals(t *testing.T) {
	const first = `{"Action":"run","Package":"a","Test":"One"}
{"Action":"output","Package":"a","Test":"One","Output":"x\n"}
{"Action":"pass","Package":"a","Test":"One"}
{"Action":"pass","Package":"a","Test":"One/sub"}
{"Action":"skip","Package":"a","Test":"Two"}
{"Action":"pass","Package":"a"}
{"Action":"pass","Package":"b","Test":"One"}
{"Action":"pass","Package":"b"}
{"Action":"skip","Package":"empty"}
`
	const second = `{"Action":"pass","Package":"a","Test":"One"}
{"Action":"pass","Package":"a","Test":"Two"}
{"Action":"fail","Package":"b","Test":"One"}
{"Action":"fail","Package":"b"}
{"Action":"fail","Package":"broken"}
`
	sum := make(totals)
	for _, run := range []string{first, second} {
		one := make(totals)
		if _, _, err := one.read(strings.NewReader(run)); err != nil {
			t.Fatal(err)
		}
		sum.add(one)
	}
	// Two ran in the second run; b.One failed there; broken has no test to blame.
	if p, f, s := sum.count(); p != 3 || f != 2 || s != 0 {
		t.Errorf("%d passed, %d failed, %d skipped, want 3, 2, 0", p, f, s)
	}
	once := make(totals)
	if _, _, err := once.read(strings.NewReader(first)); err != nil {
		t.Fatal(err)
	}
	if p, f, s := once.count(); p != 3 || f != 0 || s != 1 {
		t.Errorf("%d passed, %d failed, %d skipped, want 3, 0, 1", p, f, s)
	}
	if _, _, err := once.read(strings.NewReader("no JSON")); err == nil {
		t.Error("no error for a file that holds something else")
	}
}

// TestTriedAgain: what passed when it was tried again has passed and is named; a
// data race and what failed in another run stay what they are.
func TestTriedAgain(t *testing.T) {
	const failed = `{"Action":"fail","Package":"a","Test":"One"}{"Action":"fail","Package":"a"}`
	const passed = `{"Action":"pass","Package":"a","Test":"One"}{"Action":"pass","Package":"a"}`
	const race = `{"Action":"output","Package":"a","Test":"One","Output":"WARNING: DATA RACE\n"}`
	for _, test := range []struct {
		run           string
		passed, named int
	}{
		{passed, 1, 0},
		{failed, 0, 0},
		{failed + passed, 1, 1},
		{failed + failed, 0, 0},
		{race + failed + passed, 0, 0},
		{failed + race + failed, 0, 0},
	} {
		one := make(totals)
		_, again, err := one.read(strings.NewReader(test.run))
		if err != nil {
			t.Fatal(err)
		}
		if p, f, _ := one.count(); p != test.passed || f != 1-p || len(again) != test.named {
			t.Errorf("%s: %d passed, %d failed, %v", test.run, p, f, again)
		}
	}
	sum := make(totals)
	for _, run := range []string{failed, passed} {
		one := make(totals)
		if _, _, err := one.read(strings.NewReader(run)); err != nil {
			t.Fatal(err)
		}
		sum.add(one)
	}
	if p, f, _ := sum.count(); p != 0 || f != 1 {
		t.Errorf("%d passed, %d failed, with a failure in one of two runs", p, f)
	}
}

// TestReport: the totals come last whatever happens, and only what has passed
// is well.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const passed = `{"Action":"pass","Package":"p","Test":"A"}`
	good, cut := file("good", passed), file("cut", passed+`{"Action":"fa`)
	failed := file("failed", passed+`{"Action":"fail","Package":"p","Test":"B"}`)
	for _, test := range []struct {
		steps int
		files []string
		want  string
		well  bool
	}{
		{0, []string{good}, "1 passed, 0 failed, 0 skipped\n", true},
		{0, nil, "0 passed, 0 failed, 0 skipped\n", false},
		{2, []string{good}, "1 passed, 2 failed, 0 skipped\n", false},
		{1, []string{failed}, "1 passed, 1 failed, 0 skipped\n", false},
		{0, []string{cut}, "1 passed, 1 failed, 0 skipped\n", false},
		{1, []string{filepath.Join(dir, "nowhere")}, "0 passed, 2 failed, 0 skipped\n", false},
	} {
		var stdout, stderr bytes.Buffer
		if well := report(&stdout, &stderr, test.steps, false, test.files); well != test.well || stdout.String() != test.want {
			t.Errorf("%d, %q: %q, %v; want %q", test.steps, test.files, stdout.String(), well, test.want)
		}
	}
}

func TestFigures(t *testing.T) {
	if figureMark != longtest.FigureMark {
		t.Errorf("figures are marked by %q, and looked for as %q", longtest.FigureMark, figureMark)
	}
	const run = `{"Action":"output","Package":"a","Test":"One","Output":"    a_test.go:7: figure: 5 of 5\n"}
{"Action":"output","Package":"a","Test":"One","Output":"    a_test.go:8: no figure\n"}
{"Action":"pass","Package":"a","Test":"One"}
`
	figures, _, err := make(totals).read(strings.NewReader(run))
	if err != nil || len(figures) != 1 || figures[0] != "One: 5 of 5" {
		t.Errorf("%q, %v", figures, err)
	}
}
