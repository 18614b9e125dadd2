package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// far puts blocks into a shard that is not on this machine.
func far(t testing.TB, s *fakeStore, blocks []cartest.Block, bare bool) (*fakeShard, *rangeMount) {
	t.Helper()
	data := cartest.V2(cartest.V1(nil, blocks), cartest.Container{})
	var set memmount.Set
	m := &rangeMount{Mount: set.Put("far", data)}
	return s.addMount(m, data, bare), m
}

// TestReadingAhead goes forward through a CAR: requests become few, and what
// they cost is what is there, about once.
func TestReadingAhead(t *testing.T) {
	for name, bare := range map[string]bool{"with lengths": false, "bare": true} {
		t.Run(name, func(t *testing.T) {
			blocks := cartest.Random(1, 5000, 1000)
			s := newStore(t, 10)
			sh, m := far(t, s, blocks, bare)
			var total, longest int64
			m.cut = func(r mount.Range) error {
				total += r.Length
				longest = max(longest, r.Length)
				return nil
			}
			r := readerOf(s.hold(sh), s.config())
			m.requests.Store(0)
			total = 0
			for i, b := range blocks {
				if i%7 == 3 {
					continue // not all of a DAG is of interest
				}
				got, err := r.Get(t.Context(), b.CID, Options{})
				if err != nil || !bytes.Equal(got, b.Data) {
					t.Fatal(err)
				}
			}
			// Two alone, eight of 256 KiB, and then each an eighth of what was read.
			if n := m.requests.Load(); n > 20 || longest > aheadMost {
				t.Errorf("%d requests, the longest of %d bytes", n, longest)
			}
			if total > 6_000_000 {
				t.Errorf("%d bytes were read", total)
			}
			if r.ahead.bytes > aheadMost {
				t.Errorf("%d bytes are kept", r.ahead.bytes)
			}
		})
	}
}

// TestReadingAheadOfLargeBlocks: blocks that are longer than the first window
// are read together, too, and none of their bytes twice, wherever a window ends.
// Whoever stops has paid for no more than a part of what was read.
func TestReadingAheadOfLargeBlocks(t *testing.T) {
	const size = 300_000
	blocks := cartest.Random(1, 100, size)
	s := newStore(t, 10)
	sh, m := far(t, s, blocks, false)
	var next, total int64 // where the next request has to begin
	m.cut = func(r mount.Range) error {
		if total > 0 && r.Offset != next {
			t.Errorf("a request for %d, after one that ended at %d", r.Offset, next)
		}
		next, total = r.Offset+r.Length, total+r.Length
		return nil
	}
	r := readerOf(s.hold(sh), s.config())
	m.requests.Store(0)
	total = 0
	for i, b := range blocks {
		got, err := r.Get(t.Context(), b.CID, Options{})
		if err != nil || !bytes.Equal(got, b.Data) {
			t.Fatal(err)
		}
		if read := int64(i+1) * (size + 40); total > read+read/aheadShare+aheadFirst {
			t.Errorf("%d bytes were read for %d", total, read)
		}
	}
	if n := m.requests.Load(); n > 30 {
		t.Errorf("%d requests", n)
	}
}

// TestWhoJumpsAboutReadsNoMore than the blocks, one request each.
func TestWhoJumpsAboutReadsNoMore(t *testing.T) {
	blocks := cartest.Random(1, 2000, 500)
	s := newStore(t, 10)
	sh, m := far(t, s, blocks, false)
	var total int64
	m.cut = func(r mount.Range) error { total += r.Length; return nil }
	r := readerOf(s.hold(sh), s.config())
	m.requests.Store(0)
	total = 0
	want := int64(0)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		// One further than 64 KiB from the one before, on either side.
		for _, i := range []int{rng.IntN(500), 1500 + rng.IntN(500), 750 + rng.IntN(500)} {
			if _, err := r.Get(t.Context(), blocks[i].CID, Options{}); err != nil {
				t.Fatal(err)
			}
			p := sh.index.pos[string(blocks[i].CID.Hash())][0]
			want += int64(p.Head) + p.Size
		}
	}
	if n := m.requests.Load(); n != 1200 || total != want {
		t.Errorf("%d requests of %d bytes, want 1200 of %d", n, total, want)
	}
	if r.ahead.pieces != 0 || r.ahead.bytes != 0 {
		t.Errorf("%d windows, %d bytes", r.ahead.pieces, r.ahead.bytes)
	}
}

// TestReadingAheadIsBounded over all shards, however many are gone through.
func TestReadingAheadIsBounded(t *testing.T) {
	s := newStore(t, 100)
	cfg := s.config()
	all := New(cfg)
	var readers []Reader
	var cids [][]cid.Cid
	for i := range 20 {
		blocks := cartest.Random(uint64(i), 60, 50_000)
		sh, _ := far(t, s, blocks, false)
		readers = append(readers, all.Of(s.hold(sh)))
		var ids []cid.Cid
		for _, b := range blocks {
			ids = append(ids, b.CID)
		}
		cids = append(cids, ids)
	}
	for i := range 60 {
		for j := range readers {
			if _, err := readers[j].Get(t.Context(), cids[j][i], Options{}); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, w := range all.ahead.shards {
				for _, x := range w.pieces {
					kept += x.cost()
				}
			}
			if kept != all.ahead.bytes || kept > aheadAll {
				t.Fatalf("%d bytes are kept, %d are counted", kept, all.ahead.bytes)
			}
		}
	}
	if all.ahead.pieces < 20 {
		t.Errorf("%d windows", all.ahead.pieces)
	}
}

