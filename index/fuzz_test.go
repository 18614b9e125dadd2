package index_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// FuzzNewFile opens arbitrary bytes, mapped and not. Nothing panics, both agree,
// no error is of another kind, and nothing is given back that is not there.
func FuzzNewFile(f *testing.F) {
	for _, n := range []int{0, 1, 5, 80} {
		recs := collect(indextest.Records(uint64(n), n))
		whole, _ := build(f, recs, nil)
		bare, _ := build(f, recs, &index.WriteOptions{Bare: true})
		f.Add(whole)
		f.Add(bare)
		f.Add(whole[:len(whole)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkAny(t, data)
		if len(data) >= 64 && bytes.Equal(data[len(data)-8:len(data)-4], []byte("DSix")) {
			reseal(data) // and once with checksums that do not stop it
			checkAny(t, data)
		}
	})
}

func checkAny(t *testing.T, data []byte) {
	t.Helper()
	pread, err := index.NewFile(bytes.NewReader(data), int64(len(data)))
	mem, memErr := index.NewFile(memory{bytes.NewReader(data), data}, int64(len(data)))
	if (err == nil) != (memErr == nil) {
		t.Fatalf("read %v, mapped %v", err, memErr)
	}
	if err != nil {
		if !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
			t.Fatal(err)
		}
		return
	}
	verified := pread.Verify(t.Context())
	if memErr := mem.Verify(t.Context()); (verified == nil) != (memErr == nil) {
		t.Fatalf("Verify: read %v, mapped %v", verified, memErr)
	}
	if n := pread.Len(); n < 0 || n > int64(len(data))/9 {
		t.Fatalf("%d records in %d bytes", n, len(data))
	}
	var recs []index.Record
	for r, err := range pread.All() {
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) || verified == nil {
				t.Fatalf("All: %v, Verify: %v", err, verified)
			}
			continue
		}
		if r.Offset < 0 || r.Size < -1 || r.Head < 0 || r.Head > 255 {
			t.Fatalf("%x at %+v cannot be in a file", []byte(r.Multihash), r.Position)
		}
		r.Multihash = slices.Clone(r.Multihash)
		recs = append(recs, r)
	}
	if verified == nil {
		// Then everything is right: all laws hold for what All gave.
		if err := indextest.TestIndex(mem, recs); err != nil {
			t.Fatal(err)
		}
		sameAsFind(t, mem, asked(recs))
		return
	}
	for _, r := range recs {
		if p, ok, err := mem.First(r.Multihash); err != nil && !errors.Is(err, index.ErrDamaged) || ok && p.Offset < 0 {
			t.Fatalf("First = %v, %v", p, err)
		}
		for _, f := range []*index.File{pread, mem} {
			got, err := f.Find(nil, r.Multihash, 0)
			if err != nil && !errors.Is(err, index.ErrDamaged) || len(got) > int(f.Len()) {
				t.Fatalf("Find = %v, %v", got, err)
			}
		}
	}
}

// FuzzMutation changes a few bytes of a good file and makes its checksums right
// again. If Verify passes, every answer is the one that All gives.
func FuzzMutation(f *testing.F) {
	recs := collect(indextest.Records(11, 400))
	good, _ := build(f, recs, nil)
	f.Add(uint32(0), uint32(0x01020304))
	f.Add(uint32(len(good)-20), uint32(1))
	f.Add(uint32(len(good)-64), uint32(1))
	f.Add(uint32(40), uint32(0xff000000))
	f.Fuzz(func(t *testing.T, at, change uint32) {
		data := slices.Clone(good)
		for i := range 4 {
			data[(int(at)+i)%len(data)] ^= byte(change >> (8 * i))
		}
		checkAny(t, slices.Clone(data))
		reseal(data)
		checkAny(t, data)
	})
}

// FuzzBuilder gives the builder arbitrary multihashes.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte("\x12\x20........"), int64(5), int64(6), 7)
	f.Add([]byte("\x00\x01a\x12\x01b\x11\x02cd\x80\x01\x02xy"), int64(1<<40), int64(-1), 300)
	f.Fuzz(func(t *testing.T, data []byte, offset, size int64, head int) {
		b := index.NewBuilder(nil)
		defer b.Close()
		var recs []index.Record
		for i := int64(0); len(data) > 0; i++ {
			n := min(int(data[0])%40, len(data))
			mh := slices.Clone(data[:n])
			data = data[max(n, 1):]
			p := index.Position{Offset: offset + i%3, Size: size, Head: head}
			err := b.Add(mh, p)
			if err != nil {
				if !errors.Is(err, index.ErrRecord) {
					t.Fatal(err)
				}
				continue
			}
			if p.Size < 0 || p.Size >= 1<<32-1 {
				p.Size = -1
			}
			if p.Head < 0 || p.Head > 255 {
				p.Head = 0
			}
			recs = append(recs, index.Record{Multihash: mh, Position: p})
		}
		var buf bytes.Buffer
		stats, err := b.WriteTo(t.Context(), &buf, identity)
		if err != nil {
			t.Fatal(err)
		}
		if stats.Multihashes != unique(recs) {
			t.Fatalf("%d multihashes, want %d", stats.Multihashes, unique(recs))
		}
		ix, err := index.NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := indextest.TestIndex(ix, recs); err != nil {
			t.Fatal(err)
		}
		if err := ix.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
