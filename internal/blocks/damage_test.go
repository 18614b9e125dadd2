package blocks

import (
	"bytes"
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestR07DamagedBytesNeverReachACaller flips every byte of a file's sections,
// one at a time, under an open shard. Whatever is read then, in whatever way,
// is right or an error that says where.
func TestR07DamagedBytesNeverReachACaller(t *testing.T) {
	blocks := []cartest.Block{cartest.V0([]byte("old")), cartest.Sum(0x71, 0x13, []byte("sha2-512"))}
	blocks = append(blocks, cartest.Random(1, 3, 40)...)
	for name, f := range forms(blocks) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 10)
			sh, path := s.addFile(f.car, f.bare)
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			readers := []*Reader{s.reader(), readerOf(s.hold(sh), s.config())}
			for i, b := range blocks {
				from := sh.payload.Offset + sh.index.pos[string(b.CID.Hash())][0].Offset
				to := sh.payload.Offset + sh.payload.Size
				if i+1 < len(blocks) {
					to = sh.payload.Offset + sh.index.pos[string(blocks[i+1].CID.Hash())][0].Offset
				}
				for off := from; off < to; off++ {
					kinds := []shard.FaultKind{shard.BadEntry}
					switch {
					case off >= to-int64(len(b.Data)):
						kinds[0] = shard.BadHash
					case f.bare && off == from: // another length, and nothing to hold it against but the hash
						kinds = append(kinds, shard.BadHash)
					}
					flip(t, file, f.car, off, func() { readDamaged(t, s, sh, readers, blocks, i, from, kinds) })
				}
			}
		})
	}
}

// flip calls f while the byte at off is another.
func flip(t *testing.T, file *os.File, good []byte, off int64, f func()) {
	t.Helper()
	if _, err := file.WriteAt([]byte{good[off] ^ 0x11}, off); err != nil {
		t.Fatal(err)
	}
	f()
	if _, err := file.WriteAt(good[off:off+1], off); err != nil {
		t.Fatal(err)
	}
}

// readDamaged reads all blocks while one byte of number bad, whose section
// begins at from in the file, is another.
func readDamaged(t *testing.T, s *fakeStore, sh *fakeShard, readers []*Reader, blocks []cartest.Block, bad int, from int64, kinds []shard.FaultKind) {
	t.Helper()
	for _, r := range readers {
		for i, b := range blocks {
			s.faults = nil
			got, err := r.Get(t.Context(), b.CID, Options{})
			told := len(s.faults)
			_, err2 := readEveryWay(t, r, b.CID, Options{})
			if i != bad {
				if err != nil || err2 != nil || told != 0 || !bytes.Equal(got, b.Data) {
					t.Fatalf("a byte of section %d hurts section %d: %v", bad, i, err)
				}
				continue
			}
			if err == nil {
				// A flip in version or codec of the CID: these do not matter.
				if !bytes.Equal(got, b.Data) {
					t.Fatalf("section at %d: wrong data was served", from)
				}
				continue
			}
			var f *shard.Fault
			if !errors.As(err, &f) || !slices.Contains(kinds, f.Kind) {
				t.Fatalf("%v, want one of %v", err, kinds)
			}
			wantFault(t, err, sh.key, f.Kind, from)
			if told != 1 || s.faults[0].Offset != from {
				t.Fatalf("section at %d: told of %v", from, s.faults)
			}
		}
	}
	var ids []cid.Cid
	for _, b := range blocks {
		ids = append(ids, b.CID)
	}
	n := 0
	for b, err := range readers[0].Many(t.Context(), ids, Options{}) {
		n++
		i := slices.IndexFunc(blocks, func(o cartest.Block) bool { return o.CID.Equals(b.CID) })
		if err != nil && i != bad || err == nil && !bytes.Equal(b.Data, blocks[i].Data) {
			t.Fatalf("section at %d: Many gave %v, %v", from, b, err)
		}
	}
	if n != len(blocks) {
		t.Fatalf("section at %d: Many gave %d blocks", from, n)
	}
}

func TestUncheckedReadsWhatIsThere(t *testing.T) {
	blocks := cartest.Random(1, 2, 40)
	data := cartest.V1(nil, blocks)
	s := newStore(t, 10)
	sh := s.add(data, false)
	data[len(data)-1] ^= 1
	got, err := readEveryWay(t, s.reader(), blocks[1].CID, Options{Unchecked: true})
	if err != nil || bytes.Equal(got, blocks[1].Data) || len(s.faults) != 0 {
		t.Fatalf("%v, %v", err, s.faults)
	}
	_, err = s.reader().Get(t.Context(), blocks[1].CID, Options{})
	wantFault(t, err, sh.key, shard.BadHash, sh.index.pos[string(blocks[1].CID.Hash())][0].Offset)
	if !errors.Is(err, shard.ErrBlock) {
		t.Fatal(err)
	}
}

