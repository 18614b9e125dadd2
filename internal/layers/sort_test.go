package layers

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// Keys at both ends of the table, so that some go round its end.
func TestTableIsSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{0, 1, 100, 5000} {
		tab := newTable(n, n/3)
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

// Sorted keys of several writers at once never crowd at one end of the slots:
// no key is far from its home.
func TestSortedKeysDoNotCrowd(t *testing.T) {
	const writers, each = 4, 50_000
	tab := newTable(writers*each, 0)
	r := rand.New(rand.NewPCG(7, 8))
	var parts [writers][]uint64
	for w := range parts {
		for range each {
			parts[w] = append(parts[w], r.Uint64())
		}
		slices.Sort(parts[w])
	}
	var all sync.WaitGroup
	for w := range parts {
		all.Go(func() { tab.insert(parts[w], index.ID(w)) })
	}
	all.Wait()
	if tab.coming != 0 || tab.keys != writers*each {
		t.Errorf("%d keys, %d on their way", tab.keys, tab.coming)
	}
	s := tab.slots.Load()
	if len(s.at) > 4*writers*each {
		t.Errorf("%d slots for %d keys", len(s.at), tab.keys)
	}
	for i := range s.at {
		if v := s.at[i].Load(); v != 0 {
			if far := i - int(tab.node(uint32(v)).key>>s.shift); far > 500 {
				t.Fatalf("a key is %d slots away from its home", far)
			}
		}
	}
}
