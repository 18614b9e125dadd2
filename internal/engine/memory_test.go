package engine

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// However many build at once, together they have no more than there is.
func TestMemoryOfManyAtOnce(t *testing.T) {
	const total, builders = 1 << 20, 12
	m := newMemory(total, builders)
	var mu sync.Mutex
	var sum int64
	var all sync.WaitGroup
	for b := range uint64(builders) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(b, 0))
			for range 1000 {
				n := m.take(rng.Int64N(2 << 20))
				mu.Lock()
				if sum += n; sum > total {
					t.Errorf("%d bytes are lent, there are %d", sum, total)
				}
				mu.Unlock()
				mu.Lock()
				sum -= n
				mu.Unlock()
				m.give(n)
			}
		})
	}
	all.Wait()
	if m.free != total-m.sure*builders {
		t.Errorf("%d bytes are free in the end", m.free)
	}
}

func TestHashersFitIntoTheMemory(t *testing.T) {
	for _, bytes := range []int64{1, hasherShare - 1, hasherShare, 40 << 20, 1 << 30} {
		n, left := hashersFor(bytes)
		if n < 0 || n > mostHashers || left < bytes/2 {
			t.Errorf("of %d bytes: %d hashers and %d left", bytes, n, left)
		}
		if n > 0 && left+int64(n+2)*hasherMemory != bytes {
			t.Errorf("of %d bytes: %d hashers and %d left, which is not all", bytes, n, left)
		}
	}
}
