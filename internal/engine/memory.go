package engine

import (
	"runtime"
	"sync"
)

// memory shares out the bytes for building indices among all who may build at
// once. Each is sure of a small part; what else there is goes to those who
// come first and need it, two thirds of the rest to each. So one large CAR is
// sorted in memory although many could be built, and many at once stay
// within the same bound.
type memory struct {
	sure int64 // what each builder has in any case

	mu   sync.Mutex
	free int64 // of the common part
}

// newMemory shares total among at most builders at once.
func newMemory(total int64, builders int) *memory {
	sure := max(1, total/4/int64(builders))
	return &memory{sure: sure, free: max(0, total-sure*int64(builders))}
}

// take returns how many bytes somebody who could use want may use. They are to
// be given back.
func (m *memory) take(want int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	more := min(max(0, want-m.sure), m.free/3*2)
	m.free -= more
	return m.sure + more
}

// give gives back what take returned.
func (m *memory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n - m.sure
}

// wantedMemory is what building the index of a CAR of size bytes may use: a
// record is no larger than the section that it is about, and sorting moves it
// once. -1 is a size that nobody knows.
func wantedMemory(size int64) int64 {
	const most = 1 << 40
	if size < 0 || size > most {
		return most
	}
	return 2*size + 1<<20
}

const (
	hasherMemory = 2 << 20  // of one goroutine that hashes bodies; two more are with the one that reads
	hasherShare  = 16 << 20 // a builder has one for each
	mostHashers  = 8        // one that reads feeds no more
)

// hashersFor returns how many goroutines are to hash beside somebody who may
// use bytes, and how many of these are left.
func hashersFor(bytes int64) (n int, left int64) {
	n = int(min(int64(min(runtime.GOMAXPROCS(0), mostHashers)), bytes/hasherShare))
	if n == 0 {
		return 0, bytes
	}
	return n, bytes - int64(n+2)*hasherMemory
}
