package index_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	carindex "github.com/ipld/go-car/v2/index"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// withoutIdentity is what of recs an index holds.
func withoutIdentity(recs []index.Record) []index.Record {
	return slices.DeleteFunc(slices.Clone(recs), func(r index.Record) bool { return r.Multihash[0] == multihash.IDENTITY })
}

// TestGoCarReads has go-car read our files, with and without what follows the
// standard part, and find every record.
func TestGoCarReads(t *testing.T) {
	for _, n := range []int{0, 1, 100, 10_000} {
		recs := withoutIdentity(collect(indextest.Records(uint64(n), n)))
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/bare=%v", n, bare), func(t *testing.T) {
				data, _ := build(t, recs, &index.WriteOptions{Bare: bare})
				ix, err := carindex.ReadFrom(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				checkGoCar(t, ix, recs)
			})
		}
	}
}

func checkGoCar(t *testing.T, ix carindex.Index, recs []index.Record) {
	t.Helper()
	count := 0
	if err := ix.(carindex.IterableIndex).ForEach(func(multihash.Multihash, uint64) error {
		count++
		return nil
	}); err != nil || count != len(recs) {
		t.Errorf("go-car sees %d records of %d, %v", count, len(recs), err)
	}
	offsets := map[string][]uint64{}
	for _, r := range recs {
		offsets[string(r.Multihash)] = append(offsets[string(r.Multihash)], uint64(r.Offset))
	}
	for mh, want := range offsets {
		var got []uint64
		err := ix.GetAll(cid.NewCidV1(cid.Raw, multihash.Multihash(mh)), func(offset uint64) bool {
			got = append(got, offset)
			return true
		})
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("go-car finds %x at %v, want %v, %v", mh, got, want, err)
		}
	}
}

// TestReadsGoCar reads what go-car wrote, and compares it with ours byte for
// byte where the format leaves no choice: without repeated digests.
func TestReadsGoCar(t *testing.T) {
	for _, repeated := range []bool{false, true} {
		recs := withoutIdentity(collect(indextest.Records(2, 5000)))
		if !repeated {
			seen := map[string]bool{}
			recs = slices.DeleteFunc(recs, func(r index.Record) bool {
				before := seen[string(r.Multihash)]
				seen[string(r.Multihash)] = true
				return before
			})
		}
		theirs := carindex.NewMultihashSorted()
		var load []carindex.Record
		for r := range all(recs) {
			load = append(load, carindex.Record{Cid: cid.NewCidV1(cid.Raw, r.Multihash), Offset: uint64(r.Offset)})
		}
		if err := theirs.Load(load); err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if _, err := carindex.WriteTo(theirs, &buf); err != nil {
			t.Fatal(err)
		}
		for _, how := range ways {
			f := open(t, buf.Bytes(), how)
			if err := indextest.TestIndex(f, bare(recs)); err != nil {
				t.Error(how, err)
			}
			if err := f.Verify(t.Context()); err != nil {
				t.Error(how, err)
			}
		}
		ours, _ := build(t, recs, &index.WriteOptions{Bare: true})
		whole, _ := build(t, recs, nil)
		if !repeated && !bytes.Equal(buf.Bytes(), ours) {
			t.Error("a bare index differs from go-car's")
		}
		if !bytes.HasPrefix(whole, ours) {
			t.Error("a whole index does not begin with the bare one")
		}
	}
}

// TestGoCarIdentity reads an index of go-car's that has identity multihashes.
func TestGoCarIdentity(t *testing.T) {
	recs := collect(indextest.Records(2, 300))
	theirs := carindex.NewMultihashSorted()
	var load []carindex.Record
	for _, r := range recs {
		if len(r.Multihash) > 2 { // it cannot read a digest of 0 bytes back
			load = append(load, carindex.Record{Cid: cid.NewCidV1(cid.Raw, r.Multihash), Offset: uint64(r.Offset)})
		}
	}
	if err := theirs.Load(load); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := carindex.WriteTo(theirs, &buf); err != nil {
		t.Fatal(err)
	}
	if err := indextest.TestIndex(open(t, buf.Bytes(), "mapped"), bare(recs)); err != nil {
		t.Error(err)
	}
}
