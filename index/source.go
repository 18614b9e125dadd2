package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/dagstore/dagstore/internal/mmap"
)

// A source is the bytes of an index file, each page of them checked against
// its checksum when it is first touched.
type source struct {
	data    []byte // the file, if it is mapped; then read under mmap.Guard
	size    int64
	covered int64           // bytes that have checksums: [0, covered); 0 in a bare index
	unseen  atomic.Int64    // of their pages, those that were not checked yet
	checked []atomic.Uint64 // a bit for each of their pages
	r       io.ReaderAt
}

// cover says that the first n bytes have checksums.
func (s *source) cover(n int64) {
	s.covered = n
	s.checked = make([]atomic.Uint64, (pages(n)+63)/64)
	s.unseen.Store(pages(n))
}

// span returns n bytes from off: of the mapping, or read into *buf, which
// grows as needed.
func (s *source) span(off, n int64, buf *[]byte) ([]byte, error) {
	if s.data == nil || off < 0 || n < 0 || n > s.size-off || s.unseen.Load() != 0 {
		return s.look(off, n, buf)
	}
	return s.data[off : off+n : off+n], nil
}

// look is span where there is something to be seen to first.
func (s *source) look(off, n int64, buf *[]byte) ([]byte, error) {
	if off < 0 || n < 0 || n > s.size-off {
		return nil, damaged(off, "%d bytes from here are beyond the file's end", n)
	}
	if s.data == nil {
		return s.pread(off, n, buf)
	}
	if off < s.covered && n > 0 {
		for p := off / pageSize; p <= (off+n-1)/pageSize; p++ {
			if !s.isChecked(p) {
				if err := s.check(p, s.page(s.data, p, 0), s.data[s.covered:]); err != nil {
					return nil, err
				}
			}
		}
	}
	return s.data[off : off+n : off+n], nil
}

// pread is span of a file that is not mapped.
func (s *source) pread(off, n int64, buf *[]byte) ([]byte, error) {
	first, last := off/pageSize, (off+n-1)/pageSize
	fresh := false
	if off < s.covered && n > 0 {
		for p := first; p <= last && !fresh; p++ {
			fresh = !s.isChecked(p)
		}
	}
	if !fresh {
		*buf = slices.Grow((*buf)[:0], int(n))[:n]
		return *buf, s.readAt(*buf, off)
	}
	// Whole pages, and behind them their checksums.
	from, to := first*pageSize, min((last+1)*pageSize, s.covered)
	sums := (last + 1 - first) * sumSize
	*buf = slices.Grow((*buf)[:0], int(to-from+sums))[:to-from+sums]
	data, tail := (*buf)[:to-from], (*buf)[to-from:]
	if err := s.readAt(data, from); err != nil {
		return nil, err
	}
	if err := s.readAt(tail, s.covered+first*sumSize); err != nil {
		return nil, err
	}
	for p := first; p <= last; p++ {
		if err := s.checkSum(p, s.page(data, p, first), tail[(p-first)*sumSize:]); err != nil {
			return nil, err
		}
	}
	return data[off-from:][:n:n], nil
}

// page is the bytes of page p in data, which begins with page first.
func (s *source) page(data []byte, p, first int64) []byte {
	return data[(p-first)*pageSize : min((p+1)*pageSize, s.covered)-first*pageSize]
}

func (s *source) isChecked(p int64) bool { return s.checked[p/64].Load()>>(p%64)&1 != 0 }

// check compares page p with its checksum among all of them.
func (s *source) check(p int64, page, sums []byte) error {
	return s.checkSum(p, page, sums[p*sumSize:])
}

func (s *source) checkSum(p int64, page, sum []byte) error {
	if crc32.Checksum(page, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return damaged(p*pageSize, "the page's checksum is wrong")
	}
	if bit := uint64(1) << (p % 64); s.checked[p/64].Or(bit)&bit == 0 {
		s.unseen.Add(-1)
	}
	return nil
}

// readAt fills p. What cannot be read is damaged, whatever the reason: as with
// a mapping, where it is a page fault. Only a closed file is not.
func (s *source) readAt(p []byte, off int64) error {
	n, err := s.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return unreadable(off, err)
}

func unreadable(off int64, err error) error {
	return &DamageError{Offset: off / pageSize * pageSize, Detail: "the page cannot be read", Err: err}
}

// fault says of a page fault what readAt says of a failed read.
func fault(err error) error {
	var f *mmap.Fault
	if errors.As(err, &f) && !errors.Is(err, ErrDamaged) {
		return unreadable(f.Offset, f)
	}
	return err
}
