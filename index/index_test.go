package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// collect returns the records of seq, which has no errors.
func collect(seq iter.Seq2[index.Record, error]) []index.Record {
	var recs []index.Record
	for r := range seq {
		r.Multihash = slices.Clone(r.Multihash)
		recs = append(recs, r)
	}
	return recs
}

// all is the reverse of collect, in an order of its own.
func all(recs []index.Record) iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		for _, i := range rand.New(rand.NewPCG(5, 5)).Perm(len(recs)) {
			if !yield(recs[i], nil) {
				return
			}
		}
	}
}

var identity = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// build returns an index file of recs.
func build(t testing.TB, recs []index.Record, opts *index.WriteOptions) ([]byte, index.Stats) {
	t.Helper()
	b := index.NewBuilder(opts)
	for r, err := range all(recs) {
		if err == nil {
			err = b.Add(r.Multihash, r.Position)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	stats, err := b.WriteTo(t.Context(), &buf, identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if stats.Length != int64(buf.Len()) {
		t.Fatalf("Length = %d of %d bytes", stats.Length, buf.Len())
	}
	return buf.Bytes(), stats
}

func save(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens data in one of the ways in which an index can be read.
func open(t testing.TB, data []byte, how string) *index.File {
	t.Helper()
	var f *index.File
	var err error
	switch how {
	case "mapped":
		f, err = index.OpenFile(save(t, data))
	case "pread":
		f, err = index.NewFile(bytes.NewReader(data), int64(len(data)))
	case "memory":
		f, err = index.NewFile(memory{bytes.NewReader(data), data}, int64(len(data)))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// memory is mapped, as far as a File knows.
type memory struct {
	io.ReaderAt
	data []byte
}

func (m memory) Bytes() []byte { return m.data }

var ways = []string{"mapped", "pread", "memory"}

func bare(recs []index.Record) []index.Record {
	recs = slices.Clone(recs)
	for i := range recs {
		recs[i].Size, recs[i].Head = -1, 0
	}
	return recs
}

func unique(recs []index.Record) int64 {
	seen := map[string]bool{}
	for _, r := range recs {
		seen[string(r.Multihash)] = true
	}
	return int64(len(seen))
}

func TestLaws(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 64, 65, 100, 1000, 20_000} {
		recs := collect(indextest.Records(uint64(n), n))
		for _, how := range ways {
			t.Run(fmt.Sprintf("%d/%s", n, how), func(t *testing.T) {
				data, stats := build(t, recs, nil)
				f := open(t, data, how)
				if err := indextest.TestIndex(f, recs); err != nil {
					t.Error(err)
				}
				if err := f.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if stats.Records != f.Len() || stats.Multihashes != unique(recs) {
					t.Errorf("Stats = %+v, want %d and %d", stats, f.Len(), unique(recs))
				}
				if f.CRC() != stats.CRC || f.Identity() != identity || f.HasSizes() != (f.Len() > 0) {
					t.Errorf("footer: %#x, %v, %v", f.CRC(), f.Identity(), f.HasSizes())
				}
			})
			t.Run(fmt.Sprintf("%d/%s/bare", n, how), func(t *testing.T) {
				data, stats := build(t, recs, &index.WriteOptions{Bare: true})
				f := open(t, data, how)
				if err := indextest.TestIndex(f, bare(recs)); err != nil {
					t.Error(err)
				}
				if err := f.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if stats.CRC != 0 || f.CRC() != 0 || f.HasSizes() || f.Identity() != [16]byte{} {
					t.Errorf("a bare index has a footer: %+v", stats)
				}
			})
		}
	}
}

// TestSpill builds the same file with so little memory that nearly all of it
// is spilled.
func TestSpill(t *testing.T) {
	recs := collect(indextest.Records(3, 30_000))
	want, wantStats := build(t, recs, nil)
	dir := t.TempDir()
	got, stats := build(t, recs, &index.WriteOptions{Memory: 1, Spill: dir})
	if stats != wantStats || !bytes.Equal(got, want) {
		t.Errorf("with spilling %+v, without %+v", stats, wantStats)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
	b := index.NewBuilder(&index.WriteOptions{Memory: 1, Spill: filepath.Join(dir, "none")})
	defer b.Close()
	var err error
	for _, r := range recs {
		if err = b.Add(r.Multihash, r.Position); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder to spill to: %v", err)
	}
	// It lacks that record at least, so it must not come out as a whole file.
	if _, err := b.WriteTo(t.Context(), io.Discard, identity); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("WriteTo after a failed spill: %v", err)
	}
}

func sha(i int) multihash.Multihash {
	mh := make([]byte, 34)
	mh[0], mh[1] = 0x12, 32
	rng := rand.New(rand.NewPCG(uint64(i), 9))
	for j := range mh[2:] {
		mh[2+j] = byte(rng.Uint32())
	}
	return mh
}

// TestLengths has sizes and heads at the edges of what is stored.
func TestLengths(t *testing.T) {
	in := []index.Position{
		{Offset: 0, Size: 0, Head: 1}, {Offset: 1, Size: 1<<32 - 2, Head: 255}, {Offset: 2, Size: 1<<32 - 1, Head: 40},
		{Offset: 3, Size: 1 << 40, Head: 256}, {Offset: 1<<63 - 1, Size: -1, Head: 0}, {Offset: 4, Size: -5, Head: -1},
	}
	want := []index.Position{
		{Offset: 0, Size: 0, Head: 1}, {Offset: 1, Size: 1<<32 - 2, Head: 255}, {Offset: 2, Size: -1, Head: 40},
		{Offset: 3, Size: -1, Head: 0}, {Offset: 1<<63 - 1, Size: -1, Head: 0}, {Offset: 4, Size: -1, Head: 0},
	}
	var recs, out []index.Record
	for i := range in {
		recs = append(recs, index.Record{Multihash: sha(i), Position: in[i]})
		out = append(out, index.Record{Multihash: sha(i), Position: want[i]})
	}
	data, _ := build(t, recs, nil)
	if err := indextest.TestIndex(open(t, data, "mapped"), out); err != nil {
		t.Error(err)
	}
	// Where nothing is known of any, there is no section for it.
	data, _ = build(t, bare(recs), nil)
	f := open(t, data, "mapped")
	if err := indextest.TestIndex(f, bare(recs)); err != nil || f.HasSizes() {
		t.Errorf("HasSizes = %v, %v", f.HasSizes(), err)
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAlike(t *testing.T) {
	recs := make([]index.Record, 0, 6000)
	for i := range 6000 {
		mh := sha(1)
		switch {
		case i < 3000: // one block many times
		case i < 5000: // the same first 8 bytes
			copy(mh[10:], sha(i)[10:])
		default:
			mh[33], mh[32] = byte(i), byte(i>>8)
		}
		recs = append(recs, index.Record{Multihash: mh, Position: index.Position{Offset: int64(i), Size: int64(i % 7), Head: 36}})
	}
	data, _ := build(t, recs, nil)
	for _, how := range ways {
		if err := indextest.TestIndex(open(t, data, how), recs); err != nil {
			t.Error(how, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	b := index.NewBuilder(nil)
	defer b.Close()
	long := append([]byte{0x12, 0x81, 0x08}, make([]byte, 1025)...)
	for name, r := range map[string]index.Record{
		"nothing":         {},
		"cut":             {Multihash: sha(1)[:33]},
		"too long":        {Multihash: append(sha(1), 0)},
		"no digest":       {Multihash: multihash.Multihash{0x12, 0}},
		"long digest":     {Multihash: long},
		"negative offset": {Multihash: sha(1), Position: index.Position{Offset: -1}},
		"varint":          {Multihash: bytes.Repeat([]byte{0xff}, 20)},
		"not minimal":     {Multihash: append([]byte{0x92, 0x00, 32}, make([]byte, 32)...)},
	} {
		if err := b.Add(r.Multihash, r.Position); !errors.Is(err, index.ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Add(sha(1), index.Position{}); err != nil {
		t.Errorf("after what was refused: %v", err)
	}
	if stats, err := b.WriteTo(t.Context(), io.Discard, identity); err != nil || stats.Records != 1 {
		t.Errorf("WriteTo = %+v, %v", stats, err)
	}
	if _, err := b.WriteTo(t.Context(), io.Discard, identity); !errors.Is(err, index.ErrSpent) {
		t.Errorf("WriteTo again: %v", err)
	}
	if err := b.Add(sha(1), index.Position{}); !errors.Is(err, index.ErrSpent) {
		t.Errorf("Add after WriteTo: %v", err)
	}
}

// TestKinds has more kinds of multihash than a file may hold.
func TestKinds(t *testing.T) {
	b := index.NewBuilder(nil)
	defer b.Close()
	kinds := 0
	for code := 1; ; code++ {
		mh := []byte{byte(code)&0x7f | 0x80, byte(code>>7)&0x7f | 0x80, byte(code>>14) | 0x40, 4, 1, 2, 3, 4}
		if err := b.Add(mh, index.Position{Offset: int64(code)}); err != nil {
			if !errors.Is(err, index.ErrRecord) {
				t.Fatal(err)
			}
			break
		}
		kinds++
	}
	var buf bytes.Buffer
	if _, err := b.WriteTo(t.Context(), &buf, identity); err != nil {
		t.Fatal(err)
	}
	f := open(t, buf.Bytes(), "mapped")
	if f.Len() != int64(kinds) {
		t.Errorf("%d records of %d kinds", f.Len(), kinds)
	}
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWrite(t *testing.T) {
	recs := collect(indextest.Records(4, 500))
	var buf bytes.Buffer
	if err := index.Write(t.Context(), &buf, all(recs), nil); err != nil {
		t.Fatal(err)
	}
	if err := indextest.TestIndex(open(t, buf.Bytes(), "mapped"), recs); err != nil {
		t.Error(err)
	}
	cause := errors.New("made by the test")
	if err := index.Write(t.Context(), io.Discard, func(yield func(index.Record, error) bool) {
		_ = yield(recs[0], nil) && yield(index.Record{}, cause)
	}, nil); err != cause {
		t.Errorf("Write = %v, want the error of the records", err)
	}
	if err := index.Write(t.Context(), failing{}, all(recs), nil); !errors.Is(err, errFull) {
		t.Errorf("Write to a full disk = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := index.Write(ctx, io.Discard, all(recs), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Write after the context has ended = %v", err)
	}
}

var errFull = errors.New("no space")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
