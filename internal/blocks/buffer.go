package blocks

import (
	"math/bits"
	"sync"
)

// Buffers are pooled by size class, each twice the one before: from 4 KiB, a
// small block, to 4 MiB, the longest run. Larger ones are rare, and memory
// that is kept for them would be idle.
const (
	minClass = 12 // bits
	maxClass = 22
)

var buffers [maxClass - minClass + 1]sync.Pool // a cache: of no meaning to anybody

// A buffer is bytes on loan. The nil buffer may be freed.
type buffer struct {
	b    []byte
	pool *sync.Pool // nil: it is not pooled
}

// sizeClass is the class of a buffer of n bytes.
func sizeClass(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

// bufferSize is how much memory a buffer of n bytes takes.
func bufferSize(n int) int {
	if class := sizeClass(n); class <= maxClass {
		return 1 << class
	}
	return n
}

// newBuffer returns a buffer of n bytes, of any content.
func newBuffer(n int) *buffer {
	class := sizeClass(n)
	if class > maxClass {
		return &buffer{b: make([]byte, n)}
	}
	pool := &buffers[class-minClass]
	buf, ok := pool.Get().(*buffer)
	if !ok {
		buf = &buffer{b: make([]byte, 1<<class), pool: pool}
	}
	buf.b = buf.b[:n]
	return buf
}

// free gives buf back. Nobody may use its bytes any more.
func (buf *buffer) free() {
	if buf != nil && buf.pool != nil {
		buf.pool.Put(buf)
	}
}