// TestFailover has a block in four shards, of which but one is good.
func TestFailover(t *testing.T) {
	blocks := cartest.Random(1, 5, 60)
	c := blocks[2].CID
	s := newStore(t, 10)
	s.add(cartest.V1(nil, blocks), false)
	far := s.add(cartest.V1(nil, blocks), false)
	far.openErr = errFakeSource
	cutShard, path := s.addFile(cartest.V1(nil, blocks), false)
	s.hold(cutShard)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	damaged := cartest.V1(nil, blocks)
	bad := s.add(damaged, false)
	s.hold(bad)
	p := bad.index.pos[string(c.Hash())][0]
	damaged[p.Offset+int64(p.Head)+3] ^= 1

	got, err := s.reader().Get(t.Context(), c, Options{})
	if err != nil || !bytes.Equal(got, blocks[2].Data) {
		t.Fatal(err)
	}
	if len(s.faults) != 1 || s.faults[0].Kind != shard.BadHash || !s.faults[0].CID.Equals(c) {
		t.Fatalf("faults: %v", s.faults)
	}
	// One that is open and local is as good as another, so the newest is read
	// first; it is damaged, and the next one is cut.
	if len(s.lost) != 1 || !errors.Is(s.lost[0], shard.ErrChanged) {
		t.Fatalf("lost: %v", s.lost)
	}

	delete(s.shards, 1)
	s.cache.Remove(1, nil)
	s.faults = nil
	_, err = s.reader().Get(t.Context(), c, Options{})
	wantFault(t, err, bad.key, shard.BadHash, p.Offset)
	if len(s.faults) != 1 {
		t.Fatalf("told %d times of one fault in one read", len(s.faults))
	}
}

func TestATruncatedFileIsAChangedSource(t *testing.T) {
	blocks := cartest.Random(1, 50, 600)
	for name, f := range forms(blocks) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 10)
			sh, path := s.addFile(f.car, f.bare)
			r := readerOf(s.hold(sh), s.config())
			if err := os.Truncate(path, int64(len(f.car)/2)); err != nil {
				t.Fatal(err)
			}
			if got, err := readEveryWay(t, r, blocks[1].CID, Options{}); err != nil || !bytes.Equal(got, blocks[1].Data) {
				t.Fatalf("a block before the cut: %v", err)
			}
			_, err := readEveryWay(t, r, blocks[49].CID, Options{})
			var se *shard.Error
			if !errors.Is(err, shard.ErrChanged) || !errors.As(err, &se) || se.Key != sh.key || se.Op != shard.OpRead {
				t.Fatalf("a block behind the cut: %v", err)
			}
			if len(s.faults) != 0 || len(s.lost) == 0 {
				t.Fatalf("faults: %v, lost: %v", s.faults, s.lost)
			}
		})
	}
}

func TestTheSameBlockTwiceInOneShard(t *testing.T) {
	twice := cartest.RandomBlock(9, 0, 30)
	for _, copies := range []int{2, firstPositions, firstPositions + 1, 300} {
		var blocks []cartest.Block
		for i := range copies {
			blocks = append(blocks, twice, cartest.RandomBlock(1, i, 20))
		}
		data := cartest.V1(nil, blocks)
		s := newStore(t, 10)
		sh := s.add(data, false)
		for _, p := range sh.index.pos[string(twice.CID.Hash())][:copies-1] {
			data[p.Offset+int64(p.Head)] ^= 1
		}
		got, err := s.reader().Get(t.Context(), twice.CID, Options{})
		if err != nil || !bytes.Equal(got, twice.Data) {
			t.Fatalf("%d copies of which the last is good: %v", copies, err)
		}
		if len(s.faults) != copies-1 {
			t.Fatalf("%d copies: told of %d faults", copies, len(s.faults))
		}
		for i := range s.faults[1:] {
			if s.faults[i].Offset >= s.faults[i+1].Offset {
				t.Fatal("not by rising offset, or one of them twice")
			}
		}
	}
}

