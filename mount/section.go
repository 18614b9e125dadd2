package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// Section is length bytes of m from offset on, as a Mount: a CAR inside a
// piece. Its URL is that of m with the fragment "bytes=FIRST-LAST", which
// [Registry.Open] understands for every kind; a section of a section is one
// section of what lies below. It offers OpenRange and OpenFile when m does,
// and has m's version.
//
// A section that can be in no source (offset or length negative, no bytes at
// all, outside of the section that it was cut from) is a Mount whose URL opens
// nothing and whose methods give [ErrRange]. One that reaches over the end of
// its source gives ErrRange where the size of the source is known, else its
// stream ends with io.ErrUnexpectedEOF. Open needs ranges unless offset is 0:
// it never reads and throws away what lies before the section.
func Section(m Mount, offset, length int64) Mount {
	s := section{base: m, offset: offset, length: length}
	if offset < 0 || length < 1 || offset > math.MaxInt64-length {
		s.bad = true
		return s
	}
	if outer, ok := m.(sectioner); ok {
		o := outer.asSection()
		if o.bad || offset+length > o.length {
			s.bad = true
			return s
		}
		s.base, s.offset = o.base, o.offset+offset
	}
	_, ranges := s.base.(RangeOpener)
	_, local := s.base.(FileOpener)
	switch {
	case ranges && local:
		return rangedLocalSection{rangedSection{s}}
	case ranges:
		return rangedSection{s}
	case local:
		return localSection{s}
	}
	return s
}

// section is a part of a mount that offers neither ranges nor a file. The
// types that embed it add what its base offers, and no more.
type section struct {
	base           Mount // no section, unless bad
	offset, length int64
	bad            bool // can be in no source
}

type (
	rangedSection      struct{ section }
	localSection       struct{ section }
	rangedLocalSection struct{ rangedSection }
)

// A sectioner is any of the four types above.
type sectioner interface{ asSection() section }

func (s section) asSection() section { return s }

// URL implements [Mount].
func (s section) URL() string {
	return s.base.URL() + fragment(s.offset, s.length)
}

// Stat implements [Mount]. It gives [ErrRange] if the source ends before the
// section does.
func (s section) Stat(ctx context.Context) (Stat, error) {
	if err := s.check(); err != nil {
		return Stat{}, err
	}
	st, err := s.base.Stat(ctx)
	if err != nil {
		return Stat{}, err
	}
	if st.Size >= 0 {
		if _, err := s.whole().Resolve(st.Size); err != nil {
			return Stat{}, err
		}
	}
	st.Size = s.length
	return st, nil
}

// Open implements [Mount]. A section at the very beginning needs no ranges.
func (s section) Open(ctx context.Context) (io.ReadCloser, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	r, err := OpenRange(ctx, s.base, s.whole())
	if s.offset == 0 && errors.Is(err, ErrNoRanges) {
		r, err = s.base.Open(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &exactReader{r: r, left: s.length}, nil
}

// OpenRange implements [RangeOpener].
func (s rangedSection) OpenRange(ctx context.Context, r Range) (io.ReadCloser, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	r, err := r.Resolve(s.length)
	if err != nil {
		return nil, err
	}
	r.Offset += s.offset
	body, err := OpenRange(ctx, s.base, r)
	if err != nil {
		return nil, err
	}
	return &exactReader{r: body, left: r.Length}, nil
}

// OpenFile implements [FileOpener].
func (s localSection) OpenFile(ctx context.Context) (File, error) { return s.openFile(ctx) }

// OpenFile implements [FileOpener].
func (s rangedLocalSection) OpenFile(ctx context.Context) (File, error) { return s.openFile(ctx) }

func (s section) openFile(ctx context.Context) (File, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	f, err := OpenFile(ctx, s.base)
	if err != nil {
		return nil, err
	}
	// A File does not say how long it is, so its last byte is asked for.
	if err := probe(f, s.offset+s.length-1); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &sectionFile{base: f, bytes: io.NewSectionReader(f, s.offset, s.length)}, nil
}

// probe gives [ErrRange] if f has no byte at offset.
func probe(f io.ReaderAt, offset int64) error {
	var last [1]byte
	n, err := f.ReadAt(last[:], offset)
	switch {
	case n == 1:
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: the source ends before byte %d", ErrRange, offset)
	}
	return err
}

func (s section) whole() Range { return Range{Offset: s.offset, Length: s.length} }

func (s section) check() error {
	if s.bad {
		return fmt.Errorf("%w: %s of %s", ErrRange, s.whole(), s.base.URL())
	}
	return nil
}

// sectionFile is a section of a file that is open. It turns an end of the
// file inside the section, which means that the file was cut, into an error.
type sectionFile struct {
	base  File
	bytes *io.SectionReader
}

// ReadAt implements [io.ReaderAt].
func (f *sectionFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", ErrRange, off)
	}
	n, err := f.bytes.ReadAt(p, off)
	if err == io.EOF && off < f.bytes.Size()-int64(n) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements [io.Closer].
func (f *sectionFile) Close() error { return f.base.Close() }

// exactReader ends after left bytes, however many more there are, and calls
// it io.ErrUnexpectedEOF when there are fewer.
type exactReader struct {
	r    io.ReadCloser
	left int64
}

// Read implements [io.Reader].
func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements [io.Closer].
func (e *exactReader) Close() error { return e.r.Close() }
