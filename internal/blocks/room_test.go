package blocks

import (
	"bytes"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// TestRoom takes sections of changing size. What is taken is as long as it was
// asked for, is zeros, and is nobody else's.
func TestRoom(t *testing.T) {
	var r room
	seen := map[*byte]bool{}
	for i, n := range []int{1, 1, 100, 100, 95, 90, 89, 101, 1062, 1062, 0, 1062, maxRoom, maxRoom + 1, maxRoom, 5, 1 << 20, 7} {
		if i%3 != 2 {
			r.ready()
		}
		b := r.take(n)
		if len(b) != n || cap(b) > n+n/8+8 && cap(b) != n || bytes.Count(b, []byte{0}) != n {
			t.Fatalf("%d: %d bytes of %d, for %d, or not zeros", i, len(b), cap(b), n)
		}
		if n == 0 {
			continue
		}
		if seen[&b[0]] {
			t.Fatalf("%d: these bytes were given away before", i)
		}
		seen[&b[0]] = true
		for j := range b {
			b[j] = 0xff
		}
		if len(r.b) > maxRoom {
			t.Fatalf("%d: %d bytes are kept", i, len(r.b))
		}
	}
}

// TestRoomKeepsWhatWasNotTaken: a wrong guess costs no second one.
func TestRoomKeepsWhatWasNotTaken(t *testing.T) {
	var r room
	r.take(1000)
	r.ready()
	kept := &r.b[0]
	r.take(10)
	r.ready()
	if &r.b[0] != kept {
		t.Error("it was made once more")
	}
	if b := r.take(950); &b[0] != kept || cap(b) != 950 {
		t.Error("what fits was not taken")
	}
	r.ready()
	if len(r.b) != 950 {
		t.Errorf("%d bytes were made for a section as long as the last, of 950", len(r.b))
	}
}

// TestBlocksAreTheirCallers gets blocks of two sizes in turns and keeps them.
func TestBlocksAreTheirCallers(t *testing.T) {
	all := append(cartest.Random(1, 40, 700), cartest.Random(2, 40, 720)...)
	s := newStore(t, 10)
	sh, _ := s.addFile(cartest.V1(nil, all), false)
	r := readerOf(s.hold(sh), s.config())
	got := map[cid.Cid][]byte{}
	for i := range all {
		b := all[i*7919%len(all)]
		data, err := r.Get(t.Context(), b.CID, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got[b.CID] = data
	}
	for _, b := range all {
		if !bytes.Equal(got[b.CID], b.Data) {
			t.Fatalf("%s was changed after it was given away", b.CID)
		}
	}
}