// TestForceIsSeenInWhatWasReadAhead, too, and so is the end of the context.
func TestForceIsSeenInWhatWasReadAhead(t *testing.T) {
	blocks := cartest.Random(1, 100, 500)
	s := newStore(t, 10)
	sh, _ := far(t, s, blocks, false)
	h := s.hold(sh)
	r := readerOf(h, s.config())
	for _, b := range blocks[:10] {
		if _, err := r.Get(t.Context(), b.CID, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if r.ahead.bytes == 0 {
		t.Fatal("nothing was read ahead")
	}
	h.Sever()
	if _, err := r.Get(t.Context(), blocks[10].CID, Options{}); !errors.Is(err, shard.ErrDestroyed) {
		t.Errorf("after Sever: %v", err)
	}
	_, err := r.ahead.read(t.Context(), h, make([]byte, 10), sh.index.pos[string(blocks[10].CID.Hash())][0].Offset, 1<<20,
		func([]byte, int64) error { t.Error("it is not there any more"); return nil })
	if !errors.Is(err, shard.ErrDestroyed) {
		t.Errorf("out of what was read ahead: %v", err)
	}
	s.cache.Close() // which closes what nobody holds any more
	if r.ahead.bytes != 0 || len(r.ahead.shards) != 0 {
		t.Errorf("%d bytes of %d shards outlive their handles", r.ahead.bytes, len(r.ahead.shards))
	}
}

// TestReadingAheadFails: what cannot be read ahead is read alone, and a block
// that is there is not missed for one behind it.
func TestReadingAheadFails(t *testing.T) {
	blocks := cartest.Random(1, 200, 500)
	s := newStore(t, 10)
	sh, m := far(t, s, blocks, false)
	r := readerOf(s.hold(sh), s.config())
	m.cut = func(r mount.Range) error {
		if r.Length > 10_000 {
			return errors.New("too much at once")
		}
		return nil
	}
	for _, b := range blocks {
		if _, err := r.Get(t.Context(), b.CID, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	// Near the end a window is short enough to come.
	if r.ahead.bytes > 10_000 || r.ahead.pieces == 0 {
		t.Errorf("%d bytes are kept of %d windows", r.ahead.bytes, r.ahead.pieces)
	}
}

// bent is a stream with one byte changed.
type bent struct {
	io.ReadCloser
	at int64 // from here
}

func (b *bent) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.at >= 0 && b.at < int64(n) {
		p[b.at] ^= 1
	}
	b.at -= int64(n)
	return n, err
}

// onceBent gives one long request with a byte changed, and the next as it is.
type onceBent struct {
	mount.Mount
	at   int64
	done bool
}

func (m *onceBent) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	s, err := mount.OpenRange(ctx, m.Mount, r)
	if err == nil && r.Length > 10_000 && !m.done {
		m.done = true
		return &bent{s, m.at}, nil
	}
	return s, err
}

// TestWhatCameWrongIsNotKept: a block that was read ahead and is not right is
// read again by itself, before anybody is blamed for it.
func TestWhatCameWrongIsNotKept(t *testing.T) {
	get := func(r *Reader, b cartest.Block) error {
		got, err := r.Get(t.Context(), b.CID, Options{})
		if err == nil && !bytes.Equal(got, b.Data) {
			err = errors.New("other bytes")
		}
		return err
	}
	view := func(r *Reader, b cartest.Block) error {
		return r.View(t.Context(), b.CID, Options{}, func(got []byte) error {
			if !bytes.Equal(got, b.Data) {
				return errors.New("other bytes")
			}
			return nil
		})
	}
	size := func(r *Reader, b cartest.Block) error {
		n, err := r.Size(t.Context(), b.CID, Options{})
		if err == nil && n != int64(len(b.Data)) {
			err = fmt.Errorf("a size of %d", n)
		}
		return err
	}
	for name, c := range map[string]struct {
		bare   bool
		at     int64 // the wrong byte
		ask    func(*Reader, cartest.Block) error
		beside bool // it is fetched beside the reader
	}{
		"Get":                    {false, 5000, get, false},
		"Get of a bare index":    {true, 5000, get, false},
		"a head":                 {true, 10, get, false},
		"Size with a bare index": {true, 10, size, false},
		"Get, beside":            {false, 5000, get, true},
		"View, beside":           {false, 5000, view, true},
		"a head, beside":         {true, 10, get, true},
	} {
		t.Run(name, func(t *testing.T) {
			blocks := cartest.Random(1, 200, 500)
			data := cartest.V1(nil, blocks)
			s := newStore(t, 10)
			var set memmount.Set
			m := &onceBent{Mount: set.Put("far", data), at: c.at}
			cfg, _ := s.besides()
			if !c.beside {
				cfg.Go = nil
			}
			r := readerOf(s.hold(s.addMount(m, data, c.bare)), cfg)
			for _, b := range blocks {
				if err := c.ask(r, b); err != nil {
					t.Fatal(err)
				}
			}
			if !m.done || len(s.faults) > 0 || r.ahead.pieces < 2 {
				t.Errorf("%v, %d windows", s.faults, r.ahead.pieces)
			}
		})
	}
}
