package index

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/dagstore/dagstore/internal/mmap"
)

// A File is an index file, mapped where that can be. Nothing but its footer
// and the heads of its runs is read until it is asked for, and each page is
// compared with its checksum when it is first touched. A page that is damaged
// or cannot be read is a [*DamageError] of the call, not a crash.
//
// A File may be used by many goroutines at once. Find does not allocate if the
// file is mapped and dst has room.
type File struct {
	// What a lookup needs comes first, in two lines of the processor's cache: of
	// many open files few are in it.
	only    run     // if there is but one, as nearly always
	lengths int64   // offset of sizes and heads; 0 if there are none
	head    [2]byte // what multihashes in only begin with: code and length
	bare    bool
	src     source

	runs    []run // by code, then digest length; none of them empty
	records int64
	footer  footer
	crc     uint32
	owned   *mmap.Mapping // closed by Close; nil if r is the caller's
	buffers sync.Pool     // of *findBuffers, where the file is not mapped
}

var _ Index = (*File)(nil)

// OpenFile maps the index file at path: one of ours, or a bare go-car
// MultihashIndexSorted, whose records then have no sizes. The error is that of
// the file system, or as with [NewFile].
func OpenFile(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := NewFile(m, m.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
	}
	f.owned = m
	return f, nil
}

// NewFile reads an index file of size bytes from r, which stays the caller's
// to close, after the File. If r has a method Bytes() []byte whose result is
// the whole file, as a mapping has, lookups go straight to that memory, and
// page faults in it become errors; otherwise they use ReadAt. The error wraps
// [ErrDamaged] or [ErrVersion].
//
// Opening checks the footer and the heads, so that no claim in them costs more
// than the file's own size; it does not read the file. A file of ours that was
// cut behind its standard part is a valid bare index: who expects the file
// that was written compares its size and [File.CRC].
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	f := &File{src: source{r: r, size: size}}
	if m, ok := r.(interface{ Bytes() []byte }); ok {
		if data := m.Bytes(); data != nil && int64(len(data)) == size {
			f.src.data = data
		}
	}
	if err := f.guarded(f.open); err != nil {
		return nil, err
	}
	return f, nil
}

// guarded calls do with faults of the mapping as errors.
func (f *File) guarded(do func() error) (err error) {
	if f.src.data == nil {
		return do()
	}
	err = guard(f.src.data, do)
	return fault(err)
}

func guard(data []byte, do func() error) (err error) {
	defer mmap.Guard(data, debug.SetPanicOnFault(true), &err)
	return do()
}

func (f *File) open() error {
	size := f.src.size
	end := size // of the standard part
	f.bare = true
	if size >= footerSize {
		var buf []byte
		b, err := f.src.span(size-footerSize, footerSize, &buf)
		if err != nil {
			return err
		}
		foot, crc, ours, err := decodeFooter((*[footerSize]byte)(b), size)
		if err != nil {
			return err
		}
		if ours {
			f.bare, f.footer, f.crc, end = false, foot, crc, foot.standard
			f.src.cover(foot.sums)
		}
	}
	runs, err := f.src.layout(end, !f.bare)
	if err != nil {
		return err
	}
	return f.place(runs)
}

// place says where the trailer of each run is.
func (f *File) place(runs []run) error {
	fan := f.footer.fan
	for _, r := range runs {
		f.records += r.n
		if !f.bare {
			r.fan, r.bits = fan, fanBits(r.n)
			fan += fanEntries(r.n) * fanSize
		}
		f.runs = append(f.runs, r)
	}
	f.settle()
	if f.bare {
		return nil
	}
	if f.records != f.footer.records || fan != f.footer.sums {
		return damaged(f.src.size-footerSize, "the footer and the runs disagree")
	}
	if f.footer.flags&hasSizes != 0 {
		f.lengths = f.footer.standard
	}
	return nil
}

// settle notes whether there is but one run, and what its multihashes begin with.
func (f *File) settle() {
	if len(f.runs) != 1 {
		return
	}
	if r := f.runs[0]; r.code < 0x80 && r.digest < 0x80 {
		f.only, f.head = r, [2]byte{byte(r.code), byte(r.digest)}
	}
}

// Len is the number of records.
func (f *File) Len() int64 { return f.records }

// HasSizes says whether records have sizes. They do in what a [Builder] writes
// if they were given, not in a bare index.
func (f *File) HasSizes() bool { return f.lengths != 0 }

// CRC is the checksum of the footer. It differs if anything in the file does,
// since the footer holds the checksum of the pages' checksums. It is 0 for a
// bare index, which has none.
func (f *File) CRC() uint32 { return f.crc }

// Identity is what the builder was given to recognise the CAR by; zeros in a
// bare index.
func (f *File) Identity() [16]byte { return f.footer.identity }

// Close unmaps what [OpenFile] mapped; after [NewFile] it does nothing. It
// must not be called while another method runs, and no other after it.
func (f *File) Close() error {
	if f.owned == nil {
		return nil
	}
	return f.owned.Close()
}
