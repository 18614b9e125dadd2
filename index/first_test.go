package index_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// asked are the multihashes of recs, and beside each one that is not there.
func asked(recs []index.Record) []multihash.Multihash {
	var out []multihash.Multihash
	for i := range recs {
		mh := recs[i].Multihash
		other := slices.Clone(mh)
		if len(other) > 2 {
			other[len(other)-1] ^= 1
		}
		first := slices.Clone(mh)
		if len(first) > 4 {
			first[4] ^= 0x80
		}
		out = append(out, mh, other, first)
	}
	return append(out, nil, multihash.Multihash{0x12}, multihash.Multihash{0x12, 0x20}, multihash.Multihash{0x77, 1, 1})
}

func sameAsFind(t *testing.T, f *index.File, mhs []multihash.Multihash) {
	t.Helper()
	for _, mh := range mhs {
		want, wantErr := f.Find(nil, mh, 1)
		got, ok, err := f.First(mh)
		if ok != (len(want) == 1) || ok && got != want[0] || (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: First gives %+v, %v, %v; Find %+v, %v", mh, got, ok, err, want, wantErr)
		}
	}
}

// TestFirstIsWhatFindGivesFirst compares the two in files of every size and
// kind, read in every way.
func TestFirstIsWhatFindGivesFirst(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 8, 63, 64, 65, 100, 1000, 5000} {
		recs := collect(indextest.Records(uint64(n)+7, n))
		for _, how := range ways {
			for _, opts := range []*index.WriteOptions{nil, {Bare: true}} {
				t.Run(fmt.Sprintf("%d/%s/%v", n, how, opts != nil), func(t *testing.T) {
					data, _ := build(t, recs, opts)
					sameAsFind(t, open(t, data, how), asked(recs))
				})
			}
		}
	}
}

// TestFirstAmongDigestsThatAreAlike has the same first 8 bytes in slots of all
// lengths, and one block many times.
func TestFirstAmongDigestsThatAreAlike(t *testing.T) {
	for _, alike := range []int{2, 5, 9, 40, 200, 3000} {
		var recs []index.Record
		add := func(mh multihash.Multihash) {
			recs = append(recs, index.Record{Multihash: mh, Position: index.Position{Offset: int64(len(recs)), Size: int64(len(recs)), Head: 36}})
		}
		for i := range 500 {
			add(sha(i))
		}
		for i := range alike {
			mh := sha(77)
			copy(mh[10:], sha(i + 1000)[10:])
			add(mh)
		}
		for range alike {
			add(sha(78))
		}
		data, _ := build(t, recs, nil)
		for _, how := range ways {
			sameAsFind(t, open(t, data, how), asked(recs))
		}
	}
}

// TestFirstSeesDamage: a page that is not what was written is an error.
func TestFirstSeesDamage(t *testing.T) {
	recs := collect(indextest.Records(11, 600))
	data, _ := build(t, recs, nil)
	good := open(t, data, "memory")
	for off := 0; off < len(data); off += 611 {
		bad := slices.Clone(data)
		bad[off] ^= 0x10
		f, err := index.NewFile(memory{nil, bad}, int64(len(bad)))
		if err != nil {
			continue // the footer or the heads
		}
		told := false
		for _, r := range recs {
			want, has, _ := good.First(r.Multihash)
			got, ok, err := f.First(r.Multihash)
			switch {
			case err != nil && !errors.Is(err, index.ErrDamaged):
				t.Fatal(err)
			case err != nil:
				told = true
			case ok != has || got != want:
				t.Fatalf("byte %d: %x gives %+v, %v", off, r.Multihash, got, ok)
			}
		}
		if !told && f.Verify(t.Context()) == nil {
			t.Fatalf("byte %d is of another value, and nobody says so", off)
		}
	}
}

// TestFirstWhereTheGuessIsWrong has digests that are not spread evenly: all of
// a slot lie at one end of it, so that the place is far from where it is looked
// for first, below and above.
func TestFirstWhereTheGuessIsWrong(t *testing.T) {
	for _, low := range []bool{true, false} {
		var recs []index.Record
		for i := range 4096 {
			mh := sha(i)
			if d := mh[2:]; low { // the first 6 bits choose the slot
				d[0], d[1] = d[0]&0xfc, 0
			} else {
				d[0], d[1] = d[0]|0x03, 0xff
			}
			recs = append(recs, index.Record{Multihash: mh, Position: index.Position{Offset: int64(i), Size: int64(i), Head: 36}})
		}
		data, _ := build(t, recs, nil)
		for _, how := range ways {
			sameAsFind(t, open(t, data, how), asked(recs))
		}
	}
}

// TestFirstOfWhatCannotBeRead asks a file that was cut after it was opened.
func TestFirstOfWhatCannotBeRead(t *testing.T) {
	recs := collect(indextest.Records(13, 3000))
	data, _ := build(t, recs, nil)
	path := filepath.Join(t.TempDir(), "cut.idx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := index.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Skipf("the platform does not truncate what is mapped: %v", err)
	}
	told := 0
	for _, r := range recs {
		if _, _, err := f.First(r.Multihash); err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Fatal(err)
			}
			told++
		}
	}
	if told == 0 {
		t.Error("an index that is gone answers")
	}
}

func TestFirstAllocatesNothing(t *testing.T) {
	recs := collect(indextest.Records(12, 2000))
	data, _ := build(t, recs, nil)
	f := open(t, data, "mapped")
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i++
		if _, _, err := f.First(recs[i%len(recs)].Multihash); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
