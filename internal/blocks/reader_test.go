package blocks

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// readEveryWay reads c in every way there is and returns the data, or the
// error of Get. It fails the test if the ways do not agree.
func readEveryWay(t *testing.T, r *Reader, c cid.Cid, opts Options) ([]byte, error) {
	t.Helper()
	ctx := t.Context()
	data, err := r.Get(ctx, c, opts)
	var viewed []byte
	viewErr := r.View(ctx, c, opts, func(p []byte) error {
		viewed = slices.Clone(p)
		return nil
	})
	if (err == nil) != (viewErr == nil) || !bytes.Equal(data, viewed) {
		t.Fatalf("Get: %x, %v; View: %x, %v", data, err, viewed, viewErr)
	}
	for b, manyErr := range r.Many(ctx, []cid.Cid{c, c}, opts) {
		if !b.CID.Equals(c) || !bytes.Equal(b.Data, data) || (err == nil) != (manyErr == nil) {
			t.Fatalf("Get: %x, %v; Many: %x, %v", data, err, b.Data, manyErr)
		}
	}
	return data, err
}

func TestEveryBlockInEveryForm(t *testing.T) {
	blocks := mixed()
	for name, f := range forms(blocks) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 10)
			sh := s.add(f.car, f.bare)
			all, one := s.reader(), readerOf(s.hold(sh), s.config())
			for _, r := range []*Reader{all, one} {
				for _, b := range blocks {
					for _, opts := range []Options{{}, {Unchecked: true}, {LocalOnly: true}} {
						if got, err := readEveryWay(t, r, b.CID, opts); err != nil || !bytes.Equal(got, b.Data) {
							t.Fatalf("%v: %x, %v", b.CID, got, err)
						}
					}
					size, err := r.Size(t.Context(), b.CID, Options{})
					has, hasErr := r.Has(t.Context(), b.CID, Options{})
					if err != nil || hasErr != nil || size != int64(len(b.Data)) || !has {
						t.Fatalf("%v: size %d, %v; has %v, %v", b.CID, size, err, has, hasErr)
					}
					other := cid.NewCidV1(0x0129, b.CID.Hash())
					if got, err := r.Get(t.Context(), other, Options{}); err != nil || !bytes.Equal(got, b.Data) {
						t.Fatalf("the same multihash under another codec: %v", err)
					}
				}
			}
			if len(s.faults) > 0 || len(s.lost) > 0 {
				t.Fatalf("faults: %v, lost: %v", s.faults, s.lost)
			}
		})
	}
}

func TestIdentityIsItsOwnAnswer(t *testing.T) {
	s := newStore(t, 10)
	for _, data := range [][]byte{{}, []byte("short"), bytes.Repeat([]byte{1}, 300)} {
		c := cartest.Identity(data).CID
		if got, err := readEveryWay(t, s.reader(), c, Options{}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%x, %v; want %x", got, err, data)
		}
		size, err := s.reader().Size(t.Context(), c, Options{})
		has, hasErr := s.reader().Has(t.Context(), c, Options{})
		if err != nil || hasErr != nil || size != int64(len(data)) || !has {
			t.Errorf("size %d, %v; has %v, %v", size, err, has, hasErr)
		}
		err = s.reader().Locate(t.Context(), c.Hash(), func(shard.Location) bool {
			t.Error("it lies somewhere")
			return false
		})
		if err != nil {
			t.Error(err)
		}
	}
	if s.passes != 0 {
		t.Errorf("the inverted index was asked %d times", s.passes)
	}
}

