package car

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// realCARs is where CARs lie that others have written.
const realCARs = "../../../shared/cars"

// TestFacts compares what a scan finds in real CARs with what go-car found in
// them, as facts.tsv says.
func TestFacts(t *testing.T) {
	list, err := os.Open(filepath.Join(realCARs, "facts.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no folder of real CARs beside the project: the tests with generated ones have to do")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	tsv := csv.NewReader(list)
	tsv.Comma = '\t'
	rows, err := tsv.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("facts.tsv: %d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		fact := make(map[string]string)
		for i, name := range rows[0] {
			fact[name] = row[i]
		}
		t.Run(fact["file"], func(t *testing.T) { checkFact(t, fact) })
	}
}

func checkFact(t *testing.T, fact map[string]string) {
	data, err := os.ReadFile(filepath.Join(realCARs, fact["file"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range readings(data, Options{Verify: true}) {
		got := collect(how.r, how.opt)
		if want, ok := badEndings[fact["ends_with"]]; ok {
			checkFault(t, how.name, got.err, want.kind, want.offset)
			if n := strconv.Itoa(len(got.sections)); fact["sections"] != "-" && n != fact["sections"] {
				t.Errorf("%s: %s sections before the fault, facts.tsv says %s", how.name, n, fact["sections"])
			}
			continue
		}
		if fact["ends_with"] != "end" {
			t.Fatalf("the test does not know this ending: %q", fact["ends_with"])
		}
		if got.err != nil {
			t.Errorf("%s: %v", how.name, got.err)
			continue
		}
		unique := make(map[string]bool)
		for _, s := range got.sections {
			unique[string(s.Multihash())] = true
		}
		for name, n := range map[string]int64{
			"bytes":              int64(len(data)),
			"version":            int64(got.res.Version),
			"roots":              int64(len(got.res.Roots)),
			"sections":           got.res.Sections,
			"unique_multihashes": int64(len(unique)),
			"identity":           got.res.Identity,
			"bytes_of_blocks":    got.res.Bytes,
			"hash_mismatches":    got.res.Faults,
		} {
			if want := fact[name]; strconv.FormatInt(n, 10) != want {
				t.Errorf("%s: %s is %d, facts.tsv says %s", how.name, name, n, want)
			}
		}
		if padded := strings.Contains(fact["file"], "zero-len"); padded != (got.res.Padding > 0) || got.res.Trailing {
			t.Errorf("%s: padding %d, trailing %v", how.name, got.res.Padding, got.res.Trailing)
		}
	}
}

// badEndings says what we call the errors of go-car in facts.tsv.
var badEndings = map[string]struct {
	kind   shard.FaultKind
	offset int64
}{
	"header: invalid header data, length of read beyond allowable maximum": {shard.BadHeader, 0},
	"invalid section data, length of read beyond allowable maximum":        {shard.BadSection, 18},
	"header: unexpected EOF":          {shard.BadHeader, 0},
	"header: invalid car version: 42": {shard.BadHeader, 10},
	"unexpected EOF":                  {shard.BadSection, 479518},
	"header: invalid data payload offset: 18446744073709550254": {shard.BadContainer, fieldData},
}
