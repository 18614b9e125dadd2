package layers

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
)

func TestSortKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 2047, 2048, 100_000} {
		for name, key := range map[string]func() uint64{
			"hashes": r.Uint64,
			"low":    func() uint64 { return r.Uint64() >> 40 },
			"few":    func() uint64 { return r.Uint64() % 3 << 62 },
		} {
			keys := make([]uint64, n)
			for i := range keys {
				keys[i] = key()
			}
			want := slices.Clone(keys)
			slices.Sort(want)
			if sortKeys(keys, make([]uint64, n)); !slices.Equal(keys, want) {
				t.Errorf("%d %s keys are not sorted", n, name)
			}
		}
	}
}

func TestSpool(t *testing.T) {
	for _, n := range []int{0, 5, 99, 100, 101, 1000, 1001} {
		dir := t.TempDir()
		s := newSpool(dir, 100)
		var want []uint64
		for i := range n {
			key := uint64(i%777) * spread
			want = append(want, key)
			must(t, s.add(key))
		}
		slices.Sort(want)
		want = slices.Compact(want)
		var got []uint64
		must(t, s.sorted(func(key uint64) error { got = append(got, key); return nil }))
		if !slices.Equal(got, want) {
			t.Errorf("%d keys: %d come back, want %d", n, len(got), len(want))
		}
		stop := errors.New("stop")
		if err := s.sorted(func(uint64) error { return stop }); n > 0 && !errors.Is(err, stop) {
			t.Errorf("%d keys: an error of the receiver is %v", n, err)
		}
		s.close()
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%d keys leave %v behind, %v", n, left, err)
		}
	}
	s := newSpool("/no/such/folder", 1)
	if err := errors.Join(s.add(1), s.add(2)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// A key that is lost on the way would be a block that is never found.
func TestDamagedSpool(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1, 2, 3}, 803)
			return errors.Join(err, f.Close())
		},
		"cut between keys": func(path string) error { return os.Truncate(path, 1600) },
		"cut within a key": func(path string) error { return os.Truncate(path, 1603) },
		"empty":            func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpool(t.TempDir(), 100)
			defer s.close()
			for i := range 350 {
				must(t, s.add(uint64(i)*spread))
			}
			must(t, damage(s.file.Name()))
			if err := s.sorted(func(uint64) error { return nil }); !errors.Is(err, errSpool) {
				t.Errorf("sorted = %v, want an error of the spool", err)
			}
		})
	}
}

// Keys at both ends of the table, so that some go round its end.
func TestTableIsSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 100, 5000} {
		tab := newTable(n)
		want := map[uint64][]index.ID{}
		for range n {
			key := r.Uint64()
			switch r.IntN(3) {
			case 0:
				key |= 0xffff << 48
			case 1:
				key = uint64(r.IntN(50)) << 56
			}
			id := index.ID(r.IntN(20))
			tab.insert([]uint64{key}, id)
			if !slices.Contains(want[key], id) {
				want[key] = append(want[key], id)
			}
		}
		last, first, seen := uint64(0), true, 0
		for key, ref := range tab.sorted() {
			if !first && key <= last {
				t.Fatalf("%x comes after %x", key, last)
			}
			last, first = key, false
			seen++
			ids := tab.ids(nil, ref)
			slices.Sort(want[key])
			if !slices.Equal(ids, want[key]) || tab.find(key) != ref {
				t.Fatalf("key %x has %v, want %v", key, ids, want[key])
			}
		}
		if seen != len(want) || tab.keys != seen {
			t.Errorf("%d keys, the table says %d; want %d", seen, tab.keys, len(want))
		}
	}
}
