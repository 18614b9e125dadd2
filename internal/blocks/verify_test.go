package blocks

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestOthersHash: blocks are found good by others than who reads, and are what
// they are. One that is damaged is told of as without them.
func TestOthersHash(t *testing.T) {
	for _, size := range []int{200, 50_000} {
		blocks := cartest.Random(1, 6_000_000/size, size)
		s := newStore(t, 10)
		sh, _ := far(t, s, blocks, false)
		cfg, end := s.besides()
		h := s.hold(sh)
		deadline := time.Now().Add(5 * time.Minute)
		for proofs := 0; proofs < 10; {
			if time.Now().After(deadline) {
				t.Fatalf("%d blocks of %d bytes were found good by others", proofs, size)
			}
			r := readerOf(h, cfg)
			r.ahead.most = 2
			for _, b := range blocks {
				got, err := r.Get(t.Context(), b.CID, Options{})
				if err != nil || !bytes.Equal(got, b.Data) {
					t.Fatal(err)
				}
			}
			r.ahead.mu.Lock()
			proofs += r.ahead.proofs
			r.ahead.mu.Unlock()
		}
		r := readerOf(h, cfg)
		r.ahead.most = 2
		for _, b := range blocks {
			if _, err := r.Get(t.Context(), b.CID, Options{Unchecked: true}); err != nil {
				t.Fatal(err)
			}
		}
		end()
		if r.ahead.proofs > 0 || r.ahead.others != 0 {
			t.Errorf("%d blocks were hashed for who wants none hashed; %d hash", r.ahead.proofs, r.ahead.others)
		}
	}
}

func TestOthersHashDamage(t *testing.T) {
	blocks := cartest.Random(1, 150, 40_000)
	bad := map[int]bool{60: true, 61: true, 90: true, 91: true, 92: true, 120: true, 149: true}
	for i := range bad {
		blocks[i].Data = append([]byte{}, blocks[i].Data...)
		blocks[i].Data[len(blocks[i].Data)-1] ^= 1
	}
	s := newStore(t, 10)
	sh, _ := far(t, s, blocks, false)
	cfg, _ := s.besides()
	h := s.hold(sh)
	for range 10 {
		r := readerOf(h, cfg)
		r.ahead.most = 2
		for i, b := range blocks {
			got, err := r.Get(t.Context(), b.CID, Options{})
			var fault *shard.Fault
			switch {
			case bad[i] && (!errors.As(err, &fault) || got != nil):
				t.Fatalf("block %d, which is damaged: %d bytes, %v", i, len(got), err)
			case !bad[i] && (err != nil || !bytes.Equal(got, b.Data)):
				t.Fatalf("block %d: %v", i, err)
			}
		}
	}
}

// TestProofIsOfSections alone that begin where the CAR has one: an index may lead
// to anything, be it in the middle of a block that is good.
func TestProofIsOfSections(t *testing.T) {
	inner := cartest.Random(2, 2, 100)
	inner[1].Data = append([]byte{}, inner[1].Data...)
	inner[1].Data[5] ^= 1
	hidden := cartest.V1(nil, inner)
	outer := cartest.Random(3, 40, 30_000)
	outer[20] = cartest.Raw(hidden)
	data := cartest.V1(nil, outer)
	from := bytes.Index(data, outer[0].CID.Bytes()) - 3
	a := &ahead{}
	x := &piece{size: int64(len(data)), buf: newBuffer(len(data)), have: len(data), users: 2}
	copy(x.buf.b, data)
	p := &x.proof
	p.known, p.next, p.at, p.others = true, from, from, 1
	a.others = 1
	a.hash(x)
	if x.users != 1 || p.others != 0 || a.others != 0 {
		t.Errorf("%d use it, %d hash it", x.users, p.others)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	found := 0
	for _, b := range outer {
		if at := bytes.Index(data, b.CID.Bytes()); a.proven(context.Background(), x, at-3) {
			found++
		} else if b.CID.Equals(outer[20].CID) && a.proven(context.Background(), x, at-2) {
			found++
		}
	}
	if found < len(outer)-5 {
		t.Errorf("%d of %d sections were found good", found, len(outer))
	}
	for _, b := range inner {
		at := bytes.Index(data, b.CID.Bytes())
		for off := at - 4; off < at+4; off++ {
			if a.proven(context.Background(), x, off) {
				t.Errorf("what lies at %d is in the middle of a block", off)
			}
		}
	}
}
