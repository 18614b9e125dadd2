package layers

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// manyLayers returns an index of count mapped layers, layer i of 2,000 blocks
// from 1,000 × i on: each block but the outermost is in two.
func manyLayers(t *testing.T, count int) (*Inverted, *folder) {
	t.Helper()
	inv, f := openIn(t)
	for i := range count {
		must(t, inv.Add(t.Context(), index.ID(i), blocks(span(1000*i, 1000*i+2000))))
		must(t, inv.Flush(t.Context()))
	}
	return inv, f
}

// Filters are asked for several layers at once. Whether a page was seen before
// or not, and however many layers there are, the answer is the same.
func TestProbesOfManyLayers(t *testing.T) {
	for _, count := range []int{1, probeAhead - 1, probeAhead, probeAhead + 1, 3*probeAhead + 2} {
		inv, _ := manyLayers(t, count)
		for _, n := range span(0, 1000*(count+1)) {
			want := []index.ID{}
			for _, i := range []int{n / 1000, n/1000 - 1} {
				if 0 <= i && i < count {
					want = append(want, index.ID(i))
				}
			}
			for range 2 { // the first may meet pages that nobody has seen
				mustFind(t, inv, n, want...)
			}
			mustFind(t, inv, n+1_000_000)
		}
	}
}

// A layer whose file has shrunk under its mapping fails alone, also when its
// filter was asked together with those of others.
func TestProbeOfAShrunkenFile(t *testing.T) {
	const count, bad = 6, 2
	inv, f := manyLayers(t, count)
	for n := range 1000 * (count + 1) {
		_, err := inv.Find(nil, block(n), 0)
		must(t, err)
	}
	if err := os.Truncate(f.path(bad+1), 0); err != nil {
		t.Logf("the system does not let a mapped file shrink: %v", err)
		return
	}
	failed := 0
	for n := range 1000 * (count + 1) {
		got, err := inv.Find(nil, block(n), 0)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Layer != bad+1 || !errors.Is(err, index.ErrDamaged)) {
			t.Fatalf("block %d: %v", n, err)
		}
		if err != nil {
			failed++
		}
		for _, i := range []int{n / 1000, n/1000 - 1} {
			if 0 <= i && i < count && i != bad && !slices.Contains(got, index.ID(i)) {
				t.Fatalf("block %d is in %v, without %d", n, got, i)
			}
		}
		if n/1000 == bad && err == nil {
			t.Fatalf("block %d is in %v, and no error says what is missing", n, got)
		}
	}
	if failed < 2000 {
		t.Errorf("only %d lookups failed", failed)
	}
	if got := inv.Spoiled(); !slices.Equal(got, []uint32{bad + 1}) {
		t.Errorf("spoiled layers %v", got)
	}
}

// A partition is found wherever its keys lie, evenly or not.
func TestPartOfUnevenKeys(t *testing.T) {
	var parts []part
	for i := range uint64(50) {
		first := 8 * i * i * i
		if i >= 40 {
			first = i << 57
		}
		parts = append(parts, part{first: first, last: first + 1})
	}
	l := &layer{parts: parts}
	for i := range parts {
		p := &parts[i]
		for _, key := range []uint64{p.first, p.last} {
			if got := l.part(key); got != p && (got == nil || key != got.first) {
				t.Errorf("key %d is in %+v, want partition %d", key, got, i)
			}
		}
		if got := l.part(p.last + 1); got != nil && got.first != p.last+1 {
			t.Errorf("key %d is in %+v", p.last+1, got)
		}
	}
}
