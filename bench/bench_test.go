package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/internal/car"
)

func TestMain(m *testing.M) {
	// A row starts this program again, to kill it.
	if order := os.Getenv(victimEnv); order != "" {
		if err := victim(order, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if order := os.Getenv(gatewayEnv); order != "" {
		fmt.Fprintln(os.Stderr, serveGateway(order))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// smallScale has each row do a little of everything.
func smallScale() scale {
	return scale{
		name: "test", rounds: 2,
		big: 3, vastCAR: 2000, vastMemory: 1 << 20, mid: 64, tiny: 300, large: 200, many: 4, apart: 4,
		perCAR: 100, gets: 30, acquires: 30, callers: 4,
		lazy: 40, outstanding: 8, syncs: 3, start: 50, crowd: 60, cold: 8, vast: 90, small: 10,
		finds: entries{shards: 15, each: 40}, adds: entries{shards: 5, each: 20},
		hollow: 5, attach: 5, attachS3: 4, remoteSmall: 5, file: 1_000_000, clients: 4, eachClient: 5, abusers: 4,
		sharing: 200, giga: entries{shards: 5, each: 20}, gigaTime: time.Minute,
	}
}

// TestRows runs every row that needs no server and holds the table against what
// its readers rely on.
func TestRows(t *testing.T) { testRows(t, slices.Concat(localRows(), onlyByName())) }

func testRows(t *testing.T, all []row) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "new", "table.tsv")
	var stdout, stderr bytes.Buffer
	if err := measure(t.Context(), smallScale(), all, options{dir: t.TempDir(), out: out}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != "id\tfigure\tunit\tlimit\tratio\tgoal\theld" {
		t.Errorf("the header is %q", lines[0])
	}
	if len(lines) != 1+len(all) {
		t.Fatalf("%d lines for %d rows:\n%s", len(lines), len(all), text)
	}
	for i, r := range all {
		checkLine(t, r.id, strings.Split(lines[i+1], "\t"))
		if !strings.Contains(stdout.String(), "\n"+r.id+" ") {
			t.Errorf("%s is not in the printed table:\n%s", r.id, &stdout)
		}
	}
}

func checkLine(t *testing.T, id string, cells []string) {
	t.Helper()
	if len(cells) != len(columns) {
		t.Errorf("%s: %d cells: %q", id, len(cells), cells)
		return
	}
	if cells[0] != id || cells[2] == "-" || cells[5] == "-" {
		t.Errorf("%s: %q", id, cells)
	}
	numbers := []int{1, 3, 4}
	if id == "lazy-10m" { // which has no limit
		numbers = []int{1}
	}
	for _, at := range numbers {
		v, err := strconv.ParseFloat(cells[at], 64)
		// The heap of a handful of shards may well be less than nothing.
		if err != nil || v <= 0 && id != "heap-idle" {
			t.Errorf("%s: %s is %q", id, columns[at], cells[at])
		}
	}
	if held := cells[6]; held != "yes" && held != "no" {
		t.Errorf("%s: held is %q", id, held)
	}
}

// A row that fails stays in the table and does not keep others out.
func TestFailedRow(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.tsv")
	broken := errors.New("broken")
	var stdout, stderr bytes.Buffer
	err := measure(t.Context(), smallScale(), []row{
		{"bad", func(context.Context, *env) (result, error) { return result{}, broken }},
		{"good", func(context.Context, *env) (result, error) {
			return result{figure: 1234.5, unit: "s", goal: "any", held: true}, nil
		}},
	}, options{dir: t.TempDir(), out: out}, &stdout, &stderr)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("the error is %v", err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(columns[:], "\t") + "\nbad\t-\t-\t-\t-\t-\tno\ngood\t1234\ts\t-\t-\tany\tyes\n"
	if string(text) != want {
		t.Errorf("the table is\n%s\nwant\n%s", text, want)
	}
}

// TestCAR holds the workloads against the parser, and what is remembered of
// them against their bytes.
func TestCAR(t *testing.T) {
	const n, size = 500, 77
	c, err := writeCAR(filepath.Join(t.TempDir(), "a.car"), 1, n, size)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	res, err := car.Scan(t.Context(), bytes.NewReader(file), car.Options{Size: int64(len(file)), Verify: true}, func(s *car.Section) error {
		found[string(s.Multihash())] = s.Offset + int64(s.Head)
		return nil
	})
	if err != nil || res.Sections != n || len(res.Roots) != 1 || res.Faults != 0 {
		t.Fatalf("%d sections, roots %v, %d faults: %v", res.Sections, res.Roots, res.Faults, err)
	}
	if len(c.asked) != n {
		t.Errorf("%d blocks are remembered", len(c.asked))
	}
	for _, b := range c.asked {
		digest := sha256.Sum256(file[b.off : b.off+size])
		if mh := b.cid.Hash(); string(mh[2:]) != string(digest[:]) || found[string(mh)] != b.off {
			t.Fatalf("%v lies at %d, remembered at %d", b.cid, found[string(mh)], b.off)
		}
	}
	if !res.Roots[0].Equals(c.asked[0].cid) {
		t.Errorf("the root is %v", res.Roots[0])
	}
}

// TestIndexLimit: the limit of indexing writes what an index begins with,
// records in order, and as many bytes as it is told.
func TestIndexLimit(t *testing.T) {
	const n = 3000
	c, err := writeCAR(filepath.Join(t.TempDir(), "a.car"), 2, n, 10)
	if err != nil {
		t.Fatal(err)
	}
	buckets, err := walk(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range buckets {
		sortBucket(&buckets[i])
	}
	name := filepath.Join(t.TempDir(), "out")
	const length = n*rowSize + 777
	if err := writeBuckets(name, buckets, length); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(file) != length {
		t.Errorf("%d bytes, want %d", len(file), length)
	}
	var got, want []string
	for i := range n {
		got = append(got, string(file[i*recordSize:][:sha256.Size]))
		want = append(want, string(c.asked[i].cid.Hash()[2:]))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("the records are not all there in order")
	}
}

func TestStatistics(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Errorf("median of three: %v", m)
	}
	if m := median([]float64{9, 1, 5, 7}); m != 6 {
		t.Errorf("median of four: %v", m)
	}
	var order []string
	note := func(name string, v float64) func() (float64, error) {
		return func() (float64, error) {
			order = append(order, name)
			return v, nil
		}
	}
	f, l, err := pairs(t.Context(), 3, note("f", 3), note("l", 2))
	if err != nil || f != 3 || l != 2 || strings.Join(order, "") != "fllffl" {
		t.Errorf("%v, %v, %v in the order %v", f, l, err, order)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-run", "no-such-row"}, {"word"}, {"-nonsense"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, &out); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
	chosen, err := choose("get-all,index-mid")
	if err != nil || len(chosen) != 2 || chosen[0].id != "get-all" || chosen[1].id != "index-mid" {
		t.Errorf("%v, %v", chosen, err)
	}
}
