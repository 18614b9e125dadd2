package indextest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// The laws of an index, as they stand in the errors.
const (
	lawLen      = "Len is the number of records"
	lawFind     = "Find gives the positions of a multihash, by rising offset"
	lawFindMiss = "that there are none is no error"
	lawFindCut  = "a limit cuts the same positions short"
	lawFindDst  = "Find appends to dst"
	lawAll      = "All yields every record once, by code, length, digest, offset"
	lawBreak    = "All ends when its loop does, and can begin again"
	lawIdentity = "identity multihashes are in no index"
	lawShared   = "an index may be used by many goroutines at once"
)

// TestIndex checks that ix holds want, no more and no less, and keeps every
// law. Identity multihashes in want must not be in ix. Where ix does not store
// sizes, those in want must be -1, and Head 0. want is not changed.
func TestIndex(ix index.Index, want []index.Record) error {
	t := &indexTest{ix: ix, want: slices.Clone(want), positions: map[string][]index.Position{}}
	slices.SortFunc(t.want, compare)
	identity := 0
	for _, r := range t.want {
		if code, _, _ := split(r.Multihash); code == multihash.IDENTITY {
			identity++ // these come first
			if got, err := ix.Find(nil, r.Multihash, 0); err != nil || len(got) > 0 {
				t.broken(lawIdentity, "Find(%x) = %v, %v", []byte(r.Multihash), got, err)
			}
			continue
		}
		t.positions[string(r.Multihash)] = append(t.positions[string(r.Multihash)], r.Position)
	}
	t.want = t.want[identity:]
	if n := ix.Len(); n != int64(len(t.want)) {
		t.broken(lawLen, "Len = %d, want %d", n, len(t.want))
	}
	t.all()
	t.breaks()
	t.find()
	t.misses()
	if len(t.errs) == 0 { // otherwise it would only say the same again
		t.parallel()
	}
	return t.err()
}

type indexTest struct {
	report
	ix        index.Index
	want      []index.Record // without identity, in order
	positions map[string][]index.Position
}

// compare orders records as All does. Size and head only make it definite.
func compare(a, b index.Record) int {
	aCode, aDigest, _ := split(a.Multihash)
	bCode, bDigest, _ := split(b.Multihash)
	return cmp.Or(
		cmp.Compare(aCode, bCode),
		cmp.Compare(len(aDigest), len(bDigest)),
		bytes.Compare(aDigest, bDigest),
		cmp.Compare(a.Offset, b.Offset),
		cmp.Compare(a.Size, b.Size),
		cmp.Compare(a.Head, b.Head),
	)
}

func (t *indexTest) all() {
	n := 0
	for r, err := range t.ix.All() {
		switch {
		case err != nil:
			t.broken(lawAll, "after %d records: %w", n, err)
		case n >= len(t.want):
			t.broken(lawAll, "record %d is one too many: %x at %+v", n, []byte(r.Multihash), r.Position)
		case compare(r, t.want[n]) != 0:
			t.broken(lawAll, "record %d = %x at %+v, want %x at %+v", n,
				[]byte(r.Multihash), r.Position, []byte(t.want[n].Multihash), t.want[n].Position)
		}
		n++
	}
	if n < len(t.want) {
		t.broken(lawAll, "%d records, want %d", n, len(t.want))
	}
}

// breaks leaves All early, twice, and begins one within another.
func (t *indexTest) breaks() {
	for range 2 {
		n := 0
		for r, err := range t.ix.All() {
			if err != nil || n < len(t.want) && compare(r, t.want[n]) != 0 {
				t.broken(lawBreak, "record %d = %x, %v", n, []byte(r.Multihash), err)
			}
			for inner, err := range t.ix.All() {
				if err != nil || compare(inner, t.want[0]) != 0 {
					t.broken(lawBreak, "a loop within gives %x, %v", []byte(inner.Multihash), err)
				}
				break
			}
			if n++; n == 3 {
				break
			}
		}
		if n != min(3, len(t.want)) {
			t.broken(lawBreak, "%d records before the break", n)
		}
	}
}

func (t *indexTest) find() {
	prefix := []index.Position{{Offset: -7}, {Offset: -8}}
	for mh, want := range t.positions {
		got, err := t.ix.Find(nil, multihash.Multihash(mh), 0)
		if err != nil || !slices.Equal(got, want) {
			t.broken(lawFind, "Find(%x) = %+v, %v, want %+v", mh, got, err, want)
			continue
		}
		for _, limit := range []int{1, len(want) - 1, len(want), len(want) + 1} {
			short := want
			if limit > 0 {
				short = want[:min(limit, len(want))]
			}
			got, err := t.ix.Find(slices.Clone(prefix), multihash.Multihash(mh), limit)
			switch {
			case err != nil:
				t.broken(lawFindCut, "Find(%x) with limit %d: %w", mh, limit, err)
			case len(got) < 2 || !slices.Equal(got[:2], prefix):
				t.broken(lawFindDst, "Find(%x) = %+v, want it after %+v", mh, got, prefix)
			case !slices.Equal(got[2:], short):
				t.broken(lawFindCut, "Find(%x) with limit %d = %+v, want %+v", mh, limit, got[2:], short)
			}
		}
	}
}

// misses asks for what is not there: neighbours of what is, and bytes that are
// no multihash.
func (t *indexTest) misses() {
	ask := []multihash.Multihash{
		nil, {}, {0x12}, {0x12, 0x20}, {0x12, 0x20, 1, 2, 3}, {0x80}, {0x80, 0x80, 0x80},
		bytes.Repeat([]byte{0xff}, 40), {0, 0}, {0, 3, 'a', 'b', 'c'}, {0x12, 0},
	}
	for i, r := range t.want {
		if i%(1+len(t.want)/1000) != 0 {
			continue
		}
		mh := r.Multihash
		for _, bit := range []int{len(mh) - 1, len(mh) / 2, 0} {
			near := slices.Clone(mh)
			near[bit] ^= 1
			ask = append(ask, near)
		}
		ask = append(ask, mh[:len(mh)-1], append(slices.Clone(mh), 0))
	}
	for _, mh := range ask {
		if t.positions[string(mh)] != nil {
			continue
		}
		if got, err := t.ix.Find(nil, mh, 0); err != nil || len(got) != 0 {
			t.broken(lawFindMiss, "Find(%x) = %+v, %v", []byte(mh), got, err)
		}
	}
}

func (t *indexTest) parallel() {
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for g := range errs {
		wg.Go(func() { errs[g] = t.readSome(g, len(errs)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.broken(lawShared, "%w", err)
	}
}

func (t *indexTest) readSome(g, of int) error {
	var dst []index.Position
	for i := g; i < len(t.want); i += of * (1 + len(t.want)/2000) {
		mh := t.want[i].Multihash
		var err error
		dst, err = t.ix.Find(dst[:0], mh, 0)
		if err != nil || !slices.Equal(dst, t.positions[string(mh)]) {
			return fmt.Errorf("Find(%x) = %+v, %v", []byte(mh), dst, err) //nolint:errorlint // err may be nil
		}
	}
	n := 0
	for r, err := range t.ix.All() {
		if err != nil || n >= len(t.want) || compare(r, t.want[n]) != 0 {
			return fmt.Errorf("record %d of All = %x, %v", n, []byte(r.Multihash), err) //nolint:errorlint // err may be nil
		}
		n++
	}
	return nil
}
