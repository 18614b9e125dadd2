package layers

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// pages reads the pages of a file and checks each at its first touch. Where
// mem is not nil, whoever reads defers [mmap.Guard] over it.
type pages struct {
	r       io.ReaderAt
	mem     []byte // the whole file if it is mapped
	count   uint32
	checked []atomic.Uint32 // a bit for each page
}

func newPages(f File, count uint32) pages {
	p := pages{r: f, count: count, checked: make([]atomic.Uint32, (uint64(count)+31)/32)}
	if m, ok := f.(interface{ Bytes() []byte }); ok {
		if b := m.Bytes(); len(b) > 0 && int64(len(b)) == f.Size() {
			p.mem = b
		}
	}
	return p
}

// prefetch says that n pages from the first will be read in a row, which a
// mapping is not otherwise prepared for.
func (p *pages) prefetch(first, n uint32) {
	if m, ok := p.r.(interface{ Prefetch(off, n int64) }); ok {
		m.Prefetch(int64(first)*pageSize, int64(n)*pageSize)
	}
}

// isChecked says whether page n was held against its checksum.
func (p *pages) isChecked(n uint32) bool { return p.checked[n/32].Load()>>(n%32)&1 != 0 }

// readFault makes of an error of reading a file what it means: a file that
// has become shorter, or a mapping that has lost a page, is damaged.
func readFault(err error) error {
	var fault *mmap.Fault
	if errors.Is(err, io.EOF) || errors.As(err, &fault) {
		return errors.Join(index.ErrDamaged, err)
	}
	return err
}

// A window is one page as somebody looks at it. It is used by one goroutine.
type window struct {
	pages *pages
	data  []byte // without the checksum
	n     uint32 // of the page that data is, if it is not nil
	buf   *[pageSize]byte
}

var buffers = sync.Pool{New: func() any { return new([pageSize]byte) }}

// close gives the buffer back; data must not be used after it.
func (w *window) close() {
	if w.buf != nil {
		buffers.Put(w.buf)
		w.buf = nil
	}
	w.data = nil
}

// load makes page n the one that data is.
func (w *window) load(n uint32) error {
	if w.data != nil && w.n == n {
		return nil
	}
	w.data = nil
	p := w.pages
	if n >= p.count {
		return damaged("page %d of %d", n, p.count)
	}
	var page []byte
	if at := int64(n) * pageSize; p.mem != nil {
		page = p.mem[at : at+pageSize : at+pageSize]
	} else {
		if w.buf == nil {
			w.buf = buffers.Get().(*[pageSize]byte)
		}
		page = w.buf[:]
		if k, err := p.r.ReadAt(page, at); k < pageSize {
			return readFault(err)
		}
	}
	if word, bit := &p.checked[n/32], uint32(1)<<(n%32); word.Load()&bit == 0 {
		if pageCRC(n, page[:pageData]) != binary.LittleEndian.Uint32(page[pageData:]) {
			return damaged("page %d does not match its checksum", n)
		}
		word.Or(bit)
	}
	w.data, w.n = page[:pageData], n
	return nil
}