func TestWhatNobodyHasIsNotFound(t *testing.T) {
	s := newStore(t, 10)
	sh := s.add(cartest.RandomV1(1, 3, 50), false)
	absent := cartest.RandomBlock(2, 0, 50).CID
	for name, r := range map[string]*Reader{"all": s.reader(), "one": readerOf(s.hold(sh), Config{})} {
		for _, c := range []cid.Cid{absent, cid.Undef} {
			_, err := readEveryWay(t, r, c, Options{})
			var nf format.ErrNotFound
			if !errors.As(err, &nf) || nf.Cid != c {
				t.Errorf("%s, %v: Get: %v", name, c, err)
			}
			if _, err := r.Size(t.Context(), c, Options{}); !format.IsNotFound(err) {
				t.Errorf("%s, %v: Size: %v", name, c, err)
			}
			if has, err := r.Has(t.Context(), c, Options{}); has || err != nil {
				t.Errorf("%s, %v: Has: %v, %v", name, c, has, err)
			}
		}
		if err := r.Locate(t.Context(), absent.Hash(), func(shard.Location) bool { return true }); err != nil {
			t.Errorf("%s: Locate: %v", name, err)
		}
	}
}

func TestGetIsTheCallersOwn(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 3, 50)
	s.add(cartest.V1(nil, blocks), false)
	for _, c := range []cid.Cid{blocks[1].CID, cartest.Identity([]byte("me")).CID} {
		first, err := s.reader().Get(t.Context(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		clear(first)
		if again, err := s.reader().Get(t.Context(), c, Options{}); err != nil || bytes.Equal(again, first) {
			t.Fatalf("%x, %v", again, err)
		}
	}
}

func TestViewReturnsWhatItsFunctionReturns(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 1, 50)
	sh := s.add(cartest.V1(nil, blocks), false)
	want := errors.New("mine")
	err := s.reader().View(t.Context(), blocks[0].CID, Options{}, func([]byte) error {
		// Nothing is held while the caller's code runs: it may close the store.
		s.cache.Close()
		if err := s.cache.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		return want
	})
	if !errors.Is(err, want) {
		t.Fatal(err)
	}
	if sh.index.open.Load() != 0 {
		t.Fatal("the index is still open")
	}
}

func TestOnlyAndPrefer(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	first, second, third := s.add(data, false), s.add(data, false), s.add(data, false)
	c := cartest.RandomBlock(1, 1, 50).CID

	only := Options{Only: func(k shard.Key) bool { return k == second.key }}
	if _, err := s.reader().Get(t.Context(), c, only); err != nil {
		t.Fatal(err)
	}
	if first.opens+third.opens != 0 || second.opens != 1 {
		t.Fatalf("opened %d, %d, %d times", first.opens, second.opens, third.opens)
	}
	none := Options{Only: func(shard.Key) bool { return false }}
	if _, err := s.reader().Get(t.Context(), c, none); !format.IsNotFound(err) {
		t.Fatalf("a shard was read that is excluded: %v", err)
	}
	if _, err := readerOf(s.hold(second), Config{}).Get(t.Context(), c, none); !format.IsNotFound(err) {
		t.Fatalf("the one shard was read although it is excluded: %v", err)
	}

	var seen []Candidate
	prefer := Options{Prefer: func(a, b Candidate) int {
		seen = append(seen, a, b)
		switch {
		case a.Shard == first.key:
			return -1
		case b.Shard == first.key:
			return 1
		}
		return 0
	}}
	if _, err := s.reader().Get(t.Context(), c, prefer); err != nil {
		t.Fatal(err)
	}
	if first.opens != 1 || third.opens != 0 {
		t.Fatalf("opened %d and %d times", first.opens, third.opens)
	}
	for _, cand := range seen {
		open := cand.Shard == second.key
		if cand.Open != open || cand.Local != open || (cand.Size == 50) != open || (cand.Offset == -1) == open {
			t.Errorf("%+v", cand)
		}
	}
}

func TestOnlyWithoutAnOwner(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	first, second := s.add(data, false), s.add(data, false)
	cfg := s.config()
	cfg.Owner = nil
	only := Options{Only: func(k shard.Key) bool { return k == first.key }}
	if _, err := New(cfg).Get(t.Context(), cartest.RandomBlock(1, 1, 50).CID, only); err != nil {
		t.Fatal(err)
	}
	if first.opens != 1 || second.opens != 1 {
		t.Fatalf("opened %d and %d times", first.opens, second.opens)
	}
}

