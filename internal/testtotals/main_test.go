package main

import (
	"strings"
	"testing"
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
		if err := sum.read(strings.NewReader(run)); err != nil {
			t.Fatal(err)
		}
	}
	// Two ran in the second run; b.One failed there; broken has no test to blame.
	if p, f, s := sum.count(); p != 3 || f != 2 || s != 0 {
		t.Errorf("%d passed, %d failed, %d skipped, want 3, 2, 0", p, f, s)
	}
	once := make(totals)
	if err := once.read(strings.NewReader(first)); err != nil {
		t.Fatal(err)
	}
	if p, f, s := once.count(); p != 3 || f != 0 || s != 1 {
		t.Errorf("%d passed, %d failed, %d skipped, want 3, 0, 1", p, f, s)
	}
	if err := once.read(strings.NewReader("no JSON")); err == nil {
		t.Error("no error for a file that holds something else")
	}
}
