package layers

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/longtest"
)

// A victim is a layer that is damaged over and over, and what is in it.
type victim struct {
	good []byte
	keys int
}

func (v *victim) ids(i int) []index.ID {
	want := slices.Clone(mapped3(i))
	slices.Reverse(want)
	return want
}

// ask opens b and looks some keys up, present ones and others. Whatever b is:
// an answer is right or is an error that says damage or another version. It
// says whether anything was noticed.
func (v *victim) ask(t *testing.T, rng *rand.Rand, b []byte) (noticed bool) {
	t.Helper()
	l, err := parseLayer(plain(b), 7)
	if err != nil {
		typed(t, err)
		return true
	}
	for range 6 {
		i := rng.IntN(v.keys)
		got, err := lookup(l, uint64(i)*spread)
		if err != nil {
			typed(t, err)
			noticed = true
		} else if !slices.Equal(got, v.ids(i)) {
			t.Fatalf("key %d is in %v, want %v", i, got, v.ids(i))
		}
		got, err = lookup(l, uint64(i)*spread+1)
		if err != nil {
			typed(t, err)
			noticed = true
		} else if len(got) != 0 {
			t.Fatalf("a key that is not there is in %v", got)
		}
	}
	r := rowReader{layer: l, window: window{pages: &l.pages}}
	defer r.window.close()
	rows := int64(0)
	for {
		more, err := r.next()
		if err != nil {
			typed(t, err)
			return true
		}
		if !more {
			break
		}
		rows++
	}
	if rows != l.Entries {
		t.Fatalf("%d rows of %d are read, and no error", rows, l.Entries)
	}
	return noticed
}

func typed(t *testing.T, err error) {
	t.Helper()
	if err := readFault(err); !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
		t.Fatalf("neither damage nor another version: %v", err)
	}
}

// Flipped bits, overwritten pieces, pages that changed places, and files that
// end early: never a wrong answer, never a crash, and always an error that says
// what it is.
func TestRandomDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(longtest.Seed(), 3))
	victims := make([]victim, 3)
	for i, shape := range []struct{ keys, part int }{{40, 1000}, {900, 400}, {3000, 1000}} {
		victims[i] = victim{build(t, shape.keys, shape.part, mapped3), shape.keys}
	}
	noticed, cut := 0, 0
	runs := longtest.Runs(3000, 300_000)
	var b []byte
	for n := range runs {
		v := &victims[n%len(victims)]
		b = append(b[:0], v.good...)
		switch rng.IntN(8) {
		case 0:
			cut++
			b = b[:rng.IntN(len(b))]
			if !v.ask(t, rng, b) {
				t.Fatalf("run %d: a file of %d bytes, cut to %d, passes for whole", n, len(v.good), len(b))
			}
			noticed++
			continue
		case 1: // a page in another's place
			pages := (len(b) - footerSize) / pageSize
			from, to := rng.IntN(pages), rng.IntN(pages)
			copy(b[to*pageSize:][:pageSize], v.good[from*pageSize:])
		case 2: // a piece of something else
			at := rng.IntN(len(b))
			for i := range b[at:min(at+1+rng.IntN(600), len(b))] {
				b[at+i] = byte(rng.Uint32())
			}
		default:
			for range 1 + rng.IntN(3) {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
		}
		if v.ask(t, rng, b) {
			noticed++
		}
	}
	longtest.Figure(t, "%d damaged layers (%d cut short) from seed %d: no wrong answer, no crash, %d noticed at once", runs, cut, longtest.Seed(), noticed)
	if noticed < runs/4 {
		t.Errorf("only %d of %d were noticed", noticed, runs)
	}
}