func TestWhatIsOpenGoesFirst(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	first, second, third := s.add(data, false), s.add(data, false), s.add(data, false)
	s.hold(first)
	if _, err := s.reader().Get(t.Context(), cartest.RandomBlock(1, 1, 50).CID, Options{}); err != nil {
		t.Fatal(err)
	}
	if second.opens+third.opens != 0 {
		t.Fatal("a shard was opened although an open one has the block")
	}
}

func TestLocalOnlyReachesNoSource(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	var set memmount.Set
	far := &rangeMount{Mount: set.Put("far", data)}
	sh := s.addMount(far, data, false)
	h := s.hold(sh)
	c := cartest.RandomBlock(1, 1, 50).CID
	for _, r := range []*Reader{s.reader(), readerOf(h, Config{})} {
		if _, err := r.Get(t.Context(), c, Options{LocalOnly: true}); !errors.Is(err, shard.ErrRemote) {
			t.Fatal(err)
		}
		if far.requests.Load() != 0 {
			t.Fatal("the source was read")
		}
	}
	if _, err := readEveryWay(t, s.reader(), c, Options{}); err != nil {
		t.Fatal(err)
	}
	near := s.add(data, false)
	if _, err := s.reader().Get(t.Context(), c, Options{LocalOnly: true}); err != nil || near.opens != 1 {
		t.Fatalf("the local shard was not read: %v", err)
	}
}

func TestLocate(t *testing.T) {
	s := newStore(t, 10)
	twice := cartest.RandomBlock(9, 0, 30)
	var blocks []cartest.Block
	for i := range 40 {
		blocks = append(blocks, twice, cartest.RandomBlock(1, i, 20))
	}
	first := s.add(cartest.V1(nil, blocks), false)
	gone := s.add(cartest.V1(nil, blocks), false)
	gone.openErr = shard.ErrUnknown
	far := s.add(cartest.V1(nil, blocks), false)
	far.openErr = errFakeSource
	last := s.add(cartest.V2(cartest.V1(nil, blocks[:6]), cartest.Container{}), false)

	var got []shard.Location
	err := s.reader().Locate(t.Context(), twice.CID.Hash(), func(l shard.Location) bool {
		got = append(got, l)
		return true
	})
	if !errors.Is(err, shard.ErrSource) {
		t.Errorf("a shard that cannot be asked: %v", err)
	}
	var want []shard.Location
	for _, sh := range []*fakeShard{last, first} {
		for _, p := range sh.index.pos[string(twice.CID.Hash())] {
			want = append(want, shard.Location{Shard: sh.key, Offset: p.Offset, Size: p.Size, Head: p.Head})
		}
	}
	if len(want) != 43 || !slices.Equal(got, want) {
		t.Fatalf("%d locations, want %d:\n%v\n%v", len(got), len(want), got, want)
	}

	for stop := 1; stop < 20; stop += 6 {
		n := 0
		err := s.reader().Locate(t.Context(), twice.CID.Hash(), func(shard.Location) bool { n++; return n < stop })
		if n != stop || err != nil && stop <= 3 {
			t.Fatalf("%d yielded after a break at %d: %v", n, stop, err)
		}
	}
}

// TestLocatePinsNothingWhileTheCallerRuns closes the store in the loop.
func TestLocatePinsNothingWhileTheCallerRuns(t *testing.T) {
	for _, form := range []string{"all", "one"} {
		s := newStore(t, 10)
		data := cartest.RandomV1(1, 3, 50)
		sh := s.add(data, false)
		s.hold(s.add(data, false))
		r := s.reader()
		if form == "one" {
			r = readerOf(s.hold(sh), s.config())
		}
		n := 0
		err := r.Locate(t.Context(), cartest.RandomBlock(1, 1, 50).CID.Hash(), func(shard.Location) bool {
			n++
			s.cache.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.cache.Wait(ctx); err != nil {
				t.Error("something is pinned")
			}
			return true
		})
		if n != 1 || form == "all" && !errors.Is(err, local.ErrClosed) {
			t.Errorf("%s: %d locations, %v", form, n, err)
		}
	}
}