// TestB29AnIndexThatLies has entries that lead to another block, into the
// middle of one, past the end, and to claims of any size. None of them costs
// memory, and none gets a wrong byte out.
func TestB29AnIndexThatLies(t *testing.T) {
	blocks := cartest.Random(1, 4, 100)
	v1 := cartest.V1(nil, blocks)
	truth, _ := scan(t, v1, false)
	at := func(i int) index.Position { return truth.pos[string(blocks[i].CID.Hash())][0] }
	end := int64(len(v1))
	for name, lie := range map[string]index.Position{
		"another block":          at(2),
		"another block, bare":    {Offset: at(2).Offset, Size: -1},
		"into the middle":        {Offset: at(1).Offset + 7, Size: at(1).Size, Head: at(1).Head},
		"into the middle, bare":  {Offset: at(1).Offset + 7, Size: -1},
		"shorter":                {Offset: at(1).Offset, Size: at(1).Size - 1, Head: at(1).Head},
		"longer":                 {Offset: at(1).Offset, Size: at(1).Size + 1, Head: at(1).Head},
		"shorter head":           {Offset: at(1).Offset, Size: at(1).Size, Head: at(1).Head - 1},
		"head of one":            {Offset: at(1).Offset, Size: at(1).Size, Head: 1},
		"no data":                {Offset: at(1).Offset, Size: 0, Head: 1},
		"into the header":        {Offset: 0, Size: 10, Head: 38},
		"at the end":             {Offset: end, Size: 10, Head: 38},
		"at the end, bare":       {Offset: end, Size: -1},
		"past the end":           {Offset: end + 1e6, Size: 10, Head: 38},
		"past the end, bare":     {Offset: end + 1e6, Size: -1},
		"over the end":           {Offset: at(3).Offset, Size: 5000, Head: 38},
		"before the beginning":   {Offset: -5, Size: 10, Head: 38},
		"before, bare":           {Offset: -5, Size: -1},
		"terabytes":              {Offset: at(1).Offset, Size: 1 << 42, Head: 38},
		"all there is":           {Offset: at(1).Offset, Size: math.MaxInt64 - 38, Head: 38},
		"more than all there is": {Offset: at(1).Offset, Size: math.MaxInt64, Head: 38},
		"from the very end":      {Offset: math.MaxInt64, Size: math.MaxInt64, Head: 38},
		"the very end, bare":     {Offset: math.MaxInt64, Size: -1},
		"huge head":              {Offset: at(1).Offset, Size: 10, Head: math.MaxInt32},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 10)
			sh := s.add(v1, false)
			sh.limits = car.Limits{Section: car.Unlimited}
			sh.index.pos[string(blocks[1].CID.Hash())] = []index.Position{lie}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readEveryWay(t, s.reader(), blocks[1].CID, Options{})
			_, err2 := readEveryWay(t, s.reader(), blocks[1].CID, Options{Unchecked: true})
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
			for _, err := range []error{err, err2} {
				wantFault(t, err, sh.key, shard.BadEntry, lie.Offset)
				if !errors.Is(err, shard.ErrIndex) {
					t.Errorf("it is the index that lies: %v", err)
				}
			}
			// Neighbours that Many reads together with it come to no harm.
			var ids []cid.Cid
			for _, b := range blocks {
				ids = append(ids, b.CID)
			}
			good := 0
			for b, err := range s.reader().Many(t.Context(), ids, Options{}) {
				if err == nil && b.CID.Equals(blocks[1].CID) {
					t.Error("Many served it")
				}
				if err == nil {
					good++
				}
			}
			if good != 3 {
				t.Errorf("%d good blocks of 3", good)
			}
			if _, err := s.reader().Size(t.Context(), blocks[1].CID, Options{}); lie.Size < 0 {
				wantFault(t, err, sh.key, shard.BadEntry, lie.Offset)
			}
		})
	}
}

func TestADamagedIndex(t *testing.T) {
	s := newStore(t, 10)
	data := cartest.RandomV1(1, 3, 50)
	other := s.add(data, false)
	sh := s.add(data, false)
	sh.index.err = index.ErrDamaged
	c := cartest.RandomBlock(1, 1, 50).CID
	r := readerOf(s.hold(sh), s.config())
	_, getErr := r.Get(t.Context(), c, Options{})
	_, hasErr := r.Has(t.Context(), c, Options{})
	locErr := r.Locate(t.Context(), c.Hash(), func(shard.Location) bool { return true })
	for _, err := range []error{getErr, hasErr, locErr} {
		var se *shard.Error
		if !errors.Is(err, index.ErrDamaged) || !errors.Is(err, shard.ErrIndex) || !errors.As(err, &se) || se.Key != sh.key {
			t.Fatal(err)
		}
	}
	if len(s.lost) != 3 {
		t.Fatalf("told %d times", len(s.lost))
	}
	if _, err := s.reader().Get(t.Context(), c, Options{}); err != nil || other.opens != 1 {
		t.Fatalf("the other shard was not read: %v", err)
	}
}

// FuzzAnyPosition has the index claim anything at all.
func FuzzAnyPosition(f *testing.F) {
	blocks := cartest.Random(1, 4, 100)
	data := cartest.V1(nil, blocks)
	truth, _ := scan(f, data, false)
	for _, b := range blocks {
		p := truth.pos[string(b.CID.Hash())][0]
		f.Add(p.Offset, p.Size, p.Head)
		f.Add(p.Offset, int64(-1), 0)
		// The digest in a CIDv1 may look like a CIDv0 in a section of its own.
		f.Add(p.Offset+3, int64(-1), 0)
	}
	f.Fuzz(func(t *testing.T, offset, size int64, head int) {
		s := newStore(t, 10)
		sh := s.add(data, false)
		sh.index.pos[string(blocks[1].CID.Hash())] = []index.Position{{Offset: offset, Size: size, Head: head}}
		got, err := readEveryWay(t, s.reader(), blocks[1].CID, Options{})
		if err == nil && !bytes.Equal(got, blocks[1].Data) ||
			err != nil && !errors.Is(err, shard.ErrIndex) && !errors.Is(err, shard.ErrBlock) && !errors.Is(err, shard.ErrCAR) {
			t.Fatalf("%x, %v", got, err)
		}
	})
}
