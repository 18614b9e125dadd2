package layers

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// spread is an odd number that spreads small ones over all keys.
const spread = 0x9e3779b97f4a7c15

// build returns a layer of n keys: key i in the ids that ids returns.
func build(t testing.TB, n, partKeys int, ids func(i int) []index.ID) []byte {
	t.Helper()
	keys := make([]uint64, n)
	at := make(map[uint64]int, n)
	for i := range keys {
		keys[i] = uint64(i) * spread
		at[keys[i]] = i
	}
	slices.Sort(keys)
	var out bytes.Buffer
	w := newWriter(&out, partKeys, 7)
	defer w.close()
	all := roaring.New()
	for _, key := range keys {
		for _, id := range ids(at[key]) {
			must(t, w.add(key, id))
			all.Add(uint32(id))
		}
	}
	l, err := w.finish(all)
	must(t, err)
	if l.Length != int64(out.Len()) {
		t.Fatalf("finish says %d bytes, there are %d", l.Length, out.Len())
	}
	return out.Bytes()
}

type plainFile struct{ *bytes.Reader }

func (plainFile) Close() error { return nil }

func plain(b []byte) File { return plainFile{bytes.NewReader(b)} }

// lookup returns the ids of key, falling.
func lookup(l *layer, key uint64) (ids []index.ID, err error) {
	c := cursor{layer: l}
	defer c.close()
	ok, err := l.find(key, &probe{}, &c)
	for ok && err == nil {
		ids = append(ids, c.id)
		ok, err = c.advance()
	}
	return ids, err
}

func mapped3(i int) []index.ID {
	if i%50 == 0 {
		return []index.ID{1, 2, 3, 1 << 31, math.MaxUint32}
	}
	return []index.ID{index.ID(i%3 + 1)}
}

// Every shape of a layer gives back what was put in: without fan-out and
// filter, with them, in one partition and in many, out of a file and mapped.
func TestLayerShapes(t *testing.T) {
	for _, shape := range []struct{ keys, part int }{
		{1, 1000}, {2, 1}, {31, 1000}, {341, 1000}, {342, 1000}, {1000, 1000}, {1001, 1000}, {20_000, 3000},
	} {
		b := build(t, shape.keys, shape.part, mapped3)
		path := filepath.Join(t.TempDir(), "layer")
		must(t, os.WriteFile(path, b, 0o600))
		m, err := mmap.Open(path)
		must(t, err)
		for name, f := range map[string]File{"file": plain(b), "mapped": m} {
			l, err := parseLayer(f, 7)
			if err != nil {
				t.Fatalf("%+v, %s: %v", shape, name, err)
			}
			for i := range shape.keys {
				want := slices.Clone(mapped3(i))
				slices.Reverse(want)
				if got, err := lookup(l, uint64(i)*spread); err != nil || !slices.Equal(got, want) {
					t.Fatalf("%+v, %s: key %d is in %v, %v; want %v", shape, name, i, got, err, want)
				}
				if got, err := lookup(l, uint64(i)*spread+1); err != nil || len(got) != 0 {
					t.Fatalf("%+v, %s: a key that is not there is in %v, %v", shape, name, got, err)
				}
			}
			for _, key := range []uint64{1, math.MaxUint64} {
				if got, err := lookup(l, key); err != nil || len(got) != 0 {
					t.Errorf("%+v, %s: key %d is in %v, %v", shape, name, key, got, err)
				}
			}
		}
		must(t, m.Close())
	}
}

// The format does not change by itself: neither by us nor by the library that
// builds the filters.
func TestFormatIsFixed(t *testing.T) {
	for _, c := range []struct {
		keys int
		sum  string
	}{{3, "992ccaca"}, {5000, "01598650"}} {
		b := build(t, c.keys, 4000, mapped3)
		if got := sumOf(b); got != c.sum {
			t.Errorf("a layer of %d keys has the sum %s, not %s: is it another version?", c.keys, got, c.sum)
		}
	}
}