// TestAPanicOfTheCallerLeavesNothingPinned has each of the caller's functions panic.
func TestAPanicOfTheCallerLeavesNothingPinned(t *testing.T) {
	boom := func() { panic("mine") }
	for name, opts := range map[string]Options{
		"Only":   {Only: func(shard.Key) bool { boom(); return true }},
		"Prefer": {Prefer: func(_, _ Candidate) int { boom(); return 0 }},
		"View":   {},
	} {
		s := newStore(t, 10)
		data := cartest.RandomV1(1, 3, 50)
		s.hold(s.add(data, false))
		s.hold(s.add(data, false))
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic was swallowed", name)
				}
			}()
			_ = s.reader().View(t.Context(), cartest.RandomBlock(1, 1, 50).CID, opts, func([]byte) error { boom(); return nil })
		}()
		s.cache.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.cache.Wait(ctx); err != nil {
			t.Errorf("%s: something is pinned", name)
		}
	}
}

func TestTheContextEndsARead(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	var set memmount.Set
	ctx, cancel := context.WithCancel(t.Context())
	far := &rangeMount{Mount: set.Put("far", data)}
	far.cut = func(mount.Range) error {
		cancel()
		return ctx.Err()
	}
	s.addMount(far, data, false)
	other := s.add(data, false)
	other.openErr = errFakeSource
	c := cartest.RandomBlock(1, 1, 50).CID
	if _, err := s.reader().Get(ctx, c, Options{}); !errors.Is(err, context.Canceled) || errors.Is(err, shard.ErrSource) {
		t.Fatal(err)
	}
	opens := other.opens
	if _, err := s.reader().Get(ctx, c, Options{}); !errors.Is(err, context.Canceled) || other.opens != opens {
		t.Fatalf("a context that had ended: %v", err)
	}
}

func TestAnInvertedIndexThatFails(t *testing.T) {
	s := newStore(t, 10)
	s.add(cartest.RandomV1(1, 3, 50), false)
	s.err = index.ErrDamaged
	if _, err := s.reader().Get(t.Context(), cartest.RandomBlock(1, 1, 50).CID, Options{}); err != nil {
		t.Errorf("a block that was found in spite of it: %v", err)
	}
	absent := cartest.RandomBlock(2, 1, 50).CID
	if _, err := s.reader().Get(t.Context(), absent, Options{}); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("what may be missing for it: %v", err)
	}
	if has, err := s.reader().Has(t.Context(), absent, Options{}); has || !errors.Is(err, index.ErrDamaged) {
		t.Errorf("Has: %v, %v", has, err)
	}
}

func TestMultihashOfACIDIsItsHash(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 200)
	cids := []cid.Cid{cartest.Identity(long).CID, cartest.Sum(0x300539, multihash.SHA2_512, long).CID}
	for _, b := range mixed() {
		cids = append(cids, b.CID)
	}
	for _, c := range cids {
		if got := multihashOf(c); got != string(c.Hash()) {
			t.Errorf("%v: %x, want %x", c, got, []byte(c.Hash()))
		}
	}
	if got := multihashOf(cid.Undef); len(got) != 0 {
		t.Errorf("%x", got)
	}
}

func TestLimitsOfASection(t *testing.T) {
	blocks := cartest.Random(1, 2, 5000)
	for name, f := range forms(blocks) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 10)
			sh := s.add(f.car, f.bare)
			sh.limits = car.Limits{Section: 4000}
			offset := sh.payload.Offset + sh.index.pos[string(blocks[1].CID.Hash())][0].Offset
			_, err := s.reader().Get(t.Context(), blocks[1].CID, Options{})
			kind := shard.BadSection
			if f.bare {
				kind = shard.BadEntry // where nothing but an offset is known, that is what is at fault
			}
			wantFault(t, err, sh.key, kind, offset)
			sh.limits = car.Limits{Section: car.Unlimited}
			s.cache.Remove(sh.id, nil)
			if _, err := s.reader().Get(t.Context(), blocks[1].CID, Options{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}
