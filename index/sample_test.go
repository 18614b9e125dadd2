package index_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// byOffset gives each record a place of its own in an order.
func byOffset(a, b index.Record) int { return cmp.Compare(a.Offset, b.Offset) }

func TestSample(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		recs := withoutIdentity(collect(indextest.Records(7, n)))
		for _, how := range []string{"mapped", "pread", "bare"} {
			t.Run(fmt.Sprint(n, " ", how), func(t *testing.T) { testSample(t, recs, how) })
		}
	}
}

func testSample(t *testing.T, recs []index.Record, how string) {
	f, want := openSample(t, recs, how)
	slices.SortFunc(want, byOffset)
	for _, n := range []int{-1, 0, 1, 16, len(want), len(want) + 1} {
		got, err := f.Sample(n)
		if err != nil || len(got) != min(max(n, 0), len(want)) {
			t.Fatalf("%d of %d records: %d, %v", n, len(want), len(got), err)
		}
		last := int64(-1)
		for _, r := range got {
			i, ok := slices.BinarySearchFunc(want, r, byOffset)
			if !ok || string(want[i].Multihash) != string(r.Multihash) || want[i].Position != r.Position {
				t.Fatalf("%+v is no record", r)
			}
			if r.Offset <= last {
				t.Fatalf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
		}
	}
}

// openSample opens an index of recs, and says what is in it then.
func openSample(t *testing.T, recs []index.Record, how string) (*index.File, []index.Record) {
	t.Helper()
	switch how {
	case "bare":
		data, _ := build(t, recs, &index.WriteOptions{Bare: true})
		return open(t, data, "mapped"), bare(recs)
	default:
		data, _ := build(t, recs, nil)
		return open(t, data, how), slices.Clone(recs)
	}
}

// Each record is drawn about as often as any other, the first and the last
// of a run, too.
func TestSampleIsFair(t *testing.T) {
	recs := withoutIdentity(collect(indextest.Records(3, 50)))
	f, want := openSample(t, recs, "mapped")
	drawn := map[int64]int{}
	const times, n = 20000, 8
	for range times {
		got, err := f.Sample(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			drawn[r.Offset]++
		}
	}
	mean := times * n / len(want)
	for _, r := range want { // 4 in 5: more than ten standard deviations
		if got := drawn[r.Offset]; got < mean*4/5 || got > mean*6/5 {
			t.Errorf("the record at %d was drawn %d times, the mean is %d", r.Offset, got, mean)
		}
	}
}

func TestSampleOfDamage(t *testing.T) {
	data, _ := build(t, withoutIdentity(collect(indextest.Records(3, 500))), nil)
	data[9000] ^= 1
	for _, how := range []string{"mapped", "pread"} {
		f := open(t, data, how)
		if _, err := f.Sample(500); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// A sample of a long file reads no more than one of a short one.
func TestSampleIsBounded(t *testing.T) {
	data, _ := build(t, withoutIdentity(collect(indextest.Records(9, 20000))), nil)
	r := &faulty{bytes.NewReader(data), nil, 1 << 20}
	f, err := index.NewFile(r, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	before := r.left
	if _, err := f.Sample(16); err != nil {
		t.Fatal(err)
	}
	if n := before - r.left; n > 16*4 {
		t.Errorf("%d reads for 16 records", n)
	}
}