func sumOf(b []byte) string {
	h := crc32.NewIEEE()
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func TestWriterKeepsOrder(t *testing.T) {
	w := newWriter(&bytes.Buffer{}, 10, 0)
	defer w.close()
	must(t, w.add(5, 5))
	must(t, w.add(5, 5))
	if err := w.add(5, 4); !errors.Is(err, errOrder) {
		t.Errorf("a lower id: %v", err)
	}
	if err := w.add(4, 9); !errors.Is(err, errOrder) {
		t.Errorf("a lower key: %v", err)
	}
	if w.rows != 1 {
		t.Errorf("%d rows, want 1", w.rows)
	}
}

// Any one byte that is changed is found out when it is used: every lookup is
// right, or is an error that says so.
func TestEveryByteDamaged(t *testing.T) {
	const keys = 700
	good := build(t, keys, 400, mapped3)
	found := 0
	for at := 0; at < len(good); at += 3 + at%7 {
		b := slices.Clone(good)
		b[at] ^= 1 << (at % 8)
		l, err := parseLayer(plain(b), 7)
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) {
				t.Fatalf("byte %d: %v", at, err)
			}
			found++
			continue
		}
		failed := false
		for i := 0; i < keys; i += 23 {
			want := slices.Clone(mapped3(i))
			slices.Reverse(want)
			got, err := lookup(l, uint64(i)*spread)
			if err != nil {
				failed = true
				if !errors.Is(err, index.ErrDamaged) {
					t.Fatalf("byte %d: %v", at, err)
				}
			} else if !slices.Equal(got, want) {
				t.Fatalf("byte %d: key %d is in %v, want %v", at, i, got, want)
			}
		}
		if !failed {
			t.Fatalf("byte %d: nothing noticed", at)
		}
		found++
	}
	if found < len(good)/8 {
		t.Errorf("only %d of %d bytes were tried", found, len(good))
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	good := build(t, 400, 1000, mapped3)
	newer := slices.Clone(good[len(good)-footerSize:])
	newer[8] = version + 1
	sum := crc32.Checksum(newer[:footerSize-4], castagnoli)
	newer[60], newer[61], newer[62], newer[63] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	for name, c := range map[string]struct {
		bytes []byte
		key   uint32
		want  error
	}{
		"empty":         {nil, 7, index.ErrDamaged},
		"zeros":         {make([]byte, len(good)), 7, index.ErrDamaged},
		"cut at end":    {good[:len(good)-1], 7, index.ErrDamaged},
		"cut at front":  {good[pageSize:], 7, index.ErrDamaged},
		"too long":      {slices.Concat(make([]byte, pageSize), good), 7, index.ErrDamaged},
		"other store":   {good, 8, index.ErrDamaged},
		"other version": {slices.Concat(good[:len(good)-footerSize], newer), 7, index.ErrVersion},
	} {
		if _, err := parseLayer(plain(c.bytes), c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A file that becomes shorter under its mapping is damaged, and nobody dies.
func TestFileShrinksUnderItsMapping(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layer")
	must(t, os.WriteFile(path, build(t, 3000, 5000, mapped3), 0o600))
	m, err := mmap.Open(path)
	must(t, err)
	defer m.Close()
	l, err := parseLayer(m, 7)
	must(t, err)
	if err := os.Truncate(path, 0); err != nil {
		t.Logf("the system does not let a mapped file shrink: %v", err)
		return
	}
	if _, err := lookup(l, spread); !errors.Is(readFault(err), index.ErrDamaged) {
		t.Errorf("lookup: %v", err)
	}
	r := rowReader{layer: l, window: window{pages: &l.pages}}
	if _, err := r.next(); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("reading on: %v", err)
	}
}

// A damaged layer costs its own postings and no others, and says so.
func TestDamageIsToldBesideTheRest(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for id := range index.ID(2) {
		must(t, d.register(inv, id, span(0, 5)))
		must(t, inv.Flush(t.Context()))
	}
	d.files[2][0] ^= 1
	var e *Error
	got, err := inv.Find(nil, block(3), 0)
	if !errors.Is(err, index.ErrDamaged) || !errors.As(err, &e) || e.Layer != 2 || !slices.Equal(got, []index.ID{0}) {
		t.Errorf("found %v, %v; want 0 and damage of layer 2", got, err)
	}
	// Who found what it wanted is served.
	if got, err := inv.Find(nil, block(3), 1); err != nil || !slices.Equal(got, []index.ID{0}) {
		t.Errorf("found %v, %v", got, err)
	}
}

// A damaged layer cannot be merged away. The error names it, and not the layer
// that was being written, and the layers beside it are merged nevertheless.
func TestDamagedLayerIsNotMerged(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for id := range index.ID(2*fanIn - 1) {
		must(t, d.register(inv, id, span(0, 5)))
		must(t, inv.Flush(t.Context()))
	}
	const bad = 2
	d.files[bad][0] ^= 1
	var e *Error
	if _, err := inv.Merge(t.Context()); !errors.Is(err, index.ErrDamaged) || !errors.As(err, &e) || e.Layer != bad || e.Op != OpRead {
		t.Fatalf("Merge: %v; want the damage of layer %d", err, bad)
	}
	for inv.MergeDue() {
		if did, err := inv.Merge(t.Context()); err != nil || !did {
			t.Fatalf("Merge of the others: %v, %v", did, err)
		}
	}
	if s := inv.Stats(); s.Layers != 2 {
		t.Errorf("%d layers, want the damaged one and that of all others", s.Layers)
	}
	got, err := inv.Find(nil, block(3), 0)
	if want := []index.ID{6, 5, 4, 3, 2, 0}; !errors.Is(err, index.ErrDamaged) || !slices.Equal(got, want) {
		t.Errorf("found %v, %v; want %v and damage", got, err, want)
	}
	// It is not rewritten without its dead either.
	must(t, d.destroy(inv, 1))
	if inv.MergeDue() {
		t.Error("a merge of the damaged layer alone is due")
	}
}

func FuzzLayer(f *testing.F) {
	f.Add(build(f, 2, 10, mapped3), uint64(spread))
	f.Add(build(f, 600, 500, mapped3), uint64(7))
	f.Fuzz(func(t *testing.T, b []byte, key uint64) {
		seal(b)
		l, err := parseLayer(plain(b), 7)
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
				t.Fatalf("neither damage nor another version: %v", err)
			}
			return
		}
		ids, err := lookup(l, key)
		for i := 1; i < len(ids); i++ {
			if ids[i] >= ids[i-1] {
				t.Fatalf("ids are not falling: %v", ids)
			}
		}
		if err != nil && !errors.Is(err, index.ErrDamaged) {
			t.Fatal(err)
		}
		r := rowReader{layer: l, window: window{pages: &l.pages}}
		for more, err := r.next(); more && err == nil; {
			more, err = r.next()
		}
	})
}

// seal makes the checksums right, so that the fuzzer gets behind them.
func seal(b []byte) {
	put := func(at int, sum uint32) {
		b[at], b[at+1], b[at+2], b[at+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	}
	if len(b) < footerSize {
		return
	}
	for n := 0; (n+1)*pageSize <= len(b)-footerSize; n++ {
		put(n*pageSize+pageData, pageCRC(uint32(n), b[n*pageSize:][:pageData]))
	}
	put(len(b)-4, crc32.Checksum(b[len(b)-footerSize:len(b)-4], castagnoli))
}
